"""`Condition`: the state of one upstream with its reason and since when, who wants to hear of it, and its lines in the log.

Each change is one line, `upstream.` and the state; what stays as it is, is said no more, and the same failure again is no change.
"""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from meshproxy.observe.decisions import Level, decide
from meshproxy.supervision.states import WORDS, Event, State, after

__all__ = ["Condition", "stamped"]

log = structlog.get_logger(__name__)

_LINES: Final[dict[State, tuple[Level, str]]] = {
    State.IDLE: ("info", "upstream.idle"),
    State.STARTING: ("debug", "upstream.starting"),
    State.UP: ("info", "upstream.up"),
    State.DEGRADED: ("warning", "upstream.degraded"),
    State.BACKING_OFF: ("warning", "upstream.down"),
    State.NEEDS_LOGIN: ("warning", "upstream.needs_login"),
    State.DRAINING: ("info", "upstream.draining"),
    State.STOPPED: ("debug", "upstream.stopped"),
}


class Condition:
    """How one upstream is.

    Attributes:
        state: see `State`.
        reason: why it is down, or what could not be listed, in one line without secrets; "" otherwise.
        since: when it came into this state, in seconds of the wall clock.
        entered: how often it came into each state.
    """

    def __init__(self, upstream: str, state: State, scrub: Callable[[str], str]) -> None:
        self.state = state
        self.reason = ""
        self.since = time.time()
        self.entered: Counter[State] = Counter()
        self._upstream = upstream
        self._scrub = scrub
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever the state or the reason changed, or what is offered."""
        self._listeners.append(callback)

    def take(self, event: Event, reason: str = "", **facts: Any) -> bool:
        """Something happened; `reason` and `facts` say more of it. If it changes anything, whoever listens hears of it, and it is true."""
        state, reason = after(self.state, event), self._scrub(reason)
        if (state, reason) == (self.state, self.reason):
            return False
        if state is not self.state:
            self.since = time.time()
            self.entered[state] += 1
        self.state, self.reason = state, reason
        level, line = _LINES[state]
        if event is Event.LOGGED_IN:
            decide("info", "login.found", upstream=self._upstream)
        told = {"upstream": self._upstream, **({"reason": reason} if reason else {}), **facts}
        if state is State.NEEDS_LOGIN:
            decide(level, line, **told)
        else:
            getattr(log, level)(line, **told)
        self.changed()
        return True

    def changed(self) -> None:
        """Tell whoever listens."""
        for listener in self._listeners:
            listener()

    def status(self) -> dict[str, Any]:
        """For people: what the state means for a caller, the state, and since when; why, if there is a reason."""
        status = {"state": WORDS[self.state], "phase": str(self.state), "since": stamped(self.since)}
        return status | {"reason": self.reason} if self.reason else status


def stamped(seconds: float) -> str:
    """A time of the wall clock as ISO 8601, in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
