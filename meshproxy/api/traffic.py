"""`Traffic`: how much each upstream is asked, how long it takes, and how often it fails: the last minutes, in steps. Place: api.

It is told of each call that has ended, and does as little as can be then: two additions and one place of a short list. What people read is computed when they look.
"""

import time
from typing import Any, Final

from meshproxy.observe.record import DENIED, SUCCESS, Record

__all__ = ["STEP", "STEPS", "Traffic"]

STEP: Final = 10.0
"""Seconds of a step."""
STEPS: Final = 30
"""Steps that are kept, the one that runs included."""
SAMPLES: Final = 128
"""Durations of one step that are kept; of more, the later ones take the places of earlier ones."""
_MINUTE: Final = int(60 / STEP)
_WELL: Final = frozenset({SUCCESS, DENIED})


class _Step:
    """What came in one step."""

    __slots__ = ("calls", "errors", "seconds")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.seconds: list[float] = []


class _Lane:
    """The steps of one upstream, by their number."""

    __slots__ = ("last", "steps")

    def __init__(self) -> None:
        self.steps: dict[int, _Step] = {}
        self.last = _Step()


class Traffic:
    """A listener of `Recorder`, for every upstream that was ever asked."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._number = -1
        self._until = 0.0

    def take(self, record: Record, _outcome: object) -> None:
        """A request has ended."""
        name = record.upstream
        if not name:
            return
        if record.ended >= self._until:
            self._turn(record.ended)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
            lane.steps[self._number] = lane.last
        step = lane.last
        count = step.calls
        step.calls = count + 1
        if record.outcome not in _WELL:
            step.errors += 1
        if count < SAMPLES:
            step.seconds.append(record.ended - record.started)
        else:
            step.seconds[count % SAMPLES] = record.ended - record.started

    def keep(self, names: object) -> None:
        """Forget all but these: upstreams come and go, and a mesh lives long."""
        if isinstance(names, (set, frozenset, dict)):
            for name in [name for name in self._lanes if name not in names]:
                del self._lanes[name]

    def shown(self) -> dict[str, dict[str, Any]]:
        """By upstream: calls and errors of the last minute, the median and the 99th percentile of their seconds, and the steps, oldest first."""
        now = time.monotonic()
        if now >= self._until:
            self._turn(now)
        return {name: self._told(lane) for name, lane in self._lanes.items()}

    def _told(self, lane: _Lane) -> dict[str, Any]:
        # What runs has only begun, so the minute is that of whole steps, as far as there are any, and it.
        minute = [
            lane.steps[number] for number in range(self._number - _MINUTE, self._number + 1) if number in lane.steps
        ]
        seconds = sorted(taken for step in minute for taken in step.seconds)
        steps = [lane.steps.get(number) for number in range(self._number - STEPS + 1, self._number + 1)]
        told: dict[str, Any] = {
            "calls": sum(step.calls for step in minute),
            "errors": sum(step.errors for step in minute),
            "steps": [0 if step is None else step.calls for step in steps],
            "failed": [0 if step is None else step.errors for step in steps],
        }
        if seconds:
            told["p50"] = round(seconds[len(seconds) // 2], 6)
            told["p99"] = round(seconds[min(len(seconds) - 1, len(seconds) * 99 // 100)], 6)
        return told

    def _turn(self, now: float) -> None:
        """A new step begins."""
        self._number = int(now / STEP)
        self._until = (self._number + 1) * STEP
        for lane in self._lanes.values():
            lane.last = lane.steps[self._number] = _Step()
            for number in [number for number in lane.steps if number <= self._number - STEPS]:
                del lane.steps[number]
