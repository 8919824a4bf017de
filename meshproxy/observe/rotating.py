"""`RotatingFile`: a file of lines that only grows, until it is put aside for a new one. Place: observe, under `audit`; for one thread.

`audit.jsonl` becomes `audit.jsonl.1`, that one `.2`, and so on; what would have a greater number than is kept is removed. A file that somebody else has put aside
is opened anew. No line is ever torn: what could not be written whole is taken back.
"""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["RotatingFile"]


class RotatingFile:
    """The file at `path`, of `size` bytes at most unless one line is larger, and `keep` older ones."""

    def __init__(self, path: Path, size: int, keep: int) -> None:
        self.path = path
        self._size = size
        self._keep = keep
        self._descriptor = -1
        self._identity = (0, 0)

    def append(self, lines: list[bytes]) -> int:
        """Write the first of these lines, with their ends, as many as the file has room for, and say how many. Raises `OSError` if that cannot be; none of them is there then.

        Several lines may be one piece of the list; they are taken apart, in the list, where the file has no room for all.
        """
        descriptor, before = self._opened()
        data, count, done = b"".join(lines), len(lines), 0
        if before + len(data) > self._size:
            # Seldom: there is room for many more than are written at a time.
            lines[:] = [line for piece in lines for line in piece.splitlines(keepends=True)]
            if before and before + len(lines[0]) > self._size:
                self._rotate()
                descriptor, before = self._opened()
            count, room = 1, self._size - before - len(lines[0])
            while count < len(lines) and len(lines[count]) <= room:
                room -= len(lines[count])
                count += 1
            data = b"".join(lines[:count])
        try:
            while done < len(data):
                done += os.write(descriptor, data[done:])
        except OSError:
            # Another process may have added to it meanwhile, and its lines stay.
            if done and os.fstat(descriptor).st_size == before + done:
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
            raise
        return count

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _opened(self) -> tuple[int, int]:
        """The file at the path, open, and its size."""
        if self._descriptor >= 0:
            # One look says both whether it is still the one that is open, and how large others have made it.
            with suppress(FileNotFoundError):
                found = os.stat(self.path)  # noqa: PTH116
                if (found.st_dev, found.st_ino) == self._identity:
                    return self._descriptor, found.st_size
            self.close()
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found = os.fstat(self._descriptor)
        self._identity = (found.st_dev, found.st_ino)
        return self._descriptor, found.st_size

    def _rotate(self) -> None:
        self.close()
        if not self._keep:
            self.path.unlink(missing_ok=True)
            return
        for number in range(self._keep, 1, -1):
            with suppress(FileNotFoundError):
                self._numbered(number - 1).replace(self._numbered(number))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
