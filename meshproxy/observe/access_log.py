"""`AccessLog`: a line for each request of a client, whatever it asks, in a file of its own. Place: observe.

It has what the audit log has of a call, and besides sizes and the trace; and no decision, no promise of order, and nothing of arguments. It is a listener of a
`meshproxy.relay.recorder.Recorder`; what a line costs there is a look-up, since what is the same for many requests is made once.
"""

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from meshproxy.observe.audit_lines import AuditLines
from meshproxy.observe.line_writer import Keeping, LineWriter
from meshproxy.observe.record import Listener, Record

__all__ = ["AccessLog"]

Listen: TypeAlias = "Callable[[Listener], Callable[[], None]]"


class AccessLog:
    """That of one mesh; `listen` is that of its recorder.

    Attributes:
        lines: makes them.
    """

    def __init__(self, listen: Listen) -> None:
        self.lines = AuditLines()
        self._listen = listen
        self._forget: Callable[[], None] | None = None
        self._writer: LineWriter[Any] = LineWriter("access_log", lambda entry, _: entry, self._missing)

    def obey(self, keeping: Keeping | None, revision: str) -> None:
        """From now on, what ends is kept like this, or not."""
        self.lines.obey(revision)
        if keeping is not None and self._forget is None:
            self._forget = self._listen(self.take)
        elif keeping is None and self._forget is not None:
            self._forget()
            self._forget = None
        self._writer.obey(keeping)

    def take(self, record: Record, _: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        more = f',"arguments.bytes":{record.asked_bytes},"result.bytes":{record.answered_bytes}'
        if record.span is not None and (trace := record.span.trace_id):
            more += f',"trace_id":"{trace}"'
        self._writer.add(self.lines.call(record, more))

    def close(self) -> None:
        """Write what waits, and end. It blocks while that takes."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        self._writer.close()

    def _missing(self, count: int) -> bytes:
        reason = "there was no room for them: the file is slower than the calls, or cannot be written"
        return self.lines.decision(time.time(), "access_log.lost", {"count": count, "reason": reason})
