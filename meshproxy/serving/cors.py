"""What a browser asks before a page may read our answers: the CORS protocol. Place: serving.

Source: Fetch standard, 3.2 "CORS protocol"; Private Network Access, 3.1. Nothing here decides who may call, that is for `Guard` alone; and a
page that it does not admit gets no word of this, so that its browser keeps the answer from it. Cookies are not used, so none are allowed for.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from meshproxy.http.stream import Send

__all__ = ["is_preflight", "preflight", "readable"]

Fields = list[tuple[bytes, bytes]]

_METHODS: Final = b"GET, POST, DELETE"
_HEADERS: Final = (
    b"accept",
    b"authorization",
    b"content-type",
    b"last-event-id",
    b"mcp-method",
    b"mcp-name",
    b"mcp-protocol-version",
    b"mcp-session-id",
)
"""What every client may send. What one asks for besides is allowed too: `Mcp-Param-*`, and what `forward_headers` names."""
_EXPOSED: Final = b"Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate, Retry-After"
_MAX_AGE: Final = b"7200"
"""Seconds that a browser may remember the answer to a preflight: the most that any does."""
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser asks what a page may send. It sends no credentials with it, so none can be wanted."""
    return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers


def preflight(headers: Mapping[bytes, bytes]) -> Fields:
    """The header lines of the answer to a preflight, beside those of `readable`."""
    asked = headers.get(b"access-control-request-headers", b"").lower().split(b",")
    names = [name for part in asked if _NAME.fullmatch(name := part.strip())]
    fields = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", b", ".join(dict.fromkeys((*_HEADERS, *names)))),
        (b"access-control-max-age", _MAX_AGE),
        (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
    if headers.get(b"access-control-request-private-network") == b"true":
        fields.append((b"access-control-allow-private-network", b"true"))
    return fields


def readable(send: Send, origin: bytes) -> Send:
    """A `send` whose answer a page of `origin` may read, whatever it is."""
    fields: Fields = [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *fields]}
        await send(message)

    return sending
