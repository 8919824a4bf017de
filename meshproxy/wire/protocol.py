"""What the revisions of MCP say, as tables: versions and eras, reserved `_meta` keys, methods, HTTP statuses.

Source: the specification at modelcontextprotocol.io/specification/<revision>; SEP numbers where a rule came by one.
"""

from enum import StrEnum
from typing import Any, Final

from meshproxy import errors


class Era(StrEnum):
    """How a connection is opened: by a handshake, or by an envelope on each request."""

    LEGACY = "legacy"
    MODERN = "modern"


LEGACY_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Oldest first. Each opens with `initialize`."""
MODERN_VERSIONS: Final = ("2026-07-28",)
"""Stateless: each request carries its version and its capabilities."""
LATEST_LEGACY: Final = LEGACY_VERSIONS[-1]
LATEST_MODERN: Final = MODERN_VERSIONS[-1]

_RESERVED: Final = "io.modelcontextprotocol/"
META_VERSION: Final = _RESERVED + "protocolVersion"
META_CAPABILITIES: Final = _RESERVED + "clientCapabilities"
META_CLIENT: Final = _RESERVED + "clientInfo"
META_LOG_LEVEL: Final = _RESERVED + "logLevel"
META_SERVER: Final = _RESERVED + "serverInfo"
META_SUBSCRIPTION: Final = _RESERVED + "subscriptionId"
META_PROGRESS: Final = "progressToken"
META_RELATED_TASK: Final = _RESERVED + "related-task"

HOP_META_REQUEST: Final = frozenset({META_VERSION, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_PROGRESS})
"""What belongs to one connection and is derived anew on the next (2026-07-28 basic/index, "_meta")."""
HOP_META_RESULT: Final = frozenset({META_SERVER, META_SUBSCRIPTION})

EXTENSION_TASKS: Final = _RESERVED + "tasks"
EXTENSION_UI: Final = _RESERVED + "ui"
KNOWN_EXTENSIONS: Final = frozenset({EXTENSION_TASKS, EXTENSION_UI})
"""Extensions that pass: advertising one is a promise (SEP-2133)."""

INPUT_METHODS: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""What may be answered by a question in the modern era (SEP-2322)."""
QUESTIONS: Final = frozenset({"sampling/createMessage", "elicitation/create", "roots/list"})
"""What a server may ask of a client: a request in the legacy era, an input request in the modern one."""
CACHEABLE: Final = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)
"""Whose complete results carry `ttlMs` and `cacheScope` (SEP-2549)."""
TASK_METHODS: Final = ("tasks/get", "tasks/update", "tasks/cancel")
"""Of the tasks extension (SEP-2663)."""
NAMED_BY: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    **dict.fromkeys(TASK_METHODS, "taskId"),
}
"""The parameter that `Mcp-Name` repeats (SEP-2243, SEP-2663)."""

COMPLETE: Final = "complete"
INPUT_REQUIRED: Final = "input_required"

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""RFC 5424 severities, the most verbose first."""

HTTP_STATUS: Final = {
    errors.PARSE_ERROR: 400,
    errors.INVALID_REQUEST: 400,
    errors.INVALID_PARAMS: 400,
    errors.HEADER_MISMATCH: 400,
    errors.MISSING_CLIENT_CAPABILITY: 400,
    errors.UNSUPPORTED_VERSION: 400,
    errors.METHOD_NOT_FOUND: 404,
}
"""Status of a modern error answer (2026-07-28 basic/transports/streamable-http); 200 for any other code."""


def negotiated(requested: object) -> str:
    """The version that a handshake ends at: the one asked for if it is served, the latest legacy one otherwise.

    Source: basic/lifecycle, "Version Negotiation".
    """
    return requested if isinstance(requested, str) and requested in LEGACY_VERSIONS else LATEST_LEGACY


def admits(threshold: str | None, level: object) -> bool:
    """Whether a message of `level` passes a client's `threshold`; an unknown level passes, no threshold admits nothing."""
    if threshold is None or threshold not in LOG_LEVELS:
        return False
    return level not in LOG_LEVELS or LOG_LEVELS.index(str(level)) >= LOG_LEVELS.index(threshold)


def envelope(version: str, client: dict[str, Any], capabilities: dict[str, Any]) -> dict[str, Any]:
    """The `_meta` members that every modern request carries."""
    return {META_VERSION: version, META_CLIENT: client, META_CAPABILITIES: capabilities}
