"""Clients that do not read the events that they are sent: they are left, and nothing of theirs stays."""

import asyncio
from typing import Any

import pytest
from meshproxy.http import stream
from meshproxy.http.server_request import Head, Request
from meshproxy.http.stream import EventStream
from tests.kit.raw_client import Receive, Scope, Send, post, served, turns
from tests.kit.waiting import DEADLINE, eventually, within

pytestmark = pytest.mark.anyio

EVENT = b"data: " + b"x" * 50_000 + b"\n\n"


class Events:
    """Answers with a stream of events, as an application that is awaited, or as one that takes whole requests."""

    def __init__(self, *, takes: bool, limit: int) -> None:
        self.takes = takes
        self.limit = limit
        self.slow: list[str] = []
        self.streams: list[EventStream] = []
        self.gone = asyncio.Event()

    def take(self, head: Head, body: bytes, request: Request) -> bool:
        if not self.takes:
            return False
        request.on_gone = self.gone.set
        self.open(request.send)
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self.open(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        found.abandon()
        self.gone.set()

    def open(self, send: Any) -> EventStream:
        found = EventStream(send, self.limit, DEADLINE, lambda: self.slow.append("slow"))
        found.start()
        self.streams.append(found)
        return found


@pytest.mark.parametrize("takes", [True, False])
async def test_a_client_for_whom_too_much_waits_is_cut_off_and_its_connection_goes(
    *, takes: bool, monkeypatch: pytest.MonkeyPatch, events: list[Any]
) -> None:
    monkeypatch.setattr(stream, "_LINGER", 0.05)
    app = Events(takes=takes, limit=1_000_000)
    async with served(app, send_buffer=50_000) as service:
        client = await service.dial(receive_buffer=10_000)
        await client.send(post(b"{}"))
        await eventually(lambda: bool(app.streams))
        while not app.slow:
            app.streams[0].write(EVENT)
            await asyncio.sleep(0)
        await within(app.gone.wait())
        await service.idle()
        assert app.slow == ["slow"]
        assert not app.streams[0]._queue
        assert events == []


@pytest.mark.parametrize("takes", [True, False])
async def test_a_client_that_takes_nothing_for_long_is_left_however_little_waits(
    *, takes: bool, events: list[Any]
) -> None:
    app = Events(takes=takes, limit=1_000_000_000)
    async with served(app, send_buffer=50_000, keep_alive=0.05) as service:
        client = await service.dial(receive_buffer=10_000)
        await client.send(post(b"{}"))
        await eventually(lambda: bool(app.streams))
        for _ in range(100):
            app.streams[0].write(EVENT)
        await within(app.gone.wait())
        await service.idle()
        assert [event["event"] for event in events] == ["client.too_slow"]


@pytest.mark.parametrize("takes", [True, False])
async def test_a_stream_on_which_nothing_happens_or_that_is_read_slowly_stays(*, takes: bool) -> None:
    app = Events(takes=takes, limit=1_000_000_000)
    async with served(app, send_buffer=50_000, keep_alive=0.2) as service:
        client = await service.dial(receive_buffer=10_000)
        await client.send(post(b"{}"))
        await client.until(b"\r\n\r\n")
        await turns(service, 5)
        for _ in range(40):
            app.streams[0].write(EVENT)
        for _ in range(15):
            await client.exactly(100_000)
            await turns(service, 1)
        app.streams[0].finish()
        client.buffer = b""
        while b"\r\n0\r\n" not in client.buffer:
            assert await client.more()
