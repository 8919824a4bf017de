"""`Lines`: bytes cut into lines, in linear time however they come, and the lines that are too large left out. Place: links, pure."""

from collections.abc import Callable
from typing import Final

from meshproxy.links.large import KEPT

__all__ = ["LineTooLong", "Lines"]

EARLY: Final = 64 << 10
"""Bytes of a line from which on it is asked how large it may be."""

Judge = Callable[[bytes], int]
"""Says how large a line may be that begins so."""
Left = Callable[[bytes, bytes], None]
"""Told of a line that was left out: how it begins, and how it ends."""


class LineTooLong(ValueError):
    """A line is longer than the bound. The splitter must not be fed again."""


class Lines:
    """Cuts bytes into lines.

    No line may be longer than `bound`. With `judge` a line that has become large may be allowed less: then the rest of it is not kept, and `left` is told.
    """

    def __init__(self, bound: int, judge: Judge | None = None, left: Left | None = None) -> None:
        self._bound = bound
        self._judge = judge
        self._left = left
        self._parts: list[bytes] = []
        self._size = 0
        self._allowed: int | None = None
        self._head = b""
        self._tail: bytes | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends.

        Raises:
            LineTooLong: what has no end yet is longer than the bound.
        """
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._size:
            self._end(lines)
        if rest:
            self._size += len(rest)
            if self._size > self._bound:
                self.clear()
                raise LineTooLong(f"a line is longer than {self._bound} bytes")
            if self._tail is None:
                self._parts.append(rest)
                if self._judge is not None and self._size > EARLY:
                    self._look(self._judge)
            else:
                self._tail = (self._tail + rest)[-KEPT:]
        return lines

    def _end(self, lines: list[bytes]) -> None:
        """The first of the lines is the end of the one that has come in part."""
        if self._tail is None:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
        else:
            tail = (self._tail + lines.pop(0))[-KEPT:]
            if self._left is not None:
                self._left(self._head, tail)
        self.clear()

    def clear(self) -> None:
        """Forget the line that has come in part. It may be large, and whoever fed it may be remembered for longer."""
        self._parts.clear()
        self._size = 0
        self._allowed = self._tail = None

    def _look(self, judge: Judge) -> None:
        """See how large the line may be that is coming, and keep no more of it if it is larger."""
        if self._allowed is None:
            self._head = b"".join(self._parts)[:KEPT]
            self._allowed = judge(self._head)
        if self._size > self._allowed:
            self._tail = b"".join(self._parts[-2:])[-KEPT:]
            self._parts.clear()
