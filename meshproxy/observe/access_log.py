"""`AccessLog`: a line for each request of a client, whatever it asks, in a file of its own. Place: observe; compiled in a wheel.

It has what the audit log has of a call, and besides sizes and the trace; and no decision, no promise of order, and nothing of arguments. It is a listener of a
`meshproxy.relay.recorder.Recorder`; what a line costs there is a look-up, since what is the same for many requests is made once.
"""

from typing import Any

from meshproxy.observe.audit_lines import AuditLines
from meshproxy.observe.line_writer import Keeping, LineWriter
from meshproxy.observe.listening import Listen, Listening
from meshproxy.observe.record import Record

__all__ = ["AccessLog"]


class AccessLog:
    """That of one mesh; `listen` is that of its recorder.

    Attributes:
        lines: makes them.
    """

    __slots__ = ("_buffer", "_listening", "_writer", "lines")

    def __init__(self, listen: Listen) -> None:
        self.lines = AuditLines()
        self._listening = Listening(listen, self.take)
        self._writer: LineWriter[Any] = LineWriter("access_log", lambda entry, _: entry, self.lines.decision, breaths=4)
        self._buffer = self._writer.buffer

    def obey(self, keeping: Keeping | None, revision: str) -> None:
        """From now on, what ends is kept like this, or not."""
        self.lines.obey(revision)
        self._listening.obey(is_wanted=keeping is not None)
        self._writer.obey(keeping)

    def take(self, record: Record, _: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        more = ""
        if record.span is not None and (trace := record.span.trace_id):
            more = f',"trace_id":"{trace}"'
        self._buffer.add_line(self.lines.sized(record, more))

    def close(self) -> None:
        """Write what waits, and end. It blocks while that takes."""
        self._listening.obey(is_wanted=False)
        self._writer.close()
