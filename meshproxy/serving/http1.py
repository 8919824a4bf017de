"""An HTTP/1.1 server for one ASGI application: `httptools` reads, and what is written is put together here. Place: serving.

It does what this endpoint needs and no more, which costs a third of a general server's CPU per request: no TLS, no upgrades, no HTTP/2;
that is for whoever stands in front of it. A response is one write when it comes whole. Requests that a client sends ahead are answered in
order (RFC 9112, 9.3.2). The application still runs under any ASGI server.
"""

import asyncio
import http
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from socket import socket
from typing import Any, Final
from urllib.parse import unquote

import httptools
import structlog

__all__ = ["Http1Server"]

log = structlog.get_logger(__name__)

Application = Callable[
    [dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[[dict[str, Any]], Awaitable[None]]],
    Awaitable[None],
]

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers."""
HIGH_WATER: Final = 256 * 1024
"""Bytes of a body that wait for the application before the client is made to wait."""
MAX_AHEAD: Final = 16
"""Requests that a client may send ahead before it is made to wait."""
SWEEP: Final = 5.0
"""Seconds between two looks for connections that have been idle for too long."""
HEAD_TIMEOUT: Final = 30.0
"""Seconds that a request's head may take to arrive."""

_STATUS: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in http.HTTPStatus
}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}


class Http1Server:
    """Serves `app` on sockets that listen already.

    Args:
        app: the ASGI application; `lifespan` is not its business here.
        keep_alive: seconds that an idle connection stays open.
    """

    def __init__(self, app: Application, keep_alive: float = 75.0) -> None:
        self.app = app
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._keep_alive = keep_alive
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None
        self.is_closing = False

    async def start(self, sockets: Sequence[socket]) -> None:
        """Accept connections on `sockets`, which are closed with the server."""
        loop = asyncio.get_running_loop()
        for listener in sockets:
            self._servers.append(await loop.create_server(lambda: _Connection(self), sock=listener))
        self._sweeper = loop.call_later(SWEEP, self._sweep)

    def stop_accepting(self) -> None:
        """Close the listening sockets, and every connection as soon as it has nothing under way. Idempotent."""
        self.is_closing = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close_if_idle()

    async def aclose(self, grace: float = 0.0) -> None:
        """Close everything, after `grace` seconds at most for what is being answered and sent. Idempotent."""
        self.stop_accepting()
        if grace and self.connections:
            self._empty = asyncio.Event()
            try:
                async with asyncio.timeout(grace):
                    await self._empty.wait()
            except TimeoutError:
                pass
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self.connections):
            connection.abort()
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        servers, self._servers = self._servers, []
        for server in servers:
            await server.wait_closed()

    def forget(self, connection: "_Connection") -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if not self.connections and self._empty is not None:
            self._empty.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self.connections):
            connection.close_if_stale(now - self._keep_alive, now - HEAD_TIMEOUT)
        self._sweeper = loop.call_later(SWEEP, self._sweep)


class _Connection(asyncio.Protocol):
    """One client's connection: at most one request is being answered at a time."""

    __slots__ = (
        "_ahead",
        "_current",
        "_drained",
        "_head",
        "_head_size",
        "_idle_since",
        "_is_gone",
        "_is_reading",
        "_loop",
        "_parser",
        "_reading",
        "_server",
        "_target",
        "transport",
    )

    def __init__(self, server: Http1Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._head: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._idle_since = self._loop.time()
        self._reading: _Request | None = None
        self._current: _Request | None = None
        self._ahead: deque[_Request] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._is_reading = True
        self._is_gone = False
        self.transport: asyncio.Transport

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a stream, so a Transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_gone = True
        self._server.forget(self)
        self.resume_writing()
        for request in (self._current, *self._ahead):
            if request is not None:
                request.disconnect()
        self._ahead.clear()

    def eof_received(self) -> bool:
        # Whoever closes its side while it waits for an answer has left: half-closed HTTP clients are unheard of.
        return False

    def data_received(self, data: bytes) -> None:
        self._idle_since = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, b"This server speaks plain HTTP/1.1 alone")
        except httptools.HttpParserError:
            self._refuse(400, b"This is no HTTP/1.1 request")
        if self._reading is None and self._head_size > MAX_HEAD:
            self._refuse(431, b"The request's headers are too large")

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # --- httptools

    def on_message_begin(self) -> None:
        self._target = b""
        self._head = []
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.append((name.lower(), value))
        self._head_size += len(name) + len(value)

    def on_headers_complete(self) -> None:
        parser = self._parser
        path, _, query = self._target.partition(b"?")
        if not path.startswith(b"/"):
            # The absolute form (RFC 9112, 3.2.2), as a proxy would be sent.
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        text = path.decode("latin-1")
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": parser.get_http_version(),
            "method": parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self._head,
            "client": None,
            "server": None,
        }
        request = self._reading = _Request(
            self, scope, may_stay=parser.should_keep_alive() and self._head_size <= MAX_HEAD
        )
        if self._current is None:
            self._begin(request)
        else:
            self._ahead.append(request)
            if len(self._ahead) >= MAX_AHEAD:
                self.hold()

    def on_body(self, body: bytes) -> None:
        if self._reading is not None:
            self._reading.feed(body)

    def on_message_complete(self) -> None:
        if self._reading is not None:
            self._reading.complete()
            self._reading = None

    # --- for its requests

    @property
    def is_gone(self) -> bool:
        return self._is_gone

    def hold(self) -> None:
        """Let the client wait before it sends more."""
        if self._is_reading and not self._is_gone:
            self._is_reading = False
            self.transport.pause_reading()

    def go_on(self) -> None:
        if not self._is_reading and not self._is_gone:
            self._is_reading = True
            self.transport.resume_reading()

    async def room(self) -> None:
        """Wait until the client has taken most of what it was sent."""
        while self._drained is not None:
            await asyncio.shield(self._drained)

    def ended(self, request: "_Request") -> None:
        """A request is answered, or its application gave up: the next one's turn."""
        self._idle_since = self._loop.time()
        self._current = None
        if self._is_gone:
            return
        if not request.may_stay or self._server.is_closing:
            self.transport.close()
        elif self._ahead:
            self._begin(self._ahead.popleft())
            self.go_on()

    # --- for the server

    def close_if_idle(self) -> None:
        if self._current is None and not self._is_gone:
            self.transport.close()

    def close_if_stale(self, idle_before: float, head_before: float) -> None:
        if self._current is None and self._idle_since < (
            head_before if self._head_size and self._reading is None else idle_before
        ):
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def _begin(self, request: "_Request") -> None:
        self._current = request
        task = self._loop.create_task(request.run(self._server.app))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _refuse(self, status: int, reason: bytes) -> None:
        """What was sent cannot be read, so nothing after it can: say so, and close."""
        if self._is_gone or self.transport.is_closing():
            return
        if self._current is None:
            head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (
                len(reason) + 1
            )
            self.transport.write(_STATUS[status] + head + reason + b"\n")
        self.transport.close()


class _Request:
    """One request, as the application sees it."""

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_head",
        "_is_complete",
        "_is_given",
        "_is_over",
        "_is_sent",
        "_size",
        "_wake",
        "may_stay",
        "scope",
    )

    def __init__(self, connection: _Connection, scope: dict[str, Any], *, may_stay: bool) -> None:
        self.scope = scope
        self.may_stay = may_stay
        self._connection = connection
        self._body: list[bytes] = []
        self._size = 0
        self._is_complete = False
        self._is_given = False
        self._wake: asyncio.Future[None] | None = None
        self._head: bytes | None = None
        self._chunked = False
        self._is_sent = False
        self._is_over = False

    def feed(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)
        if self._size > HIGH_WATER:
            self._connection.hold()
        self._stir()

    def complete(self) -> None:
        self._is_complete = True
        self._stir()

    def disconnect(self) -> None:
        self._stir()

    async def run(self, app: Application) -> None:
        try:
            await app(self.scope, self._receive, self._send)
        except asyncio.CancelledError:
            self.may_stay = False
            raise
        except Exception as error:
            log.error("http.application_failed", path=self.scope["path"], exc_info=error)
        finally:
            if not self._is_sent and not self._connection.is_gone:
                self._fail()
            self._end()

    async def _receive(self) -> dict[str, Any]:
        connection = self._connection
        while True:
            if connection.is_gone or (self._is_sent and self._is_given):
                return {"type": "http.disconnect"}
            if self._body or (self._is_complete and not self._is_given):
                body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body.clear()
                self._size = 0
                self._is_given = self._is_complete
                connection.go_on()
                return {"type": "http.request", "body": body, "more_body": not self._is_complete}
            if self._wake is None:
                if not self._is_given and (b"expect", b"100-continue") in self.scope["headers"]:
                    connection.transport.write(_CONTINUE)
                    self.scope["headers"].remove((b"expect", b"100-continue"))
                self._wake = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._wake)

    async def _send(self, message: dict[str, Any]) -> None:
        connection = self._connection
        if connection.is_gone or self._is_sent:
            return
        if message["type"] == "http.response.start":
            self._head = self._head_of(message["status"], message.get("headers", ()))
            return
        body: bytes = message.get("body", b"")
        is_last = not message.get("more_body", False)
        head, self._head = self._head, None
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if is_last else b"")
        if self.scope["method"] == "HEAD":
            body = b""
        if head is not None:
            body = head + body
        if body:
            connection.transport.write(body)
        if is_last:
            self._is_sent = True
            self._stir()
            if self._is_complete:
                # What the application still does is not the connection's business: a call may go on after its stream.
                self._end()
        else:
            await connection.room()

    def _head_of(self, status: int, headers: Any) -> bytes:
        lines = [_STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status]
        is_framed = status in _BODILESS
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                is_framed = True
            elif name == b"connection" and value == b"close":
                self.may_stay = False
        if not is_framed:
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                # An older client reads until the end of the connection.
                self.may_stay = False
        if not self.may_stay or self._connection._server.is_closing:  # noqa: SLF001  # one noun in two classes
            lines.append(b"connection: close\r\n")
        elif self.scope["http_version"] == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _fail(self) -> None:
        """The application ended without an answer: a defect, or a cancelled request."""
        if self._head is None and not self._chunked:
            self._connection.transport.write(_STATUS[500] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.may_stay = False

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            # A body that nobody read stands in the way of the next request.
            self.may_stay = self.may_stay and self._is_complete
            self._connection.ended(self)

    def _stir(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)
