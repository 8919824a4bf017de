"""`Bucket`: how many calls may begin in a time, by the usual bucket of tokens. Pure: the clock is the caller's. Place: guard."""

from meshproxy.config.units import Rate

__all__ = ["Bucket"]


class Bucket:
    """Full at first: as many calls as the rate says may begin at once, and then one whenever its share of the time has passed.

    Attributes:
        level: the tokens that are there.
        is_lent: they come from elsewhere (`lend`), and none comes with the time.
        dry_until: until when there are none elsewhere.
    """

    __slots__ = ("_at", "_per_second", "_size", "dry_until", "is_lent", "level")

    def __init__(self, rate: Rate, now: float) -> None:
        self._size = float(rate.times)
        self._per_second = rate.times / rate.seconds
        self._at = now
        self.level = self._size
        self.is_lent = False
        self.dry_until = 0.0

    def take(self, now: float) -> float:
        """Take a token: 0, or the seconds until there is one, and then none was taken. `now` does not run back."""
        level = self.level
        if not self.is_lent:
            level = min(self._size, level + (now - self._at) * self._per_second)
            self._at = now
        if level >= 1.0:
            self.level = level - 1.0
            return 0.0
        self.level = level
        if self.is_lent:
            return max(self.dry_until - now, 1.0 / self._per_second)
        return (1.0 - level) / self._per_second

    def may_be_lent(self, now: float) -> bool:
        """Whether it has no token, and there may be one elsewhere."""
        return self.is_lent and self.level < 1.0 and now >= self.dry_until

    def lend(self, tokens: float, dry_until: float) -> None:
        """Put so many tokens into it that come from elsewhere; a negative number takes them back."""
        self.level += tokens
        self.dry_until = dry_until

    def share(self) -> None:
        """From now on tokens come from elsewhere. Those that are there are its own, and no longer count."""
        self.is_lent = True
        self.level = 0.0
        self.dry_until = 0.0

    def stand_alone(self, now: float, part: float) -> None:
        """From now on tokens come with the time again; of a full bucket there is this part."""
        self.is_lent = False
        self.level = max(self.level, self._size * part)
        self._at = now
