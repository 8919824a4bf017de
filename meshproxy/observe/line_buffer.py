"""`LineBuffer`: lines that wait to be written, and what lines are made of. Place: observe, under `line_writer`; compiled in a wheel.

It is filled where calls end and emptied by the thread that writes. Lines that follow each other are put together where they were made, some at a time: they are in that core's cache,
and the places that they held are taken anew by the next ones, while the thread has one piece to write instead of many.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

__all__ = ["LineBuffer"]

_TOGETHER: Final = 64
"""Lines of one piece."""


class LineBuffer:
    """Room for so many entries: lines, with their ends, or anything that the writer makes one of. `wake` is called when there is something after there was nothing.

    Attributes:
        lost: how many entries there was no room for, so far.
    """

    __slots__ = ("_added", "_entries", "_lines", "_lock", "_room", "_taken", "_wake", "lost")

    def __init__(self, room: int, wake: Callable[[], None]) -> None:
        # Both are added to by one side alone; `_lock` is held by whoever takes something out of them.
        self._lines: list[bytes] = []
        self._entries: list[tuple[int, Any]] = []
        self._lock = Lock()
        self._room = room
        self._wake = wake
        self._added = 0
        self._taken = 0
        self.lost = 0

    def add_line(self, line: bytes) -> None:
        """Have this line written, if there is room for it."""
        if self._added - self._taken >= self._room:
            self.lost += 1
            return
        self._added += 1
        lines = self._lines
        lines.append(line)
        # Looked at afterwards: whoever empties it meanwhile has this one, too.
        count = len(lines)
        if count >= _TOGETHER:
            self._put_together()
        elif count == 1:
            self._wake()

    def add(self, entry: Any) -> None:
        """Have the line of this written, if there is room for it, after what was added before."""
        if self._added - self._taken >= self._room:
            self.lost += 1
            return
        self._added += 1
        if self._lines:
            self._put_together()
        entries = self._entries
        entries.append((1, entry))
        if len(entries) == 1:
            self._wake()

    def take(self, most: int, made: Callable[[Any], bytes]) -> list[bytes]:
        """Take out the first so many pieces at most, of one line or of several. `made` is the line of an entry that is none yet."""
        with self._lock:
            entries = self._entries[:most]
            del self._entries[: len(entries)]
            if len(entries) < most and self._lines:
                # No more than is seen here: meanwhile others may be added.
                lines = self._lines[:]
                del self._lines[: len(lines)]
                entries.append((len(lines), b"".join(lines)))
        found: list[bytes] = []
        for count, entry in entries:
            self._taken += count
            if isinstance(entry, bytes):
                found.append(entry)
            else:
                found.append(made(entry))
        return found

    def __bool__(self) -> bool:
        return bool(self._entries or self._lines)

    def _put_together(self) -> None:
        with self._lock:
            lines = self._lines
            if lines:
                self._entries.append((len(lines), b"".join(lines)))
                lines.clear()
