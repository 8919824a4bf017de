"""Whole HTTP responses, and the refusals that every request can meet. Place: serving."""

from typing import Final

from meshproxy.errors import INTERNAL_ERROR, INVALID_REQUEST, RpcError
from meshproxy.http.stream import Send
from meshproxy.limits import MAX_IN_FLIGHT
from meshproxy.wire.messages import encode_error

__all__ = [
    "JSON",
    "SHUTDOWN",
    "TEXT",
    "TOO_MANY_SESSIONS",
    "UNKNOWN_SESSION",
    "encode_malformed",
    "refuse",
    "refuse_shutdown",
    "respond",
    "too_many_in_flight",
]

JSON: Final = (b"content-type", b"application/json")
TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")


async def respond(
    send: Send,
    status: int,
    body: bytes = b"",
    kind: tuple[bytes, bytes] = JSON,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Send a response of known length; the type is left out where there is no body."""
    headers = [*extra, (b"content-length", b"%d" % len(body))]
    if body:
        headers.append(kind)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(
    send: Send, status: int, message: str, code: int = INVALID_REQUEST, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Answer a request that was not read, or could not be, with a JSON-RPC error that belongs to no id."""
    await respond(send, status, encode_error(None, RpcError(code, message)), JSON, extra)


async def refuse_shutdown(send: Send) -> None:
    """Answer a request that came too late."""
    await refuse(send, 503, _SHUTTING_DOWN, INTERNAL_ERROR, ((b"retry-after", b"5"),))


_SHUTTING_DOWN: Final = "The server is shutting down"
SHUTDOWN: Final = (encode_error(None, RpcError(INTERNAL_ERROR, _SHUTTING_DOWN)), b"retry-after: 5\r\n")
"""The same for a message that was posted: body, and header lines."""
TOO_MANY_SESSIONS: Final = (
    encode_error(
        None, RpcError(INTERNAL_ERROR, "Too many open sessions: try again later, and end those that you do not need")
    ),
    b"retry-after: 10\r\n",
)
"""The answer to an `initialize` for which there is no place, as `SHUTDOWN` is."""
UNKNOWN_SESSION: Final = "Session not found: it has ended or never was; initialize a new one"


def too_many_in_flight() -> RpcError:
    """The answer to a request beyond what one session may have under way."""
    return RpcError(INTERNAL_ERROR, f"Too many requests at once: {MAX_IN_FLIGHT} of this session are not answered yet")


def encode_malformed(error: RpcError) -> bytes:
    """The answer to a body that `parse` refused: the error's data may hold the id, which is then the answer's."""
    known = error.data.get("id") if isinstance(error.data, dict) else None
    return encode_error(known, RpcError(error.code, error.message))
