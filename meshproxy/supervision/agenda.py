"""`Agenda`: when to list an upstream again, and when to see whether it still can be. Pure: whoever asks tells the time.

It is listed again when it says that something changed (`Pace`), when something could not be listed, and, if it would not say what changes, now and
then. One that is listed for none of these reasons is asked for the beginning of a listing now and then: there are servers that answer pings and nothing else.
"""

from typing import Final

from meshproxy.supervision.pace import Pace

__all__ = ["CHECK", "RELIST", "Agenda"]

RELIST: Final = (5.0, 300.0)
"""Seconds before what could not be listed is tried again, and the most; each attempt doubles them."""
CHECK: Final = 30.0
"""Seconds after which an upstream that was not listed meanwhile is asked whether it can be."""
DOUBT: Final = 1.0
"""Seconds between two such questions at least, however much one doubts that it can."""


class Agenda:
    """The listings of one upstream. All times are in seconds of one clock.

    Args:
        ttl: seconds after which a listing is too old if the upstream would not say what changes; None for never.
        now: the time.

    Attributes:
        pace: what the upstream says of its listings.
        relist: seconds after which what could not be listed is tried again; 0 if nothing is missing.
    """

    __slots__ = ("_checked", "_listed", "_ttl", "pace", "relist")

    def __init__(self, ttl: float | None, now: float) -> None:
        self.pace = Pace()
        self.relist = 0.0
        self._ttl = ttl
        self._listed = self._checked = now

    def begin(self, now: float) -> None:
        """A listing begins: it has all that was said before."""
        self.pace.begin()
        self._listed = self._checked = now

    def ended(self, now: float, *, is_whole: bool) -> None:
        """A listing ended, with everything in it or not."""
        self._listed = self._checked = now
        first, most = RELIST
        self.relist = 0.0 if is_whole else min(most, max(first, 2 * self.relist))

    def checked(self, now: float) -> None:
        """It was asked whether it can be listed."""
        self._checked = now

    def doubt(self, now: float) -> None:
        """Something makes one doubt that it can: it is asked soon."""
        self._checked = min(self._checked, max(now - CHECK, self._checked - CHECK + DOUBT))

    def listing_due(self, *, announces: bool) -> float | None:
        """When to list it again; None for not before it says something. `announces` is whether it would say what changes."""
        times = [self._listed + self.relist] if self.relist else []
        if self._ttl is not None and not announces:
            times.append(self._listed + self._ttl)
        if self.pace.due is not None:
            times.append(self.pace.due)
        return min(times, default=None)

    def check_due(self) -> float:
        """When to ask whether it can be listed."""
        return self._checked + CHECK
