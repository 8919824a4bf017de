"""Heads of HTTP/1.1 messages that came before, by which the next one like it need not be parsed. Place: http, pure.

Two heads on one connection differ in the length of the body, and mostly in nothing else, and those of bodies in chunks in nothing at all. What
a parser made of the first holds for the second.
"""

import re
from typing import Final, Generic, TypeVar

from meshproxy.http.numbered import Numbered

__all__ = ["ChunkedHead", "FamiliarHead", "chunked", "familiar"]

Meaning = TypeVar("Meaning")

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,10})\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"
_MOST_DIGITS: Final = 10
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_LARGEST: Final = 4096
"""Bytes of a head that is worth remembering."""


class FamiliarHead(Numbered, Generic[Meaning]):
    """A head that was parsed, whose number is the length of a body.

    Attributes:
        meaning: whatever the reader wants to know of the next message with such a head.
    """

    __slots__ = ("meaning",)

    def __init__(self, before: bytes, after: bytes, meaning: Meaning) -> None:
        super().__init__(before, after, _MOST_DIGITS)
        self.meaning = meaning


class ChunkedHead(Generic[Meaning]):
    """A head that was parsed, of a body in chunks.

    Attributes:
        head: the bytes of it, to the last.
        meaning: see `FamiliarHead`.
    """

    __slots__ = ("head", "meaning")

    def __init__(self, head: bytes, meaning: Meaning) -> None:
        self.head = head
        self.meaning = meaning


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


def chunked(data: bytes, meaning: Meaning) -> ChunkedHead[Meaning] | None:
    """As `familiar`, of a body in chunks; None if the head is not whole, or says something else of the body, too."""
    end = data.find(_END, 0, _LARGEST)
    if end < 0:
        return None
    head = data[: end + len(_END)]
    lower = head.lower()
    # An end that a parser saw before this one would be of lines that end with LF alone.
    if head.count(b"\n") != head.count(b"\r\n"):
        return None
    if _CHUNKED.search(head) is None or lower.count(b"transfer-encoding") != 1 or b"content-length" in lower:
        return None
    return ChunkedHead(head, meaning)
