"""Heads of HTTP/1.1 messages that came before, by which the next one like it need not be parsed. Place: http, pure.

Peers repeat themselves: two heads on one connection differ in the length of the body, and mostly in nothing else. What a parser made of
the first holds for the second, those digits aside.
"""

import re
from typing import Final, Generic, TypeVar

__all__ = ["FamiliarHead", "familiar"]

Meaning = TypeVar("Meaning")

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,10})\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
_MOST_DIGITS: Final = 10
_LARGEST: Final = 4096
"""Bytes of a head that is worth remembering."""


class FamiliarHead(Generic[Meaning]):
    """A head that was parsed, and what its reader made of it.

    Attributes:
        meaning: whatever the reader wants to know of the next message with such a head.
    """

    __slots__ = ("_after", "_before", "_size", "meaning")

    def __init__(self, before: bytes, after: bytes, meaning: Meaning) -> None:
        self._before = before
        self._size = len(before)
        self._after = after
        self.meaning = meaning

    def measure(self, data: bytes) -> tuple[int, int] | None:
        """Where the body begins in `data` and how long it is, if `data` begins with such a head, whole; None otherwise."""
        if not data.startswith(self._before):
            return None
        end = data.find(b"\r", self._size, self._size + _MOST_DIGITS + 1)
        if end < 0:
            return None
        digits = data[self._size : end]
        # Only digits: `int` takes more than RFC 9110, 8.6 does.
        if not digits.isdigit() or not data.startswith(self._after, end):
            return None
        return end + len(self._after), int(digits)


def familiar(data: bytes, meaning: Meaning) -> FamiliarHead[Meaning] | None:
    """The head that `data` begins with, which a parser has accepted; None if it is not whole, or does not tell one length once."""
    end = data.find(_END, 0, _LARGEST)
    if end < 0:
        return None
    head = data[: end + len(_END)]
    length = _LENGTH.search(head)
    lower = head.lower()
    if length is None or lower.count(b"content-length") != 1 or b"transfer-encoding" in lower:
        return None
    return FamiliarHead(head[: length.start(1)], head[length.end(1) :], meaning)
