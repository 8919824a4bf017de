"""`Bucket`: how many calls may begin in a time, by the usual bucket of tokens. Pure: the clock is the caller's. Place: guard."""

from meshproxy.config.units import Rate

__all__ = ["Bucket"]


class Bucket:
    """Full at first: as many calls as the rate says may begin at once, and then one whenever its share of the time has passed."""

    __slots__ = ("_at", "_level", "_per_second", "_size")

    def __init__(self, rate: Rate, now: float) -> None:
        self._size = float(rate.times)
        self._per_second = rate.times / rate.seconds
        self._level = self._size
        self._at = now

    def take(self, now: float) -> float:
        """Take a token: 0, or the seconds until there is one, and then none was taken. `now` does not run back."""
        level = min(self._size, self._level + (now - self._at) * self._per_second)
        self._at = now
        if level >= 1.0:
            self._level = level - 1.0
            return 0.0
        self._level = level
        return (1.0 - level) / self._per_second
