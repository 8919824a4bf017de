"""The turns of the requests on one connection: one at a time is answered, in the order in which they came. Place: http, under `server_connection`.

Requests that a client sends ahead wait (RFC 9112, 9.3.2), and so does the client, when there are too many of them or their bodies are too large.
"""

import asyncio
from collections import deque
from typing import Any, Final

import httptools
import structlog

from meshproxy.http.server_request import Line, Request, Server

__all__ = ["DEAF", "Turns"]

log = structlog.get_logger(__name__)

HIGH_WATER: Final = 256 * 1024
"""Bytes of bodies that wait for the application before the client is made to wait."""
MAX_AHEAD: Final = 16
"""Requests that a client may send ahead before it is made to wait; what one slice of a read brings is taken whole."""
SLOWEST: Final = 500
"""Bytes of a body a second that a client has to bring, once it has had the time that a head may take."""
LINGER: Final = 2.0
"""Seconds that a client which may still be sending has to take its last answer and go, before it is left."""


class _Deaf:
    """Stands in for the parser when nothing more that comes is a request."""

    def feed_data(self, data: bytes) -> None:
        """Drop what was sent."""


DEAF: Final[Any] = _Deaf()


class Turns(Line):
    """The part of a connection that answers; `Connection` is the part that reads.

    Attributes:
        authority: which vouched for the certificate that the client showed, DER; empty if that is not known, None if it showed none.
    """

    __slots__ = (
        "_ahead",
        "_brought",
        "_current",
        "_deadline",
        "_due",
        "_is_held",
        "_is_resuming",
        "_loop",
        "_parser",
        "_quiet_since",
        "_reading",
        "_refusal",
        "_rest",
        "_timer",
        "_unsent",
        "_waiting",
        "authority",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._reading: Request | None = None  # whose body has not come to its end
        self._current: Request | None = None  # which is being answered
        self._ahead: deque[Request] = deque()
        self._refusal = b""  # what is to be said, in its turn, of bytes that were no request
        self._waiting = 0  # bytes of bodies
        self._is_held = False
        self._is_resuming = False  # the rest is about to be read
        self._rest = b""  # of a read, which has not been looked at since too much waits
        self._due = 0.0  # when the body that is being read must have come, if none of it has
        self._brought = 0  # bytes of it
        self._quiet_since = server.now
        self.authority: bytes | None = None
        self._unsent = 0  # bytes, when this was last looked at
        self._deadline: float | None = None  # for the rest of a head, or for the client's end
        self._timer: asyncio.TimerHandle | None = None  # runs once the client has closed its side

    def address(self) -> str:
        """Of the client, as the log has it."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    def taken(self, size: int) -> None:
        """So many bytes of a body wait no more."""
        self._waiting -= size
        self._go_on()

    def _admit(self, request: Request) -> None:
        request.is_admitted = True
        if self._current is None and self.room is None:
            self._begin(request)
        else:
            self._ahead.append(request)
            if len(self._ahead) >= MAX_AHEAD:
                self._hold()

    def _begin(self, request: Request) -> None:
        self._current = request
        request.task = self._loop.create_task(self.server.converse(request).run(self.server.app))
        self.server.tasks.add(request.task)

    def _begin_next(self) -> None:
        self._begin(self._ahead.popleft())
        self._go_on()

    def _hold(self) -> None:
        if not self._is_held:
            self._is_held = True
            self.transport.pause_reading()

    def _go_on(self) -> None:
        if not self._is_held or self._waiting > HIGH_WATER or len(self._ahead) >= MAX_AHEAD or self.is_gone:
            return
        # The time in which it was made to wait is not the client's.
        self._due = self.server.head_deadline
        self._brought = 0
        if not self._rest:
            self._is_held = False
            self.transport.resume_reading()
        elif not self._is_resuming:
            self._is_resuming = True
            self._loop.call_soon(self.read_rest)

    def read_rest(self) -> None:
        """There is room for what was kept."""
        raise NotImplementedError

    def _leave(self, last: bytes = b"") -> None:
        """Close after `last`. While a client still sends, closing would reset what it has not read yet (RFC 9112, 9.6)."""
        is_read = not last and self._reading is None
        self._parser = DEAF
        self._reading = None
        self._ahead.clear()
        self._rest = b""
        if self.transport.is_closing():
            return
        if last:
            self.transport.write(last)
        if is_read or self._timer is not None or self.server.is_secure:
            # TLS has an end of its own, which does not reset what the client has not read.
            self.transport.close()
            return
        self._deadline = self._loop.time() + LINGER
        self._waiting = 0
        self._go_on()
        self.transport.write_eof()

    def _refuse(self, status: int, reason: bytes) -> None:
        """What was sent cannot be read, so nothing after it can: say so when it is its turn, and close."""
        self._parser = DEAF
        self._rest = b""
        self._deadline = None
        self._refusal = self.server.refusal(status, reason)
        request, self._reading = self._reading, None
        if request is not None and request.body and not request.is_admitted:
            self._admit(request)  # the read that began its body also broke it
        if request is not None and request.is_admitted:
            request.cut()
        elif self._current is None and not self._ahead:
            self._leave(self._refusal)

    # For the server.

    def close_if_idle(self) -> None:
        """Close if no request is being answered."""
        if self._current is None:
            self.transport.close()

    def is_of_another(self, context: Any) -> bool:
        """Whether the client showed a certificate in a handshake that another TLS context had."""
        session = None if self.authority is None else self.transport.get_extra_info("ssl_object")
        return session is not None and session.context is not context

    def leave(self) -> None:
        """Close after what was written so far, and take nothing more: who the client is does not hold any more."""
        self._parser = DEAF
        self._reading = None
        self._ahead.clear()
        self._rest = b""
        self.transport.close()

    def abort_if_stale(self, now: float, quiet_before: float) -> None:
        """Close if it is the client's turn to do something, and has been for too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent = unsent  # it takes what it was sent, or there is something new for it
            self._quiet_since = now
            return
        is_waiting = self._current is not None and (self._current is not self._reading or self._is_held)
        if is_waiting and not unsent:
            return
        if not is_waiting and self._reading is not None and self._due + self._brought / SLOWEST < now:
            self.transport.abort()  # it drips
        elif self._quiet_since < quiet_before if is_waiting or self._deadline is None else self._deadline < now:
            if is_waiting:
                log.warning("client.too_slow", address=self.address(), waiting_bytes=unsent)
            self.transport.abort()

    def abort(self) -> None:
        """Close without sending what waits to be sent."""
        self.transport.abort()
