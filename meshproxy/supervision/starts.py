"""`Starts`: how many upstreams are started at once, and which of them first.

Two hundred programs that start together start slowly, all of them, and nothing else gets on meanwhile. So each waits for its turn: one that a
client waits for first, then those that are required, then the others, in their order. A turn ends when the upstream is up or has failed, and after a
while in any case: what takes longer waits for something else than this machine, and must not starve the others.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Final

__all__ = ["Place", "Starts", "Urgency"]

PROGRAMS: Final = max(8, 4 * (os.cpu_count() or 1))
"""Programs that start at once."""
CONNECTIONS: Final = 32
"""Upstreams of another kind that are connected to at once."""
HOLD: Final = 2.0
"""Seconds that a turn lasts at most."""


class Urgency(IntEnum):
    """Whose turn it is first: the least."""

    AWAITED = 0
    """Somebody waits for it."""
    REQUIRED = 1
    USUAL = 2


class Turn:
    """One turn: `await turn.granted`, and then `end` it, whatever happened meanwhile.

    Attributes:
        granted: done when it is there.
        urgency: how urgent it is.
    """

    __slots__ = ("_lane", "_timer", "granted", "urgency")

    def __init__(self, lane: "_Lane", urgency: Urgency) -> None:
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.urgency = urgency
        self._lane = lane
        self._timer: asyncio.TimerHandle | None = None

    def hurry(self) -> None:
        """Somebody waits for it."""
        self.urgency = Urgency.AWAITED

    def grant(self, hold: float) -> None:
        """It is there, for `hold` seconds at most."""
        self.granted.set_result(None)
        self._timer = asyncio.get_running_loop().call_later(hold, self.end)

    def end(self) -> None:
        """It is over, or not wanted any more. Idempotent."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._lane.leave()
        elif not self.granted.done() or self.granted.cancelled():
            self.granted.cancel()
            self._lane.forget(self)


class _Lane:
    """Those of one kind."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: list[Turn] = []

    def ask(self, urgency: Urgency) -> Turn:
        turn = Turn(self, urgency)
        self._waiting.append(turn)
        self._grant()
        return turn

    def leave(self) -> None:
        self._free += 1
        self._grant()

    def forget(self, turn: Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)

    def _grant(self) -> None:
        while self._free and self._waiting:
            # The first of the most urgent ones.
            turn = min(self._waiting, key=lambda waiting: waiting.urgency)
            self._waiting.remove(turn)
            if not turn.granted.done():
                self._free -= 1
                turn.grant(HOLD)


class Starts:
    """The starts of all upstreams of a mesh."""

    def __init__(self, programs: int = PROGRAMS, connections: int = CONNECTIONS) -> None:
        self._programs = _Lane(programs)
        self._connections = _Lane(connections)

    def place(self, *, is_program: bool) -> "Place":
        """That of one upstream."""
        return Place(self._programs if is_program else self._connections)


class Place:
    """That of one upstream, which has a turn each time that it starts.

    Attributes:
        urgency: how urgent its turns are.
    """

    def __init__(self, lane: _Lane) -> None:
        self.urgency = Urgency.USUAL
        self._lane = lane
        self._turn: Turn | None = None

    def hurry(self) -> None:
        """Somebody waits for the start that is under way, if one is."""
        if self._turn is not None:
            self._turn.hurry()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for its turn, and have it."""
        turn = self._turn = self._lane.ask(self.urgency)
        try:
            await turn.granted
            yield
        finally:
            self._turn = None
            turn.end()
