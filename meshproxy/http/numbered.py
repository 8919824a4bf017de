"""`Numbered`: how messages begin that differ in one number and in nothing else. Place: http, pure.

Peers repeat themselves: the next message mostly begins as the last one did, but for a length or an id.
"""

from mypy_extensions import i64, mypyc_attr

__all__ = ["Numbered"]


@mypyc_attr(allow_interpreted_subclasses=True)
class Numbered:
    """What stands before such a number of at most so many digits, and what stands behind it."""

    __slots__ = ("_after", "_before", "_digits")

    def __init__(self, before: bytes, after: bytes, digits: int) -> None:
        self._before = before
        self._after = after
        self._digits = digits

    def measure(self, data: bytes, start: i64 = 0) -> tuple[int, int] | None:
        """Where `data` goes on behind such a beginning, which is at `start`, and the number in it; None if it begins otherwise, or is not there yet.

        A number is digits and nothing else (`int` takes more than RFC 9110, 8.6 does).
        """
        first: i64 = start + len(self._before)
        if data[start:first] != self._before:
            return None
        most: i64 = first + self._digits
        most = min(most, len(data))
        place: i64 = first
        number: i64 = 0
        while place < most:
            digit: i64 = data[place]
            if digit < 0x30 or digit > 0x39:
                break
            number = number * 10 + digit - 0x30
            place += 1
        end: i64 = place + len(self._after)
        if place == first or data[place:end] != self._after:
            return None
        return end, number
