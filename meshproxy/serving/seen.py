"""`Seen`: what the head of a POST means, which is mostly that of many. Place: serving, under both eras."""

from collections.abc import Mapping
from typing import Final

from meshproxy.relay.principal import Visitor
from meshproxy.wire.protocol import LEGACY_VERSIONS

__all__ = ["Seen", "is_legacy"]

_LEGACY: Final = frozenset(version.encode() for version in LEGACY_VERSIONS)


class Seen:
    """The head of a request that was let in.

    Attributes:
        visitor: as whom its client was let in.
        access: the version of the rules that said so.
        expires: when that is over, in seconds since 1970; 0 for never.
        raw: its headers, names in lower case.
        headers: the same, those that may be repeated joined.
        duplicated: the name of one that may stand only once and does not; None for none.
        is_legacy: whether it is of the legacy era.
        session: the key of the session that it is sent in; None for none.
        prefers_stream: whether its client names event streams first: then it wants one, and can resume it from the first moment on (SEP-1699).
        version: the `MCP-Protocol-Version`, likewise.
        method: the `Mcp-Method`.
        name: the `Mcp-Name`.
    """

    __slots__ = (
        "access",
        "duplicated",
        "expires",
        "headers",
        "is_legacy",
        "method",
        "name",
        "prefers_stream",
        "raw",
        "session",
        "version",
        "visitor",
    )

    def __init__(
        self,
        visitor: Visitor,
        access: object,
        expires: float,
        headers: Mapping[bytes, bytes],
        raw: list[tuple[bytes, bytes]],
        duplicated: str | None = None,
    ) -> None:
        self.visitor = visitor
        self.access = access
        self.expires = expires
        self.headers = headers
        self.raw = raw
        self.duplicated = duplicated
        self.is_legacy = is_legacy(headers)
        self.session = headers.get(b"mcp-session-id")
        self.prefers_stream = headers.get(b"accept", b"").lstrip().startswith(b"text/event-stream")
        self.version = _text_of(headers.get(b"mcp-protocol-version"))
        self.method = _text_of(headers.get(b"mcp-method"))
        self.name = _text_of(headers.get(b"mcp-name"))


def is_legacy(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request with these headers is of the legacy era."""
    version = headers.get(b"mcp-protocol-version")
    return version is None or version in _LEGACY or version.strip() in _LEGACY


def _text_of(value: bytes | None) -> str | None:
    """A header's value without the blanks around it, which not every parser takes off."""
    return None if value is None else value.decode("latin-1").strip()
