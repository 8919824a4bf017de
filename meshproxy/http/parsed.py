"""`Parsed`: a connection of the client as far as a parser reads it: what its callbacks make of an answer. Place: http, under `client_connection`."""

import asyncio
import select
from typing import Any

import httptools

from meshproxy.http.response import Response
from meshproxy.http.transport_errors import BadResponse, TransportError

__all__ = ["Held", "Parsed"]

_MAX_HEAD = 256 * 1024
"""Bytes of a response's head that are read before it is given up."""


class Held:
    """The transport of a connection, as far as it matters what it is."""

    __slots__ = ("_paused", "_transport")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def has_news(self) -> bool:
        """Ask the system whether anything, such as the end, has come that the loop has not read yet. Costs a few microseconds."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        fd = -1 if sock is None else sock.fileno()
        if fd < 0:
            return True
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([fd], [], [], 0)[0])  # Windows

    def close(self) -> None:
        """Close an idle connection in the polite way."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once, whatever its state."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()


class Parsed(Held):
    """A connection whose answers a parser takes apart. ``_first`` is what the first read of one brought."""

    __slots__ = (
        "_complete",
        "_first",
        "_head_done",
        "_head_size",
        "_headers",
        "_informational",
        "_is_interim",
        "_keep_alive",
        "_parser",
        "_peer",
        "_repeated",
        "_response",
        "_status",
    )

    def __init__(self, peer: str) -> None:
        super().__init__()
        self._peer = peer
        self._parser: Any = httptools.HttpResponseParser(self)
        self._response: Response | None = None
        self._first = b""
        self._headers: dict[bytes, bytes] = {}
        self._repeated: dict[bytes, list[bytes]] = {}
        self._head_size = self._status = 0
        self._head_done = self._complete = self._informational = self._keep_alive = self._is_interim = False

    def fail(self, error: TransportError) -> None:
        """Close the connection at once; the exchange under way, if any, ends with the error."""
        raise NotImplementedError

    def _finish(self, *, kept: bool) -> None:
        """The answer is whole."""
        raise NotImplementedError

    def _parse(self, data: bytes) -> None:
        """Have the parser read what came."""
        error: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as raised:
            error = raised
        if self._complete:
            self._finish(kept=self._keep_alive and error is None)
        elif error is not None:
            self.fail(BadResponse(f"{self._peer} does not speak HTTP/1.1: {error}"))
        elif not self._head_done:
            self._head_size += len(data)
            # A head that has ended, and is not that of the answer.
            self._is_interim = data.endswith(b"\r\n\r\n")
            if self._head_size > _MAX_HEAD:
                self.fail(BadResponse(f"{self._peer} sent more than {_MAX_HEAD} bytes of headers"))

    # For the parser.

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("more than the answer came")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:  # a trailer: nothing that may change the response belongs there (RFC 9110, 6.5.1)
            return
        name = name.lower()
        headers = self._headers
        if name not in headers:
            headers[name] = value
        elif name in self._repeated:
            self._repeated[name].append(value)
        else:
            self._repeated[name] = [headers[name], value]

    def on_headers_complete(self) -> None:
        if self._head_done:  # it was known, and the parser needs it for what follows
            return
        status: int = self._parser.get_status_code()
        # Joined here, once: a quarter of a megabyte may be one field, ten thousand times.
        for name, values in self._repeated.items():
            self._headers[name] = b", ".join(values)
        self._repeated.clear()
        coding = self._headers.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            # Its body would be taken as it comes (RFC 9112, 6.1).
            self.fail(BadResponse(f"{self._peer} sent a transfer coding that was not asked for"))
        elif status >= 200:
            self._head_done = True
            self._status = status
            if self._response is not None:
                self._response.begin(status, self._headers)
        elif status == 101:
            self.fail(BadResponse(f"{self._peer} switched to another protocol, which was not asked for"))
        else:
            self._informational = True

    def on_body(self, data: bytes) -> None:
        if self._response is not None:
            self._response.arrive(data)

    def on_message_complete(self) -> None:
        if self._informational:  # 100 Continue, 103 Early Hints: the answer is yet to come (RFC 9110, 15.2)
            self._informational = False
            self._headers = {}
            self._first = b""
        elif self._head_done:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
