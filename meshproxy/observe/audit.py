"""`Audit`: who used what, when, and with which outcome, and what the mesh decided, as JSON lines in a file. Place: observe.

It is a listener of a `meshproxy.relay.recorder.Recorder` and of `meshproxy.observe.decisions`. On the way of a call its record is handed to a `LineWriter`, or the line of it
where that takes no more than a look-up, and that is all: a thread makes lines of what is there, without secrets, and writes them. What there is no room for
is left out and counted. No call waits or fails for it.

Names: those of OpenTelemetry's conventions for MCP where there is one, and plain words for the rest.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from meshproxy.observe.audit_lines import CALLS, AuditLines, members
from meshproxy.observe.line_writer import Keeping, LineWriter
from meshproxy.observe.listening import Listen, Listening
from meshproxy.observe.record import DENIED, Record
from meshproxy.wire.codec import JsonError, Raw, dumps, loads, mapping

__all__ = ["Audit"]

log = structlog.get_logger(__name__)

ARGUMENTS: Final = 64 * 1024
"""Bytes of the arguments of one call; more are left out."""
HELD: Final = 16 * 1024**2
"""Bytes of arguments that wait to be written."""


class _Called(NamedTuple):
    record: Record
    arguments: Any


class _Decided(NamedTuple):
    at: float
    event: str
    facts: Mapping[str, Any]


_Entry: TypeAlias = Record | _Called | _Decided
"""What a line is made of."""


class Audit:
    """The audit log of one mesh; `listen` is that of its recorder.

    Attributes:
        lines: makes them.
        scrub_arguments: takes out of a decoded value what is a secret or looks like one, for what callers pass.
    """

    def __init__(self, listen: Listen) -> None:
        self.lines = AuditLines()
        self.scrub_arguments: Callable[[Any], Any] = lambda _: None
        self._listening = Listening(listen, self.take)
        self._keeping: Keeping | None = None
        self._writer: LineWriter[_Entry] = LineWriter("audit", self._line, self.lines.decision)
        self._put = 0
        self._taken = 0

    # --- in the event loop

    def obey(self, keeping: Keeping | None, revision: str) -> None:
        """From now on, what ends is decided by this revision of the config, and kept like this, or not."""
        self.lines.obey(revision)
        self._keeping = keeping
        self._listening.obey(is_wanted=keeping is not None)
        self._writer.obey(keeping)

    def take(self, record: Record, _: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        keeping = self._keeping
        if keeping is None or (record.method not in CALLS and record.outcome != DENIED):
            return
        arguments = None if keeping.arguments == "none" else record.params.get("arguments")
        if arguments is None:
            line = self.lines.at_once(record)
            if line is None:
                self._writer.buffer.add(record)
            else:
                self._writer.buffer.add_line(line)
            return
        size = record.asked_bytes
        if size > ARGUMENTS or self._put - self._taken + size > HELD:
            arguments = ...
        else:
            self._put += size
        self._writer.buffer.add(_Called(record, arguments))

    def decide(self, event: str, facts: Mapping[str, Any]) -> None:
        """Something was decided (`meshproxy.observe.decisions.Decided`)."""
        if self._keeping is not None:
            self._writer.buffer.add(_Decided(time.time(), event, facts))

    def close(self) -> None:
        """Write what waits, in one more attempt, and end. It blocks while that takes, five seconds at most."""
        self._listening.obey(is_wanted=False)
        self._writer.close()

    # --- in the thread

    def _line(self, entry: _Entry, keeping: Keeping) -> bytes:
        try:
            if isinstance(entry, Record):
                return self.lines.call(entry)
            if isinstance(entry, _Called):
                return self.lines.call(entry.record, self._more(entry, keeping.arguments))
            return self.lines.decision(entry.at, entry.event, entry.facts)
        except Exception as error:
            # A defect; the file must not lose the others for it, nor pass over it.
            log.exception("audit.defect")
            return self.lines.decision(time.time(), "audit.defect", {"reason": type(error).__name__})

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
