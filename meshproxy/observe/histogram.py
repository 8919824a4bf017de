"""`Histogram`: how often something took how long. Place: observe, pure.

It is counted on the way of calls, without a lock: everything runs on one loop.
"""

from typing import Final

__all__ = ["LONG", "SHORT", "Histogram"]

LONG: Final[tuple[float, ...]] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""The bounds that the semantic conventions of OpenTelemetry have for MCP, in seconds."""
SHORT: Final[tuple[float, ...]] = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Histogram:
    """Counts seconds.

    Attributes:
        bounds: the upper ends of the buckets, the last of which has none.
        counts: of each bucket, alone.
        total: the sum of all.
    """

    __slots__ = ("_least", "bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = LONG) -> None:
        self.bounds = bounds
        self._least = bounds[0]
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Something took so long."""
        self.total += seconds
        if seconds <= self._least:
            # Most of all, where little is waited for.
            self.counts[0] += 1
            return
        place = 0
        for bound in self.bounds:
            if seconds <= bound:
                break
            place += 1
        self.counts[place] += 1

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def within(self, share: float) -> float:
        """The bound within which that share of all was, about: between the ends of a bucket it is taken to be even; 0 if there was none."""
        wanted, lower, before = share * self.count, 0.0, 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and before + count >= wanted:
                return lower + (bound - lower) * (wanted - before) / count
            lower, before = bound, before + count
        return lower if before or self.counts[-1] else 0.0
