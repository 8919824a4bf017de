"""One event stream and the connection behind it, for what no well-behaved connection does."""

import asyncio
from typing import Any

import pytest
from meshproxy.http.stream import EventStream
from tests.kit.waiting import within

pytestmark = pytest.mark.anyio


class Connection:
    """Takes what is sent while its gate is open, and can break."""

    def __init__(self, *, open: bool = True, broken: bool = False) -> None:  # noqa: A002  # what a gate is
        self.sent: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.broken = broken
        if open:
            self.gate.set()

    async def send(self, message: dict[str, Any]) -> None:
        await self.gate.wait()
        if self.broken:
            raise ConnectionResetError
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def stream(connection: Connection, slow: list[str], limit: int = 10) -> EventStream:
    return EventStream(connection.send, limit, 60, lambda: slow.append("slow"))


async def test_what_is_written_is_sent_in_order_and_the_last_is_marked() -> None:
    connection, slow = Connection(), list[str]()
    events = stream(connection, slow)
    events.start()
    events.write(b"1")
    events.write(b"2")
    events.finish(b"3" * 100)
    events.finish(b"4")
    events.write(b"5")
    await within(events.drained())
    assert connection.body == b"12" + b"3" * 100
    assert connection.sent[-1]["more_body"] is False
    assert slow == []


async def test_a_client_that_takes_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshproxy.http.stream._LINGER", 0.01)
    connection, slow = Connection(open=False), list[str]()
    events = stream(connection, slow)
    events.start()
    for _ in range(20):
        events.write(b"x")
    assert slow == ["slow"]
    assert events.ended
    events.cut()
    await within(events.drained())
    assert connection.sent == []


async def test_a_connection_that_breaks_ends_the_stream() -> None:
    connection, slow = Connection(broken=True), list[str]()
    events = stream(connection, slow)
    events.start()
    await within(events.drained())
    assert events.gone
    assert events.ended


async def test_whoever_waits_for_the_end_and_is_cancelled_takes_the_stream_along() -> None:
    connection, slow = Connection(open=False), list[str]()
    events = stream(connection, slow)
    events.start()
    waiting = asyncio.ensure_future(events.drained())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert events.task is not None
    await asyncio.wait({events.task})
    assert events.gone
