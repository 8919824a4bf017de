"""`Deadlines`: those of many requests on one timer. Place: http.

Most requests end long before they are due, so the timer is not set for each: it is set to the earliest, and left alone when that one has
ended.
"""

import asyncio
import math
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

__all__ = ["Deadlines"]

EARLY: Final = 0.001
"""Seconds by which a loop's timer may ring too early, since uvloop counts milliseconds."""

Key = TypeVar("Key", bound=Hashable)


class Deadlines(Generic[Key]):
    """Calls `expire` with the key of each request that is not discarded by the time it is due."""

    def __init__(self, expire: Callable[[Key], None]) -> None:
        self._expire = expire
        self._loop: asyncio.AbstractEventLoop | None = None
        self._time: Callable[[], float] | None = None
        self._due: dict[Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def add(self, key: Key, seconds: float) -> None:
        """A request is due in so many seconds."""
        loop, time = self._loop, self._time
        if loop is None or time is None:
            loop = self._loop = asyncio.get_running_loop()
            time = self._time = loop.time
        at = self._due[key] = time() + seconds
        if at < self._rings_at:
            self._set(loop, at)

    def discard(self, key: Key) -> None:
        """It has ended, or never was."""
        self._due.pop(key, None)

    def clear(self) -> None:
        """Nothing is due any more."""
        self._due.clear()
        if self._loop is not None:
            self._set(self._loop, math.inf)

    def _set(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = None if math.isinf(at) else loop.call_at(at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time() + EARLY
        expired = [key for key, at in self._due.items() if at <= now]
        for key in expired:
            del self._due[key]
        self._set(loop, min(self._due.values(), default=math.inf))
        for key in expired:
            self._expire(key)
