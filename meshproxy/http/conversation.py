"""One HTTP/1.1 request as the ASGI application sees it, and the writer of its response. Place: http.

Source: ASGI 3, HTTP spec version 2.3; RFC 9112, 6 and 7 for the framing. A response is held back until it has a body to go with, and a
response of one piece is one write. To a client that is gone nothing is sent, and `receive` says so.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import structlog

from meshproxy.http.server_request import LARGE, STATUS, Request
from meshproxy.http.stream import Application

__all__ = ["Conversation"]

log = structlog.get_logger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_FRAMING: Final = frozenset({b"content-length", b"connection", b"transfer-encoding"})


class Conversation:
    """What an application hears of a request, and says to it."""

    __slots__ = ("_head", "_is_bodiless", "_is_chunked", "_is_given", "_is_started", "_request")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._is_given = False
        self._is_started = False
        self._is_chunked = False
        self._is_bodiless = False
        self._head = b""

    async def run(self, app: Application) -> None:
        """Let the application answer. A defect of it is logged, and is a 500 if nothing has been sent."""
        try:
            await app(self._request.scope, self.receive, self.send)
            if not self._request.is_over:
                log.error("http.not_answered", path=self._request.scope["path"])
        except Exception as error:
            log.error("http.application_failed", path=self._request.scope["path"], exc_info=error)
        finally:
            self._request.connection.server.tasks.discard(self._request.task)
            if not self._request.is_sent:
                self._request.connection.ended(self._request)

    async def receive(self) -> dict[str, Any]:
        body = self._request.body
        while not body and (self._is_given or not self._request.is_complete):
            if self._request.is_over:
                return {"type": "http.disconnect"}
            if self._request.expects and not self._is_started:
                self._request.expects = False
                self._request.connection.transport.write(_CONTINUE)
            if self._request.news is None:
                self._request.news = asyncio.Event()
            self._request.news.clear()
            await self._request.news.wait()
        given = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        self._is_given = self._request.is_complete
        self._request.connection.taken(len(given))
        return {"type": "http.request", "body": given, "more_body": not self._request.is_complete}

    async def send(self, message: dict[str, Any]) -> None:
        connection = self._request.connection
        if connection.is_gone:
            return
        if message["type"] == "http.response.start":
            if self._is_started:
                raise RuntimeError("a response is started once")
            self._is_started = True
            self._head = self._head_of(message["status"], message.get("headers", ()))
            return
        if self._request.is_sent or not self._is_started:
            raise RuntimeError("a body comes between the start of a response and its end")
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        if self._is_bodiless:
            body = b""
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if is_last else b"")
        if not self._request.is_begun:
            if len(body) < LARGE:
                body = self._head + body
            else:
                connection.transport.write(self._head)
            self._request.is_begun = True
        if body:
            connection.transport.write(body)
        if is_last:
            self._request.is_sent = True
            self._request.cut()
            # What the application still does is not the connection's business: a call may go on after its stream.
            connection.ended(self._request)
        else:
            await self._room()

    async def _room(self) -> None:
        """Wait until the client takes what it was sent. Whoever gives that up gives the client up, whose answer has a beginning and will have no end."""
        connection = self._request.connection
        try:
            while connection.room is not None:
                await connection.room.wait()
        except asyncio.CancelledError:
            connection.transport.abort()
            self._request.cut()
            raise

    def _head_of(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        scope, server = self._request.scope, self._request.connection.server
        self._is_bodiless = is_framed = status in _BODILESS or scope["method"] == "HEAD"
        if not self._request.is_complete or server.is_closing:
            # A body that nobody wanted stands in the way of the next request.
            self._request.may_stay = False
        lines = [STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status, server.date_line or server.tell_time()]
        for name, value in headers:
            if name in _FRAMING:
                if name == b"connection" and value.lower() == b"close":
                    self._request.may_stay = False
                if name != b"content-length" or status == 204:
                    continue  # framing is the server's, and a 204 has none (RFC 9110, 8.6)
                is_framed = True
            lines.append(b"%b: %b\r\n" % (name, value))
        is_old = scope["http_version"] == "1.0"
        if not is_framed:
            if is_old:
                self._request.may_stay = False  # it ends with the connection
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        if not self._request.may_stay:
            lines.append(b"connection: close\r\n")
        elif is_old:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)
