"""An HTTP/1.1 server for one ASGI application. Place: http.

It does what this endpoint needs and no more, for half of a general server's CPU per request: no upgrades, no HTTP/2, no
websockets; that is for whoever stands in front of it. `Host` is the application's to judge, and its headers are sent as they are.
The application still runs under any ASGI server. Reading is the business of `server_connection`, answering that of `server_request` and `conversation`.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from email.utils import formatdate
from socket import AF_UNIX, socket
from typing import Any, Final, cast

from meshproxy.http.conversation import Conversation
from meshproxy.http.server_connection import Connection
from meshproxy.http.server_request import STATUS, Request, Take
from meshproxy.http.server_tls import LiveTls
from meshproxy.http.stream import Application

__all__ = ["HEAD_TIMEOUT", "SWEEP", "Http1Server"]

SWEEP: Final = 5.0
"""Seconds between two looks for connections on which nothing moves, at most. None is closed early for it; up to two of them late."""
QUIET: Final = 0.25
"""Seconds without a connection after which none is expected any more."""
LAST: Final = 1.0
"""Seconds that the last ones have to send what they came for."""
HEAD_TIMEOUT: Final = 30.0
"""Seconds that a request's head may take to arrive."""


class Http1Server:
    """Serves `app` on sockets that listen already.

    Args:
        app: the ASGI application; `lifespan` is not its business here.
        keep_alive: seconds that a connection stays open on which nothing is under way, or whose client stopped within a body.
        head_timeout: seconds that the head of a request may take.
        tls: what connections are encrypted by; None for those in the clear.

    Attributes:
        take: the application's `Take`, if it has one.
        connections: those that are open.
        tasks: in which the application runs; one may outlive its request, and its connection.
        is_closing: each answer is the last one of its connection.
        is_deaf: nothing new is taken.
        is_secure: connections are encrypted.
        now: the loop's time at the last sweep, which is as exact as connections need it.
        head_deadline: when a head that begins now must have come.
        date_line: the header that every response has (RFC 9110, 6.6.1); empty when it has to be made by `tell_time`.
    """

    def __init__(
        self,
        app: Application,
        keep_alive: float = 75.0,
        head_timeout: float = HEAD_TIMEOUT,
        tls: LiveTls | None = None,
    ) -> None:
        self.app = app
        self.is_secure = tls is not None
        self._tls = tls
        if tls is not None:
            tls.on_authorities(self._reconsider)
        self.take: Take | None = getattr(app, "take", None)
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_closing = False
        self.is_deaf = False
        self.now = 0.0
        self.head_deadline = 0.0
        self.date_line = b""
        self._keep_alive = keep_alive
        self._head_timeout = head_timeout
        self._interval = min(SWEEP, keep_alive / 2, head_timeout / 2)
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._dater: asyncio.TimerHandle | None = None
        self._admitted = 0
        self._last: set[asyncio.Future[Any]] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self, sockets: Sequence[socket]) -> None:
        """Accept connections on `sockets`, which are closed with the server."""
        loop = asyncio.get_running_loop()
        self._sweep()
        context = None if self._tls is None else self._tls.context
        for listener in sockets:
            begin = loop.create_unix_server if listener.family == AF_UNIX else loop.create_server
            self._servers.append(
                await begin(lambda: cast("asyncio.Protocol", Connection(self)), sock=listener, ssl=context)
            )

    async def leave(self, within: float, *, is_relieved: bool) -> None:
        """Have clients go elsewhere without a request that fails: what comes is answered, and each answer is the last one of its connection.

        Returns when no connection is left and none comes any more, after so many seconds at most; then nobody listens any more. Where others listen at the same sockets (`is_relieved`), none is accepted from the beginning.
        """
        self.is_closing = True
        if not is_relieved:
            await self._until_quiet(within)
            self._accept_last()
        self._stop_listening()
        await self._until_quiet(within if is_relieved else LAST)

    def stop_accepting(self) -> None:
        """Close the listening sockets, and every connection as soon as it has nothing under way. Idempotent."""
        self.is_closing = self.is_deaf = True
        self._stop_listening()
        for connection in list(self.connections):
            connection.close_if_idle()

    async def aclose(self, grace: float = 0.0) -> None:
        """Close everything, after `grace` seconds at most for what is being answered and sent. Idempotent."""
        self.stop_accepting()
        try:
            if grace:
                async with asyncio.timeout(grace):
                    await self._empty.wait()
        except TimeoutError:
            pass
        finally:
            for timer in (self._sweeper, self._dater):
                if timer is not None:
                    timer.cancel()
            for connection in list(self.connections):
                connection.abort()
            for task in self.tasks:
                task.cancel()
        await self._empty.wait()
        if self.tasks:
            await asyncio.wait(self.tasks)
            self.tasks.clear()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    # --- for connections and requests

    def admit(self, connection: Connection) -> None:
        """A connection is there."""
        self.connections.add(connection)
        self._admitted += 1
        self._empty.clear()
        if self._tls is not None and connection.is_of_another(self._tls.latest):
            # Other authorities than those in force looked at its certificate.
            connection.leave()

    def forget(self, connection: Connection) -> None:
        """It is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    def tell_time(self) -> bytes:
        """Make `date_line` when there is somebody to read it, and it lasts for the rest of the second."""
        if self._dater is not None:
            self._dater.cancel()
        now = time.time()
        self.date_line = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        self._dater = asyncio.get_running_loop().call_later(1 - now % 1, self._forget_time)
        return self.date_line

    def converse(self, request: Request) -> Conversation:
        """What the application hears of a request, and says to it."""
        return Conversation(request)

    def refusal(self, status: int, reason: bytes = b"") -> bytes:
        """A whole response, after which the connection is closed."""
        lines = [STATUS[status], self.date_line or self.tell_time(), b"connection: close\r\n"]
        if reason:
            lines.append(b"content-type: text/plain; charset=utf-8\r\n")
            reason += b"\n"
        return b"%bcontent-length: %d\r\n\r\n%b" % (b"".join(lines), len(reason), reason)

    # ---

    def _reconsider(self) -> None:
        """The authorities are others: whoever came in by one of those that are gone leaves, and who showed none may have one to show."""
        authorities = frozenset() if self._tls is None else self._tls.authorities
        for connection in list(self.connections):
            if connection.authority is None:
                connection.close_if_idle()
            elif connection.authority not in authorities:
                connection.leave()

    async def _until_quiet(self, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                count = -1
                while count != self._admitted:
                    await self._empty.wait()
                    count = self._admitted
                    await asyncio.sleep(QUIET)
        except TimeoutError:
            pass

    def _accept_last(self) -> None:
        """Take every connection that waits, which would be reset when nobody listens any more. There is no wait between this and that."""
        loop = asyncio.get_running_loop()
        context = None if self._tls is None else self._tls.context
        for listener in [listener for server in self._servers for listener in server.sockets]:
            with listener.dup() as waiting, contextlib.suppress(BlockingIOError):
                waiting.setblocking(False)
                while True:
                    taken, _ = waiting.accept()
                    made = loop.connect_accepted_socket(
                        lambda: cast("asyncio.Protocol", Connection(self)), taken, ssl=context
                    )
                    self._last.add(task := asyncio.ensure_future(made))
                    task.add_done_callback(self._last.discard)

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()

    def _forget_time(self) -> None:
        self.date_line = b""

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = now = loop.time()
        self.head_deadline = now + self._interval + self._head_timeout
        for connection in list(self.connections):
            connection.abort_if_stale(now, now - self._interval - self._keep_alive)
        self._sweeper = loop.call_later(self._interval, self._sweep)
