"""The states of the link to one upstream, and the table of what leads from one to another. Pure.

`BACKING_OFF` has its attempts within it: it is left when one succeeds. So an upstream that is down is not said to be starting each time that it is
tried, and nobody waits for an attempt that fails most likely. Likewise a session that its upstream has forgotten is opened anew without
leaving `UP`.
"""

from enum import Enum, StrEnum, auto
from typing import Final

__all__ = ["AVAILABLE", "DOWN", "WORDS", "Event", "State", "after"]


class State(StrEnum):
    """How the link to an upstream is."""

    IDLE = "idle"
    """Not connected because nobody uses it: a lazy one, or one that `timeouts.idle` closed."""
    STARTING = "starting"
    """It is connected to and listed for the first time, or for the first time since it was idle; who needs it waits."""
    UP = "up"
    DEGRADED = "degraded"
    """Connected, and something of it cannot be listed."""
    BACKING_OFF = "backing off"
    """It cannot be reached, or has ended; it is tried again after a pause."""
    NEEDS_LOGIN = "needs login"
    """It wants somebody to log in, and is not tried until that is done."""
    DRAINING = "draining"
    """It was taken out of the mesh, and what runs is let end."""
    STOPPED = "stopped"


class Event(Enum):
    """What happens to it."""

    WANTED = auto()
    """Somebody needs it."""
    WELL = auto()
    """It is connected to, and everything of it is listed."""
    IMPAIRED = auto()
    """It is connected to, and something of it cannot be listed."""
    FAILED = auto()
    """An attempt to connect and list failed, or the link was lost."""
    REFUSED = auto()
    """It wants a login."""
    LOGGED_IN = auto()
    """It has got one."""
    UNUSED = auto()
    """Nobody has used it for as long as it is kept for."""
    RETIRED = auto()
    """It is to take no new work."""
    CLOSED = auto()
    """It is closed for good."""


_I, _S, _U, _D = State.IDLE, State.STARTING, State.UP, State.DEGRADED
_B, _N, _R, _X = State.BACKING_OFF, State.NEEDS_LOGIN, State.DRAINING, State.STOPPED

# One row a state, one column an event, in the order of `Event`.
_ROWS: Final = {
    #   WANTED WELL IMPAIRED FAILED REFUSED LOGGED_IN UNUSED RETIRED CLOSED
    _I: (_S, _I, _I, _I, _I, _I, _I, _R, _X),
    _S: (_S, _U, _D, _B, _N, _S, _S, _R, _X),
    _U: (_U, _U, _D, _B, _N, _U, _I, _R, _X),
    _D: (_D, _U, _D, _B, _N, _D, _I, _R, _X),
    _B: (_B, _U, _D, _B, _N, _S, _B, _R, _X),
    _N: (_N, _U, _D, _N, _N, _S, _N, _R, _X),
    _R: (_R, _R, _R, _R, _R, _R, _R, _R, _X),
    _X: (_X, _X, _X, _X, _X, _X, _X, _X, _X),
}
_TABLE: Final = {state: dict(zip(Event, row, strict=True)) for state, row in _ROWS.items()}

AVAILABLE: Final = frozenset({State.UP, State.DEGRADED, State.IDLE})
"""Where a call can be tried: connected, or idle and ready to be."""
DOWN: Final = frozenset({State.BACKING_OFF, State.NEEDS_LOGIN})
"""Where it cannot, and it was tried to change that."""
WORDS: Final = {state: str(state) for state in State} | {State.DEGRADED: "up", State.BACKING_OFF: "down"}
"""What a state means for whoever only wants to call it: the `state` of `/readyz`."""


def after(state: State, event: Event) -> State:
    """The state in which an event leaves an upstream."""
    return _TABLE[state][event]
