"""`Audit`: who used what, when, and with which outcome, and what the mesh decided, as JSON lines in a file. Place: observe.

It is a listener of a `meshproxy.relay.recorder.Recorder` and of `meshproxy.observe.decisions`. On the way of a call its record is put into a buffer, or the line of it
where that takes no more than a look-up, and that is all: a thread makes lines of what is there, without secrets, and writes them. The buffer is bounded: what there is no room for, as the disk is slower than the calls, full or gone,
is left out and counted, and the file says how much that was as soon as it can be written. No call waits or fails for it.

Names: those of OpenTelemetry's conventions for MCP where there is one, and plain words for the rest.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from meshproxy.observe.audit_lines import CALLS, AuditLines, members
from meshproxy.observe.record import DENIED, Listener, Record
from meshproxy.observe.rotating import RotatingFile
from meshproxy.wire.codec import JsonError, Raw, dumps, loads, mapping

__all__ = ["Audit", "Keeping"]

log = structlog.get_logger(__name__)

ROOM: Final = 20_000
"""Lines that wait to be written, at most."""
ARGUMENTS: Final = 64 * 1024
"""Bytes of the arguments of one call; more are left out."""
HELD: Final = 16 * 1024**2
"""Bytes of arguments that wait to be written."""
BREATH: Final = 0.05
"""Seconds in which lines are gathered: one write for many."""
AGAIN: Final = 1.0
"""Seconds before what could not be written is tried again."""
BATCH: Final = 2000
TURN: Final = 25
"""Lines that are made in one go."""

Listen: TypeAlias = "Callable[[Listener], Callable[[], None]]"


class Keeping(NamedTuple):
    """What the config says of it: the file, what is kept of arguments (`none`, `keys`, `all`), bytes of one file, and how many older ones stay."""

    path: Path
    arguments: str = "none"
    size: int = 64 * 1024**2
    keep: int = 5


class _Called(NamedTuple):
    record: Record
    arguments: Any


class _Decided(NamedTuple):
    at: float
    event: str
    facts: Mapping[str, Any]


_Entry: TypeAlias = bytes | Record | _Called | _Decided
"""A line, or what one is made of."""


class Audit:
    """The audit log of one mesh; `listen` is that of its recorder.

    Attributes:
        lines: makes them.
        scrub_arguments: takes out of a decoded value what is a secret or looks like one, for what callers pass.
    """

    def __init__(self, listen: Listen) -> None:
        self.lines = AuditLines()
        self.scrub_arguments: Callable[[Any], Any] = lambda _: None
        self._listen = listen
        self._forget: Callable[[], None] | None = None
        self._keeping: Keeping | None = None
        self._buffer: deque[_Entry] = deque()
        self._put = 0
        self._taken = 0
        self._lost = 0
        self._told = 0
        self._wake = threading.Event()
        self._is_over = False
        self._thread: threading.Thread | None = None
        self._complaint = ""

    # --- in the event loop

    def obey(self, keeping: Keeping | None, revision: str) -> None:
        """From now on, what ends is decided by this revision of the config, and kept like this, or not."""
        self.lines.obey(revision)
        before, self._keeping = self._keeping, keeping
        if keeping is not None and self._forget is None:
            self._forget = self._listen(self.take)
        elif keeping is None and self._forget is not None:
            self._forget()
            self._forget = None
        if keeping is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()
        if keeping != before:
            self._wake.set()

    def take(self, record: Record, _: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        keeping = self._keeping
        if keeping is None or (record.method not in CALLS and record.outcome != DENIED):
            return
        arguments = None if keeping.arguments == "none" else record.params.get("arguments")
        if arguments is None:
            line = self.lines.at_once(record)
            self._add(record if line is None else line)
            return
        size = record.asked_bytes
        if size > ARGUMENTS or self._put - self._taken + size > HELD:
            arguments = ...
        else:
            self._put += size
        self._add(_Called(record, arguments))

    def decide(self, event: str, facts: Mapping[str, Any]) -> None:
        """Something was decided (`meshproxy.observe.decisions.Decided`)."""
        if self._keeping is not None:
            self._add(_Decided(time.time(), event, facts))

    def close(self) -> None:
        """Write what waits, in one more attempt, and end. It blocks while that takes, five seconds at most."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        self._is_over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)

    def _add(self, entry: _Entry) -> None:
        buffer = self._buffer
        if len(buffer) >= ROOM:
            self._lost += 1
            return
        buffer.append(entry)
        if len(buffer) == 1:
            self._wake.set()

    # --- in the thread

    def _run(self) -> None:
        file: RotatingFile | None = None
        keeping: Keeping | None = None
        pending: list[bytes] = []
        is_busy = False
        while True:
            # Who has just written does not wait to be woken: each time that a thread comes or goes costs the calls a few microseconds.
            if not is_busy:
                self._wake.wait(AGAIN if pending else None)
            if not self._is_over:
                time.sleep(BREATH)
            self._wake.clear()
            is_last, is_busy = self._is_over, False
            if self._keeping != keeping:
                keeping = self._keeping or keeping
                if file is not None:
                    file.close()
                file = None if keeping is None else RotatingFile(keeping.path, keeping.size, keeping.keep)
            while file is not None and keeping is not None and (pending or self._buffer or self._lost > self._told):
                pending = pending or self._lines(keeping.arguments)
                is_busy = self._written(file, pending)
                if not is_busy:
                    break
            if is_last:
                if file is not None:
                    file.close()
                return

    def _lines(self, arguments: str) -> list[bytes]:
        """The next lines, a batch at most."""
        lines: list[bytes] = []
        lost = self._lost
        if lost > self._told:
            facts = {
                "count": lost - self._told,
                "reason": "there was no room for them: the file is slower than the calls, or cannot be written",
            }
            self._told = lost
            lines.append(self._line(_Decided(time.time(), "audit.lost", facts), arguments))
        buffer, made = self._buffer, 0
        while buffer and len(lines) < BATCH:
            entry = buffer.popleft()
            if isinstance(entry, bytes):
                lines.append(entry)
                continue
            lines.append(self._line(entry, arguments))
            made += 1
            if made % TURN == 0:
                # Calls have the interpreter meanwhile: no batch keeps them waiting.
                time.sleep(0)
        return lines

    def _line(self, entry: Record | _Called | _Decided, arguments: str) -> bytes:
        try:
            if isinstance(entry, Record):
                return self.lines.call(entry)
            if isinstance(entry, _Called):
                return self.lines.call(entry.record, self._more(entry, arguments))
            return self.lines.decision(entry.at, entry.event, entry.facts)
        except Exception as error:
            # A defect; the file must not lose the others for it, nor pass over it.
            log.exception("audit.defect")
            return self.lines.decision(time.time(), "audit.defect", {"reason": type(error).__name__})

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
                    "audit.unwritable",
                    reason=reason,
                    consequence=f"calls go on; {ROOM} lines wait, and what comes when they are there is left out and counted",
                )
            return False
        if self._complaint:
            self._complaint = ""
            log.info("audit.writable", file=str(file.path), lost=self._lost)
        return True

    def _more(self, entry: _Called, arguments: str) -> str:
        """What is kept of arguments."""
        if entry.arguments is ...:
            return ',"arguments_left_out":true'
        self._taken += entry.record.asked_bytes
        kept = self._arguments(entry.arguments, keys_alone=arguments == "keys")
        return f",{members({'gen_ai.tool.call.arguments': kept})}"

    def _arguments(self, given: Any, *, keys_alone: bool) -> Any:
        try:
            value = loads(given if isinstance(given, Raw) else dumps(given))
        except JsonError:
            return None
        if keys_alone:
            value = list(mapping(value) or ())
        return self.scrub_arguments(value)
