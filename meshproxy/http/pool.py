"""`Pool`: the connections to one origin, idle or busy, and when each of them is due. Place: http, between `connection` and `http1`."""

import asyncio
import math
import re
from typing import Final

from meshproxy.http.client_connection import Connection, Errand
from meshproxy.http.transport_errors import ConnectionLost

__all__ = ["EARLY", "SMALL", "Pool"]

SMALL: Final = 16 * 1024
"""Bytes of a body up to which copying it is cheaper than a second buffer for the system."""
EARLY: Final = 0.001
"""Seconds by which a loop's timer may ring too early, since uvloop counts milliseconds."""
_ASK_AFTER: Final = 1.0
"""Seconds of idleness after which a connection is asked about before it is used again."""
_SHORT: Final = 0.5
"""Seconds of idleness; a server that closes sooner means no idle connections."""
_ALIKE: Final = 0.1
"""The share by which two times may differ after which a server closed."""
_TIMEOUT_PARAMETER: Final = re.compile(rb"(?:^|[,\s])timeout=(\d{1,6})")


class Pool:
    """Every open connection is in `connections`, and in `idle` as well while nobody uses it. Belongs to the loop of its first connection.

    Args:
        peer: who is at the other end, for messages: ``host:port``.
        max_idle: idle connections to keep.
        idle_timeout: seconds to keep one, at most; it becomes less if the server is seen to keep them for less.
        head: the first line and the constant headers of a POST; it may be changed.
    """

    def __init__(self, peer: str, max_idle: int, idle_timeout: float, head: bytes) -> None:
        self.connections: set[Connection] = set()
        self.idle: list[Connection] = []
        self.is_closed = False
        self._peer = peer
        self.head = head
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._keep_alive: bytes | None = None  # what the server said last
        self._kept_for = idle_timeout  # seconds, by that
        self._made = 0  # connections, so far
        # How long the last one was idle that the server closed, and `_made` then.
        self._lost: tuple[float, int] | None = None
        self._emptied: asyncio.Future[None] | None = None

    def connection(self) -> Connection:
        """A new connection, which is to be dialled and then added."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        connection = Connection(self._peer, self._on_idle, self._on_linger, self._on_lost)
        self._made = connection.number = self._made + 1
        return connection

    def run(self, headers: bytes, body: bytes, timeout: float | None, errand: Errand) -> Connection | None:
        """POST without a task, if a connection is free: the one that has it now; None otherwise.

        The errand is told all that comes of it; `Connection.drop` gives it up. `headers` are lines, as `encode_headers` makes them, and
        `timeout` is in seconds.
        """
        if self._loop is None or self.is_closed:
            return None
        now = self._loop.time()
        connection = self.take(now)
        if connection is None:
            return None
        self.expect(connection, math.inf if timeout is None else now + timeout)
        size = len(body)
        if size <= SMALL:
            connection.run(errand, b"%b%bcontent-length: %d\r\n\r\n%b" % (self.head, headers, size, body), b"")
        else:
            connection.run(errand, b"%b%bcontent-length: %d\r\n\r\n" % (self.head, headers, size), body)
        return connection

    def expect(self, connection: Connection, deadline: float) -> None:
        """A connection is due at `deadline`, in the loop's time."""
        connection.deadline = deadline
        if deadline < self._rings_at:
            self._ring(deadline)

    def close(self) -> "asyncio.Future[None] | None":
        """Close every connection: none is handed out any more, and requests under way fail. What is done when all are gone; None if they are."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings_at = None, math.inf
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()
        for connection in self.connections.difference(idle):
            connection.fail(ConnectionLost("the client was closed"))
        if self.connections and self._loop is not None:
            if self._emptied is None:
                self._emptied = self._loop.create_future()
            return self._emptied
        return None

    def take(self, now: float) -> Connection | None:
        """The idle connection that was used last, if one can be trusted to be open."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            trusted = connection.is_open() and connection.deadline > now
            if trusted and (now - connection.idle_since < _ASK_AFTER or not connection.has_news()):
                return connection
            connection.close()
        return None

    def _on_idle(self, connection: Connection, keep_alive: bytes | None) -> None:
        if self.is_closed or self._loop is None:
            connection.close()
            return
        if keep_alive != self._keep_alive:
            self._keep_alive, self._kept_for = keep_alive, self._idle_time(keep_alive)
        seconds = self._kept_for
        if seconds <= 0:
            connection.close()
            return
        connection.idle_since = now = self._loop.time()
        self.idle.append(connection)
        if len(self.idle) > self._max_idle:
            self.idle.pop(0).close()
        self.expect(connection, now + seconds)

    def _on_linger(self, connection: Connection, seconds: float) -> None:
        if self._loop is not None:
            self.expect(connection, self._loop.time() + seconds)

    def _on_lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
            self._learn(connection)
        if self._emptied is not None and not self.connections and not self._emptied.done():
            self._emptied.set_result(None)

    def _learn(self, connection: Connection) -> None:
        """An idle connection has ended: if the server closes each at one age, none is used that is nearly as old, since it would close it in that moment.

        One end may be that of the server, and of all its connections; so the second has to be of a connection that was made after the first.
        """
        if self._loop is None or connection.deadline <= (now := self._loop.time()):
            return  # it is this side that ended it
        age, lost = now - connection.idle_since, self._lost
        if age < _SHORT:
            return
        if lost is None or connection.number > lost[1]:
            if lost is not None and abs(age - lost[0]) <= _ALIKE * age:
                # A second before that, or half of it.
                self._idle_timeout = min(self._idle_timeout, max(age / 2, age - 1.0))
                self._kept_for = self._idle_time(self._keep_alive)
            self._lost = (age, self._made)

    def _idle_time(self, keep_alive: bytes | None) -> float:
        """Seconds to keep a connection whose server sent this ``Keep-Alive`` header."""
        announced = None if keep_alive is None else _TIMEOUT_PARAMETER.search(keep_alive.lower())
        return self._idle_timeout if announced is None else min(self._idle_timeout, int(announced[1]) - 1.0)

    # Deadlines: one timer for all, set to the earliest. A later one never moves it, so a busy client hardly ever sets it.

    def _ring(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is not None and not self.is_closed:
            self._rings_at = at
            self._timer = self._loop.call_at(at, self._sweep)

    def _sweep(self) -> None:
        self._timer, self._rings_at = None, math.inf
        now = asyncio.get_running_loop().time() + EARLY
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.expire()
        earliest = min((c.deadline for c in self.connections if c.deadline > now), default=math.inf)
        if earliest < self._rings_at:
            self._ring(earliest)
