"""One event stream to one client: a bounded queue and the only task that writes to its connection. Place: http."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

__all__ = ["HEADERS", "Application", "EventStream", "Receive", "Scope", "Send"]

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_PING: Final = b": keep-alive\n\n"
_LINGER: Final = 5.0
"""Seconds that a client which was cut off has to take what the connection already holds."""


class EventStream:
    """Writes encoded events in order. `write` and `finish` never block; the task that `start` makes does the waiting.

    What waits to be sent is bounded: when more than `limit` bytes do, and the next event comes, the client is too slow. Then what
    waits is thrown away, the stream ends, and `on_slow` is called once.
    """

    __slots__ = (
        "_ended",
        "_keepalive",
        "_limit",
        "_on_slow",
        "_queue",
        "_quiet",
        "_send",
        "_size",
        "_timer",
        "_wake",
        "gone",
        "task",
    )

    def __init__(self, send: Send, limit: int, keepalive: float, on_slow: Callable[[], None]) -> None:
        self._send = send
        self._limit = limit
        self._keepalive = keepalive
        self._on_slow = on_slow
        self._queue: list[bytes] = []
        self._size = 0
        self._quiet = True
        self._ended = False
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.gone = False
        self.task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether it takes no more events."""
        return self._ended

    @property
    def waiting(self) -> int:
        """How many bytes wait to be sent."""
        return self._size

    def start(self) -> None:
        """Send the head of the response, then what is written."""
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._run())
        self._timer = loop.call_later(self._keepalive, self._tick)

    def write(self, event: bytes) -> None:
        """Queue one encoded event; nothing once the stream has ended."""
        if self._ended:
            return
        if self._size > self._limit:
            self.cut()
            self._on_slow()
            return
        self._queue.append(event)
        self._size += len(event)
        self._quiet = False
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    def finish(self, last: bytes = b"") -> None:
        """End the stream after what is queued, and after `last`, which may be of any size. Idempotent."""
        if self._ended:
            return
        if last:
            self._queue.append(last)
        self._end()

    def abandon(self) -> None:
        """The client is gone: throw away what waits and stop. Idempotent."""
        self.gone = True
        self._queue.clear()
        self._end()

    def cut(self) -> None:
        """End the stream without what waits, and without waiting for ever for a client that does not read. Idempotent."""
        if self._ended:
            return
        self._queue.clear()
        self._end()
        self._timer = asyncio.get_running_loop().call_later(_LINGER, self._give_up)

    async def drained(self) -> None:
        """Wait until everything is handed to the connection, or cannot be."""
        if self.task is not None:
            try:
                await asyncio.wait((self.task,))
            except asyncio.CancelledError:
                self.abandon()
                self.task.cancel()
                raise

    def _end(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    def _give_up(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _tick(self) -> None:
        # A ping is for a stream on which nothing else moves: one that waits for a slow client needs none.
        if self._quiet and self._wake is not None:
            self.write(_PING)
        self._quiet = True
        self._timer = asyncio.get_running_loop().call_later(self._keepalive, self._tick)

    async def _run(self) -> None:
        send, loop = self._send, asyncio.get_running_loop()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            if not self._queue and not self._ended:
                # A server may keep the head back until there is a body, and a client may wait for the head.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
            while not self.gone:
                if self._queue:
                    chunk = b"".join(self._queue)
                    self._queue.clear()
                    self._size = 0
                    last = self._ended
                    await send({"type": "http.response.body", "body": chunk, "more_body": not last})
                elif self._ended:
                    last = True
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                else:
                    last = False
                    self._wake = loop.create_future()
                    await self._wake
                if last:
                    return
        except OSError:
            # Some servers say so when the client is gone, and some are silent: both mean the same.
            self.gone = True
        finally:
            self._end()
