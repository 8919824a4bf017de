"""What a request for `/api` is answered with. Place: api.

A body is JSON. What is refused is `{"error": "a sentence"}`, and what was tried and failed says so likewise, with the status of whose fault it is.
"""

from typing import Any, Final

from meshproxy.http.stream import Send
from meshproxy.observe.spelling import as_json
from meshproxy.serving.response import JSON, respond
from meshproxy.wire.codec import dumps

__all__ = ["PLAIN", "ApiError", "answer", "refuse"]

Fields = tuple[tuple[bytes, bytes], ...]
_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


PLAIN: Final = (
    *_ALWAYS,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
"""Header lines of what a browser shows as a text."""


class ApiError(Exception):
    """A request that cannot be done: the status, and a sentence for whoever asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def answer(send: Send, body: Any, status: int = 200, extra: Fields = ()) -> None:
    """Send a value as JSON, or bytes that are JSON already."""
    data = body if isinstance(body, bytes) else as_json(dumps(body).decode()).encode()
    await respond(send, status, data, JSON, (*_ALWAYS, *extra))


async def refuse(send: Send, status: int, message: str, extra: Fields = ()) -> None:
    """Say why not."""
    await answer(send, {"error": message}, status, extra)
