"""HTTP as the load client speaks it: keep-alive connections without a client library, and event streams."""

import asyncio
from collections.abc import Callable

import httptools

PATIENCE = 120.0
"""Seconds after which an answer is given up on."""


class Broken(Exception):
    """An answer that is not what was asked for."""


class Connection(asyncio.Protocol):
    """One keep-alive connection; at most one request is under way on it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.parts: list[bytes] = []
        self.headers: dict[bytes, bytes] = {}
        self.receive: Callable[[int, bytes], None] | None = None
        self.lost: Callable[[], None] | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.lost is not None:
            self.lost()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.parts, self.headers = [], {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        if self.receive is not None:
            body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
            if self.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                body = last_event(body)
            self.receive(self.parser.get_status_code(), body)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request outside of a run."""
        done: asyncio.Future = asyncio.get_running_loop().create_future()
        self.receive = lambda status, body: done.done() or done.set_result((status, body))
        self.lost = lambda: done.done() or done.set_exception(Broken("the connection was closed"))
        if self.transport is None:
            raise Broken("the connection is closed")
        self.transport.write(request)
        return await asyncio.wait_for(done, PATIENCE)


def last_event(body: bytes) -> bytes:
    """The last message of an event stream: the answer, after whatever was said before it."""
    data = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    return next((part for part in reversed(data) if part), b"")


class EventStream(Connection):
    """A GET that is answered with events for as long as it lasts: `event` gets the data of each."""

    def __init__(self) -> None:
        super().__init__()
        self.rest = b""
        self.event: Callable[[bytes], None] | None = None

    def on_body(self, body: bytes) -> None:
        *lines, self.rest = (self.rest + body).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and self.event is not None:
                self.event(line[5:].strip())

    async def next(self) -> bytes:
        """The data of the next event, outside of a run."""
        done: asyncio.Future = asyncio.get_running_loop().create_future()
        self.event = lambda data: done.done() or done.set_result(data)
        self.lost = lambda: done.done() or done.set_exception(Broken("the stream was closed"))
        return await asyncio.wait_for(done, PATIENCE)
