"""Server-sent events to and from bytes. Place: http, pure. Nothing here knows about connections or JSON.

Reading follows the WHATWG algorithm (HTML standard, 9.2.6 "Interpreting an event stream"), in linear time however the stream is
cut into chunks. Two deliberate differences. An event whose data is empty is never delivered. MCP's priming event (SEP-1699) is
such an event, ``id`` and an empty ``data``; there is nothing in it to decode, and its id shows in ``SseParser.last_event_id``.
An id that no header could carry is ignored, as one with NUL in it is.
"""

import re
from typing import Final

__all__ = ["CR", "LF", "SseEvent", "SseOverflow", "SseParser", "encode_event"]

LF: Final = 10
CR: Final = 13
"""A byte is found by its number at once. Of `bytes` the interpreter finds out first that they are no number (3.11), by an error that it clears."""
_BOM: Final = b"\xef\xbb\xbf"
_USUAL: Final = b"event: message"
"""How nearly all events begin that are not their data alone."""
_LINE_END = re.compile(rb"\r\n|\r|\n")
_ID = re.compile(
    rb"[^\0-\x08\x0a-\x1f\x7f]{0,4096}"
)  # what comes back as the value of a header (RFC 9110, 5.5), and no page of text
_MAX_RETRY_DIGITS = 15  # more is no delay that anybody means, and int() of a long text is slow


class SseOverflow(ValueError):
    """An event is larger than the configured bound. The parser must not be fed again."""


class SseEvent:
    """One event with data, in the stream's order.

    Attributes:
        event: its type, "message" unless the stream says otherwise.
        data: the data lines joined with LF; never empty.
        id: the id that this event itself carries. Unlike a browser's, it is not inherited from an earlier event.
        retry: the reconnection delay that this event carries, in milliseconds.
    """

    __slots__ = ("data", "event", "id", "retry")

    def __init__(self, event: str, data: bytes, id: str | None, retry: int | None) -> None:  # noqa: A002 - the field's name
        self.event = event
        self.data = data
        self.id = id
        self.retry = retry


class SseParser:
    """Bytes in, events out, incrementally; one parser reads one stream.

    ``last_event_id`` is the id to resume from (``None`` before the first) and ``retry`` the reconnection delay last asked for, in
    milliseconds. Both are also set by events without data.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_data",
        "_event",
        "_event_retry",
        "_id",
        "_partial",
        "_size",
        "last_event_id",
        "max_event",
        "retry",
    )

    def __init__(self, max_event: int | None = None) -> None:
        """Bound an event (its data lines, and any unfinished line) to ``max_event`` bytes; ``None`` is no bound."""
        self.max_event = max_event
        self.last_event_id: str | None = None
        self.retry: int | None = None
        self._partial = bytearray()  # the beginning of a line whose end has not arrived
        self._after_cr = False  # the last byte was a CR: a LF that follows belongs to it
        self._at_start = True  # a byte order mark may still come
        self._data: list[bytes] = []
        self._size = 0
        self._event = "message"
        self._id: str | None = None
        self._event_retry: int | None = None

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes of the stream and return the events that they complete.

        Raises:
            SseOverflow: an event is larger than ``max_event``.
        """
        if self._at_start:
            chunk = self._without_bom(chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        # Only new bytes are searched, and what is left of them is copied once: that keeps any cutting linear.
        end = len(chunk) if chunk.endswith(b"\n") else max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        partial = self._partial
        if end == 0:
            partial += chunk
            self._check(self._size + len(partial))
            return []
        self._after_cr = chunk[end - 1] == 0x0D and end == len(chunk)
        text = chunk if end == len(chunk) else chunk[:end]
        if partial:
            partial += text
            text = bytes(partial)
            partial.clear()
        if end != len(chunk):
            partial += chunk[end:]
        events: list[SseEvent] = []
        for line in text.splitlines():  # of bytes: at CR, LF and CRLF only
            if not line:
                self._dispatch(events)
            elif line.startswith(b"data:"):
                self._size += len(line)
                self._check(self._size)
                self._data.append(line[6:] if len(line) > 5 and line[5] == 0x20 else line[5:])
            elif line == _USUAL:
                self._event = "message"
            else:
                self._field(line)
        if partial:
            self._check(self._size + len(partial))
        return events

    def _dispatch(self, events: list[SseEvent]) -> None:
        data = self._data
        if self._id is not None:
            self.last_event_id = self._id
        if data:
            joined = data[0] if len(data) == 1 else b"\n".join(data)
            if joined:
                events.append(SseEvent(self._event, joined, self._id, self._event_retry))
            self._data = []
            self._size = 0
        self._event = "message"
        self._id = self._event_retry = None

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            # An empty type means the default one.
            self._event = "message" if value in (b"message", b"") else value.decode("utf-8", "replace")
        elif name == b"id":
            if _ID.fullmatch(value):
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry":
            if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
                self.retry = self._event_retry = int(value)
        elif name == b"data":  # without a colon: an empty line of data
            self._size += len(line)
            self._check(self._size)
            self._data.append(b"")

    def _without_bom(self, chunk: bytes) -> bytes:
        """Drop a byte order mark at the start of the stream, which may arrive in pieces."""
        if not self._partial and chunk and chunk[0] != _BOM[0]:
            self._at_start = False
            return chunk
        head = bytes(self._partial) + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._partial[:] = head
            return b""
        self._at_start = False
        self._partial.clear()
        return head.removeprefix(_BOM)

    def _check(self, size: int) -> None:
        if self.max_event is not None and size > self.max_event:
            raise SseOverflow(f"a server-sent event is larger than the bound of {self.max_event} bytes")


def encode_event(data: bytes, event: str = "message", id: str | None = None, retry: int | None = None) -> bytes:  # noqa: A002 - the field's name
    """Write one event.

    Args:
        data: its data, of any length. Line ends in it become LF at the reader, because that is all that the format can carry.
        event: its type.
        id: its id, for resumption.
        retry: the reconnection delay in milliseconds.

    Raises:
        ValueError: the type or the id has a line end or NUL in it, which would forge other fields.
    """
    if id is None and retry is None and event == "message" and LF not in data and CR not in data:
        return b"event: message\ndata: " + data + b"\n\n"
    lines: list[bytes] = []
    for name, value in (("id", id), ("event", event)):
        if value is None:
            continue
        if "\n" in value or "\r" in value or "\0" in value:
            raise ValueError(f"the {name} of a server-sent event must be one line: {value!r}")
        lines.append(f"{name}: {value}".encode())
    if retry is not None:
        lines.append(b"retry: %d" % retry)
    lines += [b"data: " + line for line in _LINE_END.split(data)]
    return b"\n".join(lines) + b"\n\n"
