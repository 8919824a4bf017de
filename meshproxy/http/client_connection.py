"""One HTTP/1.1 connection of the client. Place: http, between `parsed` and the pool.

It carries one exchange at a time, without a task: the parser's callbacks run in ``data_received`` and move a response from its head
over its body to its end (RFC 9112, 6.3: by length, by chunks, or by the end of the connection). A plain answer with a familiar head needs
neither parser nor response: its body goes straight to the `Errand` that waits for it. An event stream with one needs no parser as long as its
chunks come whole. The rules that every method keeps:

- ``_response`` or ``_errand`` is the exchange under way; its end and `Connection.fail` clear it first, so nothing is told twice.
- Nothing raises through the parser, except to say that bytes came which nobody asked for.
- A connection is handed back only after all bytes that came with the end of its response have been looked at.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, cast

from meshproxy.http.chunks import whole_chunk
from meshproxy.http.heads import ChunkedHead, FamiliarHead, chunked, familiar
from meshproxy.http.parsed import Parsed
from meshproxy.http.response import Response
from meshproxy.http.transport_errors import BadResponse, ConnectionLost, TransportError, TransportTimeout

__all__ = ["Connection", "Errand"]

_INTERIM: Final = b"HTTP/1.1 1"
_LINGER = 1.0
"""Seconds that a released response has for its end, before its connection is closed instead of kept."""
_MOST_PLAIN: Final = 1024 * 1024
"""Bytes of a body that is collected without a response to bound it."""


class Errand(Protocol):
    """A request that waits for nothing but its answer, which may be plain: 200, with a length, and no event stream."""

    def take(self, headers: dict[bytes, bytes], data: bytes, start: int) -> None:
        """The answer, and it is plain. Its body is what `data` has from `start` on: a copy of it may be large."""
        ...

    def unroll(self, connection: "Connection") -> Response:
        """Anything else: make a response, for it to be read as any other."""
        ...


class _Plain(NamedTuple):
    """What the head of a plain answer means."""

    headers: dict[bytes, bytes]
    keep_alive: bytes | None


class Connection(Parsed):
    """The protocol (`asyncio.Protocol`) of one connection, and its place in the pool.

    Args:
        peer: who is at the other end, for messages: ``host:port``.
        on_idle: called when an exchange ended and the connection can carry another; with the ``Keep-Alive`` header, if one came.
        on_linger: called when `linger` begins; it sets `deadline`.
        on_lost: called once when the connection is gone.

    Attributes:
        deadline: when, in the loop's time, the pool is to call `expire`.
        idle_since, number: set by the pool.
    """

    __slots__ = (
        "_errand",
        "_familiar",
        "_missing",
        "_on_idle",
        "_on_linger",
        "_on_lost",
        "_pieces",
        "_stream",
        "_unparsed",
        "deadline",
        "idle_since",
        "number",
    )

    def __init__(
        self,
        peer: str,
        on_idle: "Callable[[Connection, bytes | None], None]",
        on_linger: "Callable[[Connection, float], None]",
        on_lost: "Callable[[Connection], None]",
    ) -> None:
        super().__init__(peer)
        self._on_idle = on_idle
        self._on_linger = on_linger
        self._on_lost = on_lost
        self._errand: Errand | None = None
        self._familiar: FamiliarHead[_Plain] | None = None
        self._stream: ChunkedHead[dict[bytes, bytes]] | None = None  # the same of event streams
        self._unparsed: ChunkedHead[dict[bytes, bytes]] | None = None  # that of the response, of which no parser knows
        self._pieces: list[bytes] = []  # of the body of a plain answer
        self._missing = 0  # bytes of it
        self.deadline = math.inf
        self.idle_since = 0.0
        self.number = 0

    # For the pool.

    def is_open(self) -> bool:
        """Whether the end of the connection has not been noticed yet."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, response: Response, head: bytes, body: bytes) -> None:
        """Begin an exchange on a connection that `is_open` and idle. ``body`` is written after ``head`` without being copied."""
        self._expect(response)
        transport = cast("asyncio.Transport", self._transport)
        if body:
            transport.writelines((head, body))
        else:
            transport.write(head)

    def run(self, errand: Errand, head: bytes, body: bytes) -> None:
        """As `send`, for what needs no response if its answer is plain."""
        self._errand = errand
        transport = cast("asyncio.Transport", self._transport)
        if body:
            transport.writelines((head, body))
        else:
            transport.write(head)

    def expire(self) -> None:
        """The deadline has passed: end what is under way, or the idle connection."""
        if self._response is None and self._errand is None:
            self.close()
        else:
            self.fail(TransportTimeout(f"{self._peer} did not answer in time"))

    def fail(self, error: TransportError) -> None:
        """Close the connection at once; the exchange under way, if any, ends with the error."""
        self._unroll()
        response, self._response = self._response, None
        self.abort()
        if response is not None:
            response.end(error)

    def drop(self) -> None:
        """Close the connection at once; the errand under way hears nothing of it."""
        self._errand = None
        self._pieces = []
        self.abort()

    # For the response.

    def linger(self) -> None:
        self.resume()
        self._on_linger(self, _LINGER)

    # For the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._errand is not None:
            if self._is_plain(data):
                return
            self._unroll()
            known = self._stream
            if known is not None and data.startswith(known.head):
                self._begin(known)
                self._take_chunks(known, data, len(known.head))
                return
        if self._response is None:
            # Nothing was asked: a 408 or some other goodbye, or bytes that would be taken for the next answer.
            self.abort()
            return
        if self._unparsed is not None:
            self._take_chunks(self._unparsed, data, 0)
            return
        if not self._head_done and (not self._head_size or self._is_interim):
            self._first = data
            if data[0] == 13 or data[0] == 10 or (data.startswith(_INTERIM) and _has_strays(data)):
                # The parser would look for a status line behind it, and whoever shares the connection with us might not.
                self.fail(BadResponse(f"{self._peer} does not speak HTTP/1.1: no status line"))
                return
        self._parse(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser = None  # it refers to this object's methods
        self._on_lost(self)
        self._unroll()
        response, self._response = self._response, None
        if response is None:
            return
        headers = self._headers
        framed = b"content-length" in headers or b"transfer-encoding" in headers
        if exc is None and self._head_done and not framed:
            response.end(None)
        else:
            stage = "in the middle of the answer" if self._head_done or self._head_size else "before it answered"
            reason = f": {exc}" if exc else ""
            response.end(ConnectionLost(f"{self._peer} closed the connection {stage}{reason}"))

    def eof_received(self) -> None:
        """The transport closes: what has not come by now never will."""

    def pause_writing(self) -> None:
        """What was asked is sent as the server takes it; nothing more is to be said before its answer."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def _finish(self, *, kept: bool) -> None:
        response, self._response = self._response, None
        first, self._first = self._first, b""
        headers = self._headers
        self.resume()
        if kept and first and self._status == 200 and response is not None:
            if response.is_plain:
                self._familiar = familiar(first, _Plain(headers, headers.get(b"keep-alive")))
            elif response.is_event_stream:
                self._stream = chunked(first, headers)
        self._leave(headers.get(b"keep-alive"), kept=kept)
        if response is not None:
            response.end(None)

    def _leave(self, keep_alive: bytes | None, *, kept: bool) -> None:
        """An exchange is over: whoever has the next one may have the connection."""
        transport = cast("asyncio.Transport", self._transport)
        if transport.get_write_buffer_size():
            transport.abort()  # answered before the whole request was taken: the rest of it may never be
        elif kept and not transport.is_closing():
            self._on_idle(self, keep_alive)
        else:
            transport.close()

    # Event streams.

    def _begin(self, known: "ChunkedHead[dict[bytes, bytes]]") -> None:
        """A response is to be read whose head is known."""
        self._unparsed = known
        self._headers = known.meaning
        self._status = 200
        self._head_done = True
        if self._response is not None:
            self._response.begin(200, known.meaning)

    def _take_chunks(self, known: "ChunkedHead[dict[bytes, bytes]]", data: bytes, start: int) -> None:
        """Give the response the chunks that `data` has from `start` on, which is where one begins. From the first that is not whole on, the parser reads."""
        while start < len(data):
            response = self._response
            if response is None:  # it has failed, by what it was given
                return
            found = whole_chunk(data, start)
            if found is None:
                self._unparsed = None
                self._parse(known.head)
                self._parse(data[start:])
                return
            begin, end = found
            start = end + 2
            if begin == end:
                self._complete = True
                self._finish(kept=start == len(data))
                return
            response.arrive(data[begin:end])

    # Plain answers.

    def _expect(self, response: Response) -> None:
        """A response is to be read."""
        self._response = response
        self._headers = {}
        self._head_size = 0
        self._head_done = self._complete = False
        self._unparsed = None

    def _is_plain(self, data: bytes) -> bool:
        """Whether `data` is of a plain answer; if so, it is taken."""
        known = self._familiar
        if known is None:
            return False
        start = 0
        if self._pieces:
            self._pieces.append(data)
            missing = self._missing - len(data)
            if missing <= 0:
                data = b"".join(self._pieces)
                self._pieces = []
        else:
            found = known.measure(data)
            if found is None:
                return False
            start, length = found
            if length > _MOST_PLAIN:
                return False
            missing = length - len(data) + start
            if missing > 0:
                self._pieces.append(data[start:])
        self._missing = missing
        if missing > 0:
            return True
        errand, self._errand = cast("Errand", self._errand), None
        if missing < 0:  # more than the answer came
            data = data[:missing]
        headers, keep_alive = known.meaning
        self._leave(keep_alive, kept=missing == 0)
        errand.take(headers, data, start)
        return True

    def _unroll(self) -> None:
        """An answer is not plain, or will not come: let it be a response, which has what came of it."""
        errand, self._errand = self._errand, None
        if errand is None:
            return
        response = errand.unroll(self)
        self._expect(response)
        pieces, self._pieces = self._pieces, []
        if pieces and self._familiar is not None:
            self._headers, self._head_done = self._familiar.meaning.headers, True
            response.begin(200, self._headers)
            response.arrive(b"".join(pieces))


def _has_strays(data: bytes) -> bool:
    """Whether something else than a status line follows an interim answer (RFC 9110, 15.2): blank lines, which the parser would not mind."""
    start = 0
    while data.startswith(_INTERIM, start):
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            return False
        start = end + 4
        if start < len(data) and (data[start] == 13 or data[start] == 10):
            return True
    return False
