"""The answer to one HTTP request, and how its body is taken. Place: http, below `connection`, which feeds it.

A response never reads by itself: its connection tells it `begin`, `arrive` and `end` from within ``data_received``, and it answers
with `Carrier`. Whoever waits is told once, in that same step. `Response` refers to him only until then, since a cycle per request would be
work for the garbage collector.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from mypy_extensions import mypyc_attr

from meshproxy.http.inflate import Inflater
from meshproxy.http.transport_errors import BadResponse, BodyTooLarge, ConnectionLost, TransportError

__all__ = ["Carrier", "OnHead", "Response", "Told", "too_large"]

_HIGH_WATER = 256 * 1024
"""Bytes of a streamed body that wait for their reader before the socket is left alone."""
_MAX_UNREAD = 16 * 1024 * 1024
"""Bytes of it that may wait at all; only decompression gets from the one to the other."""
_LINGER_BYTES = 64 * 1024
"""Bytes that a released response may still bring before its connection is given up."""


class Carrier(Protocol):
    """The connection, as its response sees it."""

    deadline: float

    def fail(self, error: TransportError) -> None:
        """Close the connection at once, and end the response with the error."""
        ...

    def linger(self) -> None:
        """Wait a moment for the end that nobody waits for any more."""
        ...

    def pause(self) -> None:
        """Stop reading from the socket."""
        ...

    def resume(self) -> None:
        """Undo `pause`."""
        ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Response:
    """An answer: status and headers are there, and the body is whole or arriving.

    One that is not an event stream is whole when the client hands it out, unless ``stream=True`` was asked for: `body` has it.
    Of the others, the body is pushed (`on_data`, without waking a task), or read (`meshproxy.http.reading`). Until its end, or `close` or `release`, it
    occupies its connection.

    Attributes:
        is_event_stream: whether the content type says that the body is server-sent events.
        status: 200 to 999.
        headers: by lower-case name; the values of a repeated field are joined with ", " (RFC 9110, 5.3).
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_ended",
        "_error",
        "_inflater",
        "_max_body",
        "_on_data",
        "_on_end",
        "_on_head",
        "_released",
        "_size",
        "_stream",
        "_streamed",
        "_told",
        "_waiter",
        "headers",
        "is_event_stream",
        "status",
    )

    def __init__(
        self,
        connection: Carrier,
        told: "Told",
        on_head: "OnHead | None",
        stream: bool,  # noqa: FBT001 - called positionally from one place, for each request
        max_body: int | None,
    ) -> None:
        self.status = 0
        self.is_event_stream = False
        self.headers: dict[bytes, bytes] = {}
        self._connection = connection
        self._told: Told | None = told
        self._on_head = on_head
        self._stream = stream
        self._max_body = max_body
        self._chunks: list[bytes] = []
        self._size = 0
        self._error: TransportError | None = None
        self._ended = self._streamed = self._released = False
        self._inflater: Inflater | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._on_end: Callable[[TransportError | None], None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = "whole" if self._ended and self._error is None else "broken" if self._error else "arriving"
        return f"<Response {self.status} {state}>"

    def header(self, name: str) -> str | None:
        """The value of a header, or None. ``name`` is in lower case."""
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def is_plain(self) -> bool:
        """Whether the body is what was sent, and no event stream."""
        return b"content-encoding" not in self.headers and not self.is_event_stream

    @property
    def body(self) -> bytes:
        """What of the body has arrived and was not taken yet: for a response that is whole, all of it."""
        chunks = self._chunks
        if len(chunks) == 1:
            return chunks[0]
        joined = b"".join(chunks)
        self._chunks = [joined]
        return joined

    def on_data(self, on_data: Callable[[bytes], None], on_end: Callable[[TransportError | None], None]) -> None:
        """Have the body pushed: ``on_data`` for each piece of it, in ``data_received``, then ``on_end`` once.

        What has arrived already is pushed at once. ``on_end`` gets None after a whole body. An exception of ``on_data`` closes
        the connection, and ``on_end`` gets it as the ``__cause__`` of a `BadResponse`. After `close` or `release` neither is called.

        Called by an ``on_head``, it also puts off the end of ``HttpClient.request`` until the body's, or `release`.
        """
        chunks, self._chunks = self._chunks, []
        self._size = 0
        self._on_data, self._on_end = on_data, on_end
        for chunk in chunks:
            self._push(chunk)
        if self._ended and self._on_end is not None:
            self._on_data = self._on_end = None
            on_end(self._error)
        elif not self._ended:
            self.resume()

    def pause(self) -> None:
        """Stop reading from the server until `resume`; pieces that were read already still come."""
        if not self._ended:
            self._connection.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        if not self._ended:
            self._connection.resume()

    def bound(self, most: int) -> None:
        """For an ``on_head``: the body, which is read whole, may have so many bytes. One that says that it has more is not read."""
        self._max_body = most
        length = self.headers.get(b"content-length", b"")
        if self._inflater is None and length.isdigit() and int(length) > most:
            self._connection.fail(too_large(most))

    def release(self) -> None:
        """Say that the rest does not matter: what waits for this response gets it now, and the connection is kept if the end is near.

        That is for an event stream whose answer has come: its last chunk is a few bytes away, and a new connection costs more.
        """
        if self._ended or self._released:
            return
        self._released = True
        self._on_data = self._on_end = None
        self._size = 0
        self._connection.linger()
        self._settle()

    def close(self) -> None:
        """Drop the response: its connection is closed, unless the body was complete already. May be repeated."""
        if self._ended:
            return
        self._on_data = self._on_end = None
        self._connection.fail(ConnectionLost("the response was closed before its end"))

    # What the connection tells, in this order: begin, then arrive any number of times, then end.

    def begin(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status
        self.headers = headers
        self.is_event_stream = headers.get(b"content-type", b"")[:17].lower() == b"text/event-stream"
        if b"content-encoding" in headers:
            coding = headers[b"content-encoding"].strip().lower()
            if coding not in (b"identity", b""):
                try:
                    self._inflater = Inflater(coding)
                except BadResponse as error:
                    self._connection.fail(error)
                    return
        on_head, self._on_head = self._on_head, None
        if on_head is not None:
            try:
                on_head(self)
            except Exception as error:  # noqa: BLE001 - whatever the consumer raises ends the exchange and reaches the requester
                self._connection.fail(_refused(error))
                return
        if self._told is None:  # closed or released by on_head
            return
        if self._on_data is None and (self._stream or self.is_event_stream):
            self._streamed = True
            self._connection.deadline = math.inf
            self._settle()

    def arrive(self, data: bytes) -> None:
        if self._released:
            self._size += len(data)
            if self._size > _LINGER_BYTES:
                self.close()
        elif self._inflater is None:
            self._take(data)
        else:
            try:
                for piece in self._inflater.feed(data):
                    self._take(piece)
                    if self._ended or self._released:
                        return
            except BadResponse as error:
                self._connection.fail(error)

    def end(self, error: TransportError | None) -> None:
        if error is None and self._inflater is not None and not self._inflater.finished():
            error = BadResponse("the compressed body ends in the middle")
        self._ended = True
        self._error = error
        self._settle(error)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        on_end = self._on_end
        if on_end is not None:
            self._on_data = self._on_end = None
            on_end(error)

    def _take(self, data: bytes) -> None:
        if self._on_data is not None:
            self._push(data)
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._streamed:
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
            if self._size > _HIGH_WATER:
                self.pause()
                if self._size > _MAX_UNREAD:
                    self._connection.fail(too_large(_MAX_UNREAD))
        elif self._max_body is not None and self._size > self._max_body:
            self._connection.fail(too_large(self._max_body))

    def _push(self, data: bytes) -> None:
        if self._on_data is None:  # closed or released by an earlier piece
            return
        try:
            self._on_data(data)
        except Exception as error:  # noqa: BLE001 - as in begin
            if self._ended:
                self._on_data, self._error = None, _refused(error)
            else:
                self._connection.fail(_refused(error))

    def _settle(self, error: TransportError | None = None) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(self, error)


Told = Callable[[Response, TransportError | None], None]
"""Told once that there is nothing more to wait for, as `HttpClient.request` would return; or, with an error, raise."""
OnHead = Callable[[Response], None]
"""Told of a response when its head has arrived, in ``data_received``; it may call `Response.on_data`."""


def too_large(bound: int) -> BodyTooLarge:
    """What a body beyond a bound, in bytes, ends with."""
    return BodyTooLarge(f"the body is larger than the bound of {bound} bytes")


def _refused(error: Exception) -> BadResponse:
    wrapped = BadResponse(f"the body was refused: {error}")
    wrapped.__cause__ = error
    return wrapped
