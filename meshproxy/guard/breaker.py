"""`Breaker`: when an upstream whose calls fail is left in peace, as a table. Pure: the clock is the caller's. Place: guard.

    CLOSED      calls pass; so many failures in a row open it
    OPEN        calls fail at once, until the pause is over
    HALF_OPEN   one call, the probe, is on its way, and the others fail at once: what becomes of it decides

Only an outcome of what passed while it was closed, or of the probe, changes anything: what was sent before it opened says nothing of now.
"""

from enum import StrEnum
from typing import Final

__all__ = ["TRANSITIONS", "Breaker", "Event", "State"]


class State(StrEnum):
    """How the breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Event(StrEnum):
    """What may happen to it."""

    WENT_WELL = "went well"
    """A call had an answer, be it an error of the tool's."""
    FAILED = "failed"
    """A call had none, and there were fewer failures in a row than it takes."""
    FAILED_TOO_OFTEN = "failed too often"
    RESTED = "rested"
    """The pause is over, and somebody calls."""
    PROBED_WELL = "probed well"
    PROBED_IN_VAIN = "probed in vain"
    PROBE_GIVEN_UP = "probe given up"
    """The probe's client does not wait for it any more, so nobody knows."""


_C, _O, _H = State.CLOSED, State.OPEN, State.HALF_OPEN
TRANSITIONS: Final[dict[Event, dict[State, State]]] = {
    Event.WENT_WELL: {_C: _C, _O: _O, _H: _H},
    Event.FAILED: {_C: _C, _O: _O, _H: _H},
    Event.FAILED_TOO_OFTEN: {_C: _O, _O: _O, _H: _H},
    Event.RESTED: {_C: _C, _O: _H, _H: _H},
    Event.PROBED_WELL: {_C: _C, _O: _O, _H: _C},
    Event.PROBED_IN_VAIN: {_C: _C, _O: _O, _H: _O},
    Event.PROBE_GIVEN_UP: {_C: _C, _O: _O, _H: _O},
}
"""What each event makes of each state."""


class Breaker:
    """The breaker of one upstream: opens after `failures` in a row, for `pause` seconds.

    Attributes:
        state: how it is.
        reason: why the last call failed that counted.
    """

    __slots__ = ("_due", "_failures", "_most", "_pause", "reason", "state")

    def __init__(self, failures: int, pause: float) -> None:
        self.state = State.CLOSED
        self.reason = ""
        self._most = failures
        self._pause = pause
        self._failures = 0
        self._due = 0.0

    def obey(self, failures: int, pause: float) -> None:
        """Go by other numbers from the next failure on. A pause that has begun is not changed."""
        self._most, self._pause = failures, pause

    def rest(self, now: float) -> float | None:
        """Seconds after which to come again, if a call cannot pass now; None if it can."""
        if self.state is State.CLOSED or (self.state is State.OPEN and now >= self._due):
            return None
        return max(self._due - now, 1.0)

    def enter(self) -> bool:
        """A call passes, since `rest` has nothing against it. Whether it is the probe."""
        self._on(Event.RESTED)
        return self.state is State.HALF_OPEN

    def went_well(self, *, is_probe: bool) -> None:
        """A call that passed had an answer."""
        self._failures = 0
        self._on(Event.PROBED_WELL if is_probe else Event.WENT_WELL)

    def failed(self, now: float, reason: str, *, is_probe: bool) -> None:
        """A call that passed failed, and it was the upstream's fault."""
        self.reason = reason
        before = self.state
        if is_probe:
            self._on(Event.PROBED_IN_VAIN)
        else:
            self._failures += 1
            self._on(Event.FAILED_TOO_OFTEN if self._failures >= self._most else Event.FAILED)
        if self.state is State.OPEN and before is not State.OPEN:
            self._failures = 0
            self._due = now + self._pause

    def given_up(self, *, is_probe: bool) -> None:
        """A call that passed ended in a way that says nothing of the upstream. After a probe, the next call is one."""
        if is_probe:
            self._on(Event.PROBE_GIVEN_UP)

    def _on(self, event: Event) -> None:
        self.state = TRANSITIONS[event][self.state]
