"""One HTTP/1.1 request as the ASGI application sees it, and the writer of its response. Place: serving.

Source: ASGI 3, HTTP spec version 2.3; RFC 9112, 6 and 7 for the framing. A response is held back until it has a body to go with, and a
response of one piece is one write. To a client that is gone nothing is sent, and `receive` says so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import structlog

if TYPE_CHECKING:
    from meshproxy.serving.http1_connection import Connection

__all__ = ["STATUS", "Application", "Begin", "Head", "Request"]

log = structlog.get_logger(__name__)

Application: TypeAlias = Callable[
    [dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[[dict[str, Any]], Awaitable[None]]],
    Awaitable[None],
]

Begin: TypeAlias = Callable[["Head", bytes, "Request"], bool]
"""Offers a whole request to an application that may answer it by `Request.answer`, without a task; false if it rather runs as any other."""

STATUS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
"""The first line of a response."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_FRAMING: Final = frozenset({b"content-length", b"connection", b"transfer-encoding"})
_LARGE: Final = 64 * 1024
"""Bytes of a body that are not worth copying to send them with the head."""


class Head:
    """The head of a request, which may be of others after it too.

    Attributes:
        scope: of the request, without its body.
        seen: what the application made of it; None before.
    """

    __slots__ = ("scope", "seen")

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.seen: Any = None


class Request:
    """Its connection fills `body`, and begins `run` when it is its turn.

    Attributes:
        body: what has come of it and has not been given.
        may_stay: the connection may be used for another request after it.
        is_admitted: it is being answered, or waits for that.
        is_complete: its body came to its end.
        is_begun: some of the response is written.
        is_sent: all of it is.
        on_gone: told once if its client is gone before that.
        task: that of `run`.
    """

    __slots__ = (
        "_connection",
        "_expects",
        "_head",
        "_is_bodiless",
        "_is_chunked",
        "_is_given",
        "_is_over",
        "_is_started",
        "_news",
        "_scope",
        "body",
        "is_admitted",
        "is_begun",
        "is_complete",
        "is_sent",
        "may_stay",
        "on_gone",
        "task",
    )

    def __init__(self, connection: "Connection", scope: dict[str, Any], may_stay: bool) -> None:  # noqa: FBT001  # a keyword costs
        self.body: list[bytes] = []
        self.may_stay = may_stay
        self.is_admitted = False
        self.is_complete = False
        self.is_begun = False
        self.is_sent = False
        self.on_gone: Callable[[], None] | None = None
        self.task: asyncio.Task[None]
        self._connection = connection
        self._scope = scope
        self._expects = False
        self._is_given = False
        self._is_over = False
        self._is_started = False
        self._is_chunked = False
        self._is_bodiless = False
        self._head = b""
        self._news: asyncio.Event | None = None

    def expects_continue(self) -> bool:
        """Whether the client waits to be told that its body is wanted (RFC 9110, 10.1.1)."""
        self._expects = self._scope["http_version"] == "1.1" and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self._scope["headers"]
        )
        return self._expects

    def cut(self) -> None:
        """Nothing more will come, or its client is gone."""
        self._is_over = True
        self.stir()
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None and not self.is_sent:
            on_gone()

    def stir(self) -> None:
        """There is something new for `receive`."""
        if self._news is not None:
            self._news.set()

    async def run(self, app: Application) -> None:
        """Let the application answer. A defect of it is logged, and is a 500 if nothing has been sent."""
        try:
            await app(self._scope, self.receive, self.send)
            if not self._is_over:
                log.error("http.not_answered", path=self._scope["path"])
        except Exception as error:
            log.error("http.application_failed", path=self._scope["path"], exc_info=error)
        finally:
            self._connection.server.tasks.discard(self.task)
            if not self.is_sent:
                self._connection.ended(self)

    def answer(self, body: bytes, status: int) -> None:
        """Send a whole response, of JSON, to a request that was not given to `run`."""
        connection = self._connection
        if connection.is_gone or self.is_begun:
            return
        server = connection.server
        if server.is_closing:
            self.may_stay = False
        head = b"%b%bcontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n" % (
            STATUS[status],
            server.date_line or server.tell_time(),
            len(body),
            b"" if self.may_stay else b"connection: close\r\n",
        )
        self.is_begun = self.is_sent = True
        self.on_gone = None
        if len(body) < _LARGE:
            connection.transport.write(head + body)
        else:
            connection.transport.writelines((head, body))
        connection.ended(self)

    async def receive(self) -> dict[str, Any]:
        body = self.body
        while not body and (self._is_given or not self.is_complete):
            if self._is_over:
                return {"type": "http.disconnect"}
            if self._expects and not self._is_started:
                self._expects = False
                self._connection.transport.write(_CONTINUE)
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        given = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        self._is_given = self.is_complete
        self._connection.taken(len(given))
        return {"type": "http.request", "body": given, "more_body": not self.is_complete}

    async def send(self, message: dict[str, Any]) -> None:
        connection = self._connection
        if connection.is_gone:
            return
        if message["type"] == "http.response.start":
            if self._is_started:
                raise RuntimeError("a response is started once")
            self._is_started = True
            self._head = self._head_of(message["status"], message.get("headers", ()))
            return
        if self.is_sent or not self._is_started:
            raise RuntimeError("a body comes between the start of a response and its end")
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        if self._is_bodiless:
            body = b""
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if is_last else b"")
        if not self.is_begun:
            if len(body) < _LARGE:
                body = self._head + body
            else:
                connection.transport.write(self._head)
            self.is_begun = True
        if body:
            connection.transport.write(body)
        if is_last:
            self.is_sent = True
            self.cut()
            # What the application still does is not the connection's business: a call may go on after its stream.
            connection.ended(self)
        else:
            while connection.room is not None:
                await connection.room.wait()

    def _head_of(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        scope, server = self._scope, self._connection.server
        self._is_bodiless = is_framed = status in _BODILESS or scope["method"] == "HEAD"
        if not self.is_complete or server.is_closing:
            # A body that nobody wanted stands in the way of the next request.
            self.may_stay = False
        lines = [STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status, server.date_line or server.tell_time()]
        for name, value in headers:
            if name in _FRAMING:
                if name == b"connection" and value.lower() == b"close":
                    self.may_stay = False
                if name != b"content-length" or status == 204:
                    continue  # framing is the server's, and a 204 has none (RFC 9110, 8.6)
                is_framed = True
            lines.append(b"%b: %b\r\n" % (name, value))
        is_old = scope["http_version"] == "1.0"
        if not is_framed:
            if is_old:
                self.may_stay = False  # it ends with the connection
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        if not self.may_stay:
            lines.append(b"connection: close\r\n")
        elif is_old:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)
