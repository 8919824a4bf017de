"""`LineWriter`: lines of a file that a thread writes, so that nobody waits for the disk. Place: observe, under `audit` and `access_log`.

On the way of a call an entry is put into a `LineBuffer`: a line, or what one is made of. A thread makes lines of what is there, and writes them. The buffer is bounded: what there is
no room for, as the disk is slower than the calls, full or gone, is left out and counted, and the file says how much that was as soon as it can be written.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import structlog

from meshproxy.observe.line_buffer import LineBuffer
from meshproxy.observe.rotating import RotatingFile

__all__ = ["Keeping", "LineWriter"]

log = structlog.get_logger(__name__)

ROOM: Final = 20_000
"""Lines that wait to be written, at most."""
BREATH: Final = 0.05
"""Seconds in which lines are gathered: one write for many, since each time that a thread comes or goes costs the calls some microseconds."""
AGAIN: Final = 1.0
"""Seconds before what could not be written is tried again."""
BATCH: Final = 2000
"""Lines, or pieces of several, that are taken up in one go."""
_FULL: Final = "there was no room for them: the file is slower than the calls, or cannot be written"
TURN: Final = 25
"""Lines that are made in one go."""

T = TypeVar("T")


class Keeping(NamedTuple):
    """What the config says of a file of lines: where it is, what is kept of arguments (`none`, `keys`, `all`), bytes of one file, and how many older ones stay."""

    path: Path
    arguments: str = "none"
    size: int = 64 * 1024**2
    keep: int = 5


class LineWriter(Generic[T]):
    """The writer of one file.

    Args:
        name: what the log calls it: `audit` for `audit.unwritable`.
        made: the line of an entry, by what the config says, in the thread.
        decision: the line that says of a moment, in seconds since 1970, what happened then: that lines are left out, as `audit.lost`, and how many.
        breaths: for so many times `BREATH` lines are gathered. Those are lost if the process is killed.

    Attributes:
        buffer: what is to be written goes there.
    """

    def __init__(
        self,
        name: str,
        made: Callable[[T, Keeping], bytes],
        decision: Callable[[float, str, Mapping[str, Any]], bytes],
        breaths: int = 1,
    ) -> None:
        self._name, self._unwritable, self._writable = name, f"{name}.unwritable", f"{name}.writable"
        self._made = made
        self._decision = decision
        self._breath = BREATH * breaths
        self._keeping: Keeping | None = None
        self._wake = threading.Event()
        self.buffer = LineBuffer(ROOM, self._wake.set)
        self._told = 0
        self._turn = 0
        self._is_over = False
        self._worker: threading.Thread | None = None
        self._complaint = ""

    # --- in the event loop

    def obey(self, keeping: Keeping | None) -> None:
        """From now on, write into this file; None leaves what waits to the one before."""
        before, self._keeping = self._keeping, keeping
        if keeping is not None and self._worker is None:
            self._worker = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._worker.start()
        if keeping != before:
            self._wake.set()

    def close(self) -> None:
        """Write what waits, in one more attempt, and end. It blocks while that takes, five seconds at most."""
        self._is_over = True
        self._wake.set()
        if self._worker is not None:
            self._worker.join(5)

    # --- in the thread

    def _run(self) -> None:
        file: RotatingFile | None = None
        keeping: Keeping | None = None
        pending: list[bytes] = []
        is_busy = False
        while True:
            # Who has just written does not wait to be woken.
            if not is_busy:
                self._wake.wait(AGAIN if pending else None)
            if not self._is_over:
                time.sleep(self._breath)
            self._wake.clear()
            is_last, is_busy = self._is_over, False
            if self._keeping != keeping:
                keeping = self._keeping or keeping
                if file is not None:
                    file.close()
                file = None if keeping is None else RotatingFile(keeping.path, keeping.size, keeping.keep)
            while (
                file is not None and keeping is not None and (pending or self.buffer or self.buffer.lost > self._told)
            ):
                pending = pending or self._lines(keeping)
                is_busy = self._written(file, pending)
                # What came meanwhile is left to the next turn, so that it is more.
                if not is_busy or not is_last:
                    break
            if is_last:
                if file is not None:
                    file.close()
                return

    def _lines(self, keeping: Keeping) -> list[bytes]:
        """The next lines, a batch at most, some of them several in one piece."""
        lines: list[bytes] = []
        lost = self.buffer.lost
        if lost > self._told:
            count, self._told = lost - self._told, lost
            facts = {"count": count, "reason": _FULL}
            lines.append(self._decision(time.time(), f"{self._name}.lost", facts))

        def made(entry: T) -> bytes:
            self._turn += 1
            if self._turn % TURN == 0:
                # Calls have the interpreter meanwhile: no batch keeps them waiting.
                time.sleep(0)
            return self._made(entry, keeping)

        return lines + self.buffer.take(BATCH, made)

    def _written(self, file: RotatingFile, lines: list[bytes]) -> bool:
        """Write these, and take those out that are written. Whether all are."""
        try:
            while lines:
                del lines[: file.append(lines)]
        except OSError as error:
            file.close()
            reason = f"{file.path}: {error.strerror or error}"
            if reason != self._complaint:
                self._complaint = reason
                log.error(
                    self._unwritable,
                    reason=reason,
                    consequence=f"calls go on; {ROOM} lines wait, and what comes when they are there is left out and counted",
                )
            return False
        if self._complaint:
            self._complaint = ""
            log.info(self._writable, file=str(file.path), lost=self.buffer.lost)
        return True
