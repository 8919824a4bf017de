"""`Lag`: how late the event loop comes to what is due: whatever keeps it from its work shows here. Place: observe."""

import asyncio
from typing import Final

from meshproxy.observe.histogram import SHORT, Histogram

__all__ = ["Lag"]

_EVERY: Final = 1.0
"""Seconds between two looks."""


class Lag:
    """Looks once a second.

    Attributes:
        late: how late it was, each time.
    """

    def __init__(self) -> None:
        self.late = Histogram(SHORT)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._look)

    def stop(self) -> None:
        """Look no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self.late.add(max(0.0, loop.time() - self._timer.when()))
        self.start()
