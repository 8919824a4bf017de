"""`HandOver`: stands in front of an application, and hands what is another process's own to that. Place: cluster, on top of the room.

What its home answers, streams included, is answered as it comes. A home that is gone is as good as none: then the application here answers, which does not know the session,
the state or the task, and says what the protocol has for that (404, -32602).
"""

import asyncio
from collections.abc import Collection
from typing import Any, Final

import structlog

from meshproxy.cluster.body import Body
from meshproxy.cluster.doorway import Served
from meshproxy.cluster.envelope import FIELD, target_of
from meshproxy.cluster.homes import home_in_body, home_in_head
from meshproxy.cluster.way import Others, Way
from meshproxy.errors import INTERNAL_ERROR, RpcError
from meshproxy.http.client import Response, TransportError
from meshproxy.http.reading import ReadResponse
from meshproxy.http.server_request import Head, Request
from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.wire.codec import JsonError
from meshproxy.wire.messages import Request as Asked
from meshproxy.wire.messages import encode_error, parse
from meshproxy.wire.protocol import HTTP_STATUS

__all__ = ["HandOver"]

log = structlog.get_logger(__name__)

_NOT_OURS: Final = frozenset((b"connection", b"date", b"keep-alive", b"transfer-encoding"))
"""Fields of an answer that belong to the connection that it came by."""
_FOUND: Final = "meshproxy.home"
"""In a scope that was looked at: what came of it."""
LOST: Final = "The answer is lost: the process of the mesh that worked on it has ended. It may have been carried out"


class HandOver:
    """See the module.

    Args:
        app: the application of this process.
        others: where what is not ours is handed to.
        most: bytes of a request that it may have; a larger one is for the application here to refuse.
        led: the beginnings of paths that one process alone answers: the first.

    Attributes:
        handed: how many requests were.
    """

    def __init__(self, app: Served, others: Others, most: int, led: Collection[str] = ()) -> None:
        self.handed = 0
        self._app = app
        self._others = others
        self._most = most
        self._led = tuple(led)

    def take(self, head: Head, body: bytes, request: Request) -> bool:
        """See `meshproxy.http.server_request.Take`."""
        # A head may be that of many requests.
        found = head.scope.get(_FOUND)
        if found is None:
            found = head.scope[_FOUND] = home_in_head(head.scope)
        home, is_certain = found
        if home or (not is_certain and home_in_body(body)):
            return False
        return self._app.take(head, body, request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = Body(receive)
        home = await self._home_of(scope, body)
        way = await self._others.way(home) if home else None
        if way is None or not await self._is_handed(way, scope, body, send):
            await self._app(scope, body.receive, send)

    async def _home_of(self, scope: Scope, body: Body) -> str:
        """Whose a request is, with its body read if it is another's; "" for ours, or nobody's in particular."""
        if scope["method"] == "HEAD":
            return ""
        home, is_certain = home_in_head(scope)
        if not home and scope["path"].startswith(self._led):
            home, is_certain = self._others.first(), True
        if (is_certain and not home) or not await body.read(self._most):
            return ""
        return home or home_in_body(body.whole)

    async def _is_handed(self, way: Way, scope: Scope, body: Body, send: Send) -> bool:
        """Whether a request was handed on and is answered, or needs no answer; it is this process's to answer otherwise."""
        fields, envelope = way.envelopes.close(scope, body.whole)
        lines = b"".join(b"%b: %b\r\n" % field for field in (*fields, (FIELD, envelope)))
        self.handed += 1
        asking = asyncio.ensure_future(
            way.client.request(scope["method"], target_of(scope).decode("latin-1"), lines, body.whole, stream=True)
        )
        leaving = asyncio.ensure_future(_left(body.rest))
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return True
            response = asking.result()
            leaving.add_done_callback(lambda _: response.close())
            await _relay(response, send)
        except TransportError as error:
            return leaving.done() or (error.sent and await self._is_lost(scope, body, send))
        finally:
            leaving.cancel()
            asking.cancel()
            await asyncio.wait({asking, leaving})
        return True

    async def _is_lost(self, scope: Scope, body: Body, send: Send) -> bool:
        """Say that the answer to a request is lost; false for what is none, and may be looked at once more."""
        try:
            message = parse(body.whole) if scope["method"] == "POST" else None
        except (RpcError, *JsonError):
            message = None
        if not isinstance(message, Asked):
            return False
        log.warning("cluster.answer_lost", method=message.method)
        told = encode_error(message.id, RpcError(INTERNAL_ERROR, LOST))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(told))]
        status = HTTP_STATUS.get(INTERNAL_ERROR, 200)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": told})
        return True


async def _relay(response: ReadResponse, send: Send) -> None:
    """Answer with what comes. Raises `TransportError` where nothing of it was sent yet."""
    start: dict[str, Any] = {"type": "http.response.start", "status": response.status, "headers": _fields(response)}
    if not response.is_event_stream:
        body = await response.read()
        await send(start)
        await send({"type": "http.response.body", "body": body})
        return
    await send(start)
    # A client may wait for the head.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    try:
        async for chunk in response:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except TransportError:
        # It ends as any stream may, and its client asks for the rest.
        pass
    finally:
        response.close()
    await send({"type": "http.response.body", "body": b""})


def _fields(response: Response) -> list[tuple[bytes, bytes]]:
    """The headers of an answer. Of a body that is not read as it was sent there is no length."""
    return [(name, value) for name, value in response.headers.items() if name not in _NOT_OURS]


async def _left(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
