"""`Stderr`: what the processes of one upstream write to standard error. Place: links, beside `process`."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from meshproxy.limits import KEPT_STDERR

__all__ = ["LINES", "Stderr"]

LINES: Final = 200
"""Lines in a second that are told on: a flood would cost the other upstreams the mesh's time, and whoever reads the log its end."""


class Stderr:
    """Keeps the last `bound` bytes, in whole lines, and tells them on, a flood in part.

    Args:
        tell: told each line, `LINES` in a second at most.
        flooded: called once in each second in which there are more.
        bound: bytes.

    Attributes:
        count: how many lines came so far.
    """

    def __init__(
        self, tell: Callable[[str], None], flooded: Callable[[], None] = lambda: None, bound: int = KEPT_STDERR
    ) -> None:
        self._tell = tell
        self._flooded = flooded
        self._bound = bound
        self.count = 0
        self._lines: deque[tuple[str, int]] = deque()
        self._size = 0
        self._second = 0.0
        self._told = 0

    def take(self, line: str) -> None:
        """A line came."""
        self.count += 1
        size = len(line.encode("utf-8", "replace")) + 1
        self._lines.append((line, size))
        self._size += size
        self._shorten()
        now = time.monotonic()
        if now - self._second >= 1:
            self._second, self._told = now, 0
        self._told += 1
        if self._told <= LINES:
            self._tell(line)
        elif self._told == LINES + 1:
            self._flooded()

    def keep(self, bound: int) -> None:
        """From now on keep so many bytes."""
        self._bound = bound
        self._shorten()

    @property
    def lines(self) -> list[str]:
        """What is kept, as it came: with the secrets that it may hold."""
        return [line for line, _ in self._lines]

    def _shorten(self) -> None:
        while self._size > self._bound:
            self._size -= self._lines.popleft()[1]
