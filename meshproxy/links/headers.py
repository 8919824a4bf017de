"""Which HTTP headers of a call may travel to its upstream."""

from collections.abc import Mapping
from typing import Final

from meshproxy.wire.headers import METHOD_HEADER, NAME_HEADER, VERSION_HEADER

SESSION_HEADER: Final = "mcp-session-id"
RESUME_HEADER: Final = "last-event-id"

_OURS: Final = frozenset(
    {
        *("accept", "content-type", "host", SESSION_HEADER, RESUME_HEADER, VERSION_HEADER, METHOD_HEADER, NAME_HEADER),
        *("connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""What a call cannot set: it says what this request is, or belongs to one connection (RFC 9110, 7.6.1)."""


def carried(headers: Mapping[str, str], configured: frozenset[str]) -> dict[str, str]:
    """A call's headers without those that are ours to set, or that the upstream's configuration sets (lower-case names)."""
    return {
        name: value for name, value in headers.items() if (key := name.lower()) not in _OURS and key not in configured
    }
