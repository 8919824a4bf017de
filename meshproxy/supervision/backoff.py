"""`Backoff`: when to try again what failed. Pure: whoever asks tells the time, and brings the chance.

The pause before an attempt is drawn from nothing to a bound that doubles with each failure in a row ("full jitter"), so that upstreams which
failed together are not tried together. Coming up does not end the row: having held for a while does, since a program that ends soon after each
start would else be started without end. What trying cannot cure is tried rarely.
"""

from typing import Final

__all__ = ["BACKOFF", "HELD", "LASTING", "LOOP", "Backoff"]

BACKOFF: Final = (0.5, 30.0)
"""Seconds that bound the first pause, and any; each failure doubles them."""
LASTING: Final = (60.0, 600.0)
"""The same for what only the user can cure: a command that does not exist, a refusal of who we are. The pause is half of it at least."""
IMPATIENCE: Final = 2.0
"""Seconds after a failed attempt from which on somebody's need is reason enough for another."""
RELUCTANCE: Final = 30.0
"""The same for what trying does not cure, and for what ends again and again."""
STABLE: Final = 5.0
"""Seconds for which a link must have held, so that it is opened again at once when it is lost: most losses are restarts."""
HELD: Final = 60.0
"""Seconds after which a link has held, and all earlier failures are forgotten."""
LOOP: Final = 3
"""Losses in a row, each before the link has held, that are a loop."""
LONGEST: Final = 3600.0
"""The most seconds that an upstream may ask for."""


class Backoff:
    """The failures of one upstream. All times are in seconds of one clock.

    Attributes:
        failures: how many there were in a row.
        due: when to try again; None while it is connected, or tried.
    """

    __slots__ = ("_asked", "_failed_at", "_has_been_up", "_is_lasting", "_losses", "_up_since", "due", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self.due: float | None = None
        self._losses = 0
        self._up_since: float | None = None
        self._has_been_up = False
        self._failed_at = 0.0
        self._asked = 0.0
        self._is_lasting = False

    @property
    def is_loop(self) -> bool:
        """Whether it comes up and ends, again and again."""
        return self._losses >= LOOP

    def came_up(self, now: float) -> None:
        """It is connected and listed."""
        self.due = None
        self._up_since = now
        self._has_been_up = True
        self._is_lasting = False

    def failed(self, now: float, chance: float, *, asked: float | None = None, is_lasting: bool = False) -> float:
        """The seconds until the next attempt, after one failed or the link was lost.

        Args:
            now: the time.
            chance: from 0 to 1, evenly distributed.
            asked: seconds that the upstream wants us to wait at least (`Retry-After`).
            is_lasting: whether trying again cannot cure it.
        """
        since, self._up_since = self._up_since, None
        lasted = 0.0 if since is None else now - since
        if lasted >= HELD:
            self.failures = self._losses = 0
        if since is not None:
            self._losses += 1
        self.failures += 1
        if self.failures == 1 and lasted >= STABLE and not is_lasting:
            pause = 0.0
        else:
            pause = self._pause(chance, is_lasting=is_lasting)
        self._is_lasting = is_lasting
        self._failed_at = now
        self._asked = now + min(max(asked or 0.0, 0.0), LONGEST)
        self.due = max(now + pause, self._asked)
        return self.due - now

    def tries(self) -> None:
        """An attempt begins."""
        self.due = None

    def may_hurry(self, now: float) -> bool:
        """Whether somebody's need is reason enough to try before the time."""
        patience = RELUCTANCE if self._is_lasting or self.is_loop else IMPATIENCE
        return now >= self._asked and now - self._failed_at > patience

    def _pause(self, chance: float, *, is_lasting: bool) -> float:
        first, most = BACKOFF
        if is_lasting:
            rarely, most = LASTING
            # One that has been up with this very config is perhaps being restarted behind something that answers for it.
            first = first if self._has_been_up else rarely
            chance = (1 + chance) / 2
        return chance * min(most, first * float(1 << min(self.failures - 1, 20)))
