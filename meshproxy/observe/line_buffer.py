"""`LineBuffer`: lines that wait to be written, and what lines are made of. Place: observe, under `line_writer`; compiled in a wheel.

It is filled where calls end and emptied by the thread that writes, many at a time: both sides only do to the list what is one step of it, so that there is no lock.
"""

from collections.abc import Callable
from typing import Any

__all__ = ["LineBuffer"]


class LineBuffer:
    """Room for so many entries: lines, with their ends, or anything that the writer makes one of. `wake` is called when there is something after there was nothing.

    Attributes:
        lost: how many entries there was no room for, so far.
    """

    __slots__ = ("_entries", "_room", "_wake", "lost")

    def __init__(self, room: int, wake: Callable[[], None]) -> None:
        self._entries: list[Any] = []
        self._room = room
        self._wake = wake
        self.lost = 0

    def add(self, entry: Any) -> None:
        """Have this written, if there is room for it."""
        entries = self._entries
        if len(entries) >= self._room:
            self.lost += 1
            return
        entries.append(entry)
        # Looked at afterwards: whoever empties it meanwhile has this one, too.
        if len(entries) == 1:
            self._wake()

    def lines(self, most: int, made: Callable[[Any], bytes]) -> list[bytes]:
        """Take out the first so many at most. `made` is the line of an entry that is none yet."""
        entries = self._entries
        taken = entries[:most]
        del entries[: len(taken)]
        found: list[bytes] = []
        for entry in taken:
            if isinstance(entry, bytes):
                found.append(entry)
            else:
                found.append(made(entry))
        return found

    def __bool__(self) -> bool:
        return bool(self._entries)
