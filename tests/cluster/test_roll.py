"""Replicas that know each other by greeting: in one process, over the private addresses of each."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from meshproxy.cluster.door import Door
from meshproxy.cluster.doorway import Doorway
from meshproxy.cluster.envelope import FIELD, Envelopes
from meshproxy.cluster.keys import Keys
from meshproxy.cluster.presence import Address
from meshproxy.cluster.replicas import Replicas
from meshproxy.cluster.roll import PATH, Roll
from meshproxy.http.client import HttpClient
from meshproxy.http.server import Http1Server
from tests.kit.waiting import eventually, within

pytestmark = pytest.mark.anyio

KEYS = Keys(["a-key-of-the-tests-of-the-roll-of-replicas"])
CALLS, GREETINGS = KEYS.for_(b"calls"), KEYS.for_(b"greetings")


def listening() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    made.setblocking(False)
    return made


@dataclass
class Node:
    """A replica without a mesh: what is handed to it is noted."""

    roll: Roll
    address: Address
    gone: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def take(self, *_: Any) -> bool:
        return False

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def node(name: str, *peers: Address, keys: Keys = KEYS, at: socket.socket | None = None) -> AsyncIterator[Node]:
    """One that runs until the block ends."""
    listener = at or listening()
    address = Address(*listener.getsockname())
    roll = Roll(name, peers, address, keys.client, Envelopes(*keys.for_(b"greetings")))
    made = Node(roll, address)
    roll.on_gone = made.gone.append
    server = Http1Server(Door(Doorway(made, made.take, Envelopes(*CALLS), 1000), roll), tls=keys.tls)
    await server.start([listener])
    try:
        await within(roll.start())
        yield made
    finally:
        await roll.aclose()
        await server.aclose()


async def test_of_a_pair_it_is_enough_that_one_knows_the_address_of_the_other() -> None:
    async with node("aaaa1111") as first, node("bbbb2222", first.address) as second:
        # Both know before the second has taken its first client.
        await eventually(lambda: first.roll.known() == {"bbbb2222": second.address})
        await eventually(lambda: second.roll.known() == {"aaaa1111": first.address})


async def test_one_that_is_in_its_own_list_does_not_know_itself() -> None:
    listener = listening()
    own = Address(*listener.getsockname())
    async with node("aaaa1111", own, at=listener) as only:
        assert only.roll.known() == {}
        assert await only.roll.find("aaaa1111") is None


async def test_a_name_stands_for_whoever_is_there() -> None:
    async with node("aaaa1111") as first:
        named = Address("localhost", first.address.port)
        async with node("bbbb2222", named) as second:
            await eventually(lambda: second.roll.known() == {"aaaa1111": first.address})


async def test_one_that_is_gone_is_told_and_found_no_more() -> None:
    async with node("aaaa1111") as first:
        async with node("bbbb2222", first.address) as second:
            assert await first.roll.find("bbbb2222") == second.address
        await eventually(lambda: first.gone == ["bbbb2222"])
        assert await within(first.roll.find("bbbb2222")) is None


async def test_another_at_the_same_address_is_another(journal) -> None:
    async with node("aaaa1111") as first:
        async with node("bbbb2222", first.address) as second:
            address = second.address
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        async with node("cccc3333", first.address, at=listener):
            assert first.gone == ["bbbb2222"]
            await eventually(lambda: first.roll.known() == {"cccc3333": address})


async def test_one_that_nobody_has_heard_of_yet_is_asked_for() -> None:
    waiting = listening()
    address = Address(*waiting.getsockname())
    waiting.close()
    async with node("aaaa1111", address) as first:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        # It greets nobody itself.
        async with node("bbbb2222", at=listener):
            assert await eventually(lambda: first.roll.find("bbbb2222")) == address


async def test_whoever_has_another_key_is_nobody(journal) -> None:
    foreign = Keys(["another-key-than-the-one-of-the-others-here"])
    async with node("aaaa1111") as first, node("ffff6666", first.address, keys=foreign) as stranger:
        assert (first.roll.known(), stranger.roll.known()) == ({}, {})
        assert first.asked == []
        [said] = journal.of("cluster.peer_silent")
        assert "certificate" in said["reason"]


async def test_a_request_of_a_client_is_no_greeting_whatever_its_path() -> None:
    async with node("aaaa1111") as first:
        client = HttpClient(f"https://{first.address}/", connect_timeout=5, tls=KEYS.client)
        scope = {"method": "POST", "raw_path": PATH.encode(), "query_string": b"", "scheme": "http", "headers": []}
        body = b'["eeee5555","127.0.0.1",9,true]'
        for keys, status in ((CALLS, 200), ([b"x" * 32], 403), (GREETINGS, 200)):
            _, envelope = Envelopes(*keys).close(scope, body)
            answer = await within(client.request("POST", PATH, b"%b: %b\r\n" % (FIELD, envelope), body))
            assert answer.status == status
        # What was handed over is the application's to answer, and it alone was asked of it.
        assert first.asked == [PATH]
        assert first.roll.known() == {}
        await client.aclose()


async def test_a_greeting_from_where_nobody_can_be_reached_makes_nobody_known() -> None:
    async with node("aaaa1111") as first:
        closed = listening()
        nowhere = Address(*closed.getsockname())
        closed.close()
        roll = Roll("bbbb2222", [first.address], nowhere, KEYS.client, Envelopes(*GREETINGS))
        await within(roll.start())
        await eventually(lambda: roll.known() == {"aaaa1111": first.address})
        assert first.roll.known() == {}
        await roll.aclose()


async def test_one_that_takes_connections_and_says_nothing_is_gone_after_a_while(monkeypatch, journal) -> None:
    monkeypatch.setattr("meshproxy.cluster.roll._ANSWER", 0.2)
    monkeypatch.setattr("meshproxy.cluster.roll.PATIENCE", 0.5)
    monkeypatch.setattr("meshproxy.cluster.roll.EVERY", 0.05)
    async with node("aaaa1111") as first, node("bbbb2222", first.address) as second:
        stuck = asyncio.Event()

        async def hang(*_: Any) -> bytes:
            await stuck.wait()
            return b""

        second.roll.greeted = hang  # type: ignore[method-assign]
        await eventually(lambda: first.gone == ["bbbb2222"])
        assert first.roll.known() == {}
        assert "in time" in journal.of("cluster.peer_silent")[-1]["reason"]
        stuck.set()


async def test_nobody_waits_for_an_address_that_has_not_answered_the_last_time(monkeypatch, journal) -> None:
    silent = listening()  # it takes connections, and never says a word
    monkeypatch.setattr("meshproxy.cluster.roll._ANSWER", 0.1)
    async with node("aaaa1111", Address(*silent.getsockname())) as first:
        await journal.until("cluster.peer_silent")
        monkeypatch.setattr("meshproxy.cluster.roll._ANSWER", 1000.0)
        monkeypatch.setattr("meshproxy.cluster.roll._LOOK_UP", 1000.0)
        monkeypatch.setattr("meshproxy.cluster.roll._AGAIN", 0.0)
        for _ in range(3):
            assert await within(first.roll.find("bbbb2222")) is None
        # Others are met meanwhile.
        async with node("bbbb2222", first.address) as second:
            assert await within(first.roll.find("bbbb2222")) == second.address
    silent.close()


async def test_a_round_that_fails_is_not_the_last_one(monkeypatch, journal) -> None:
    monkeypatch.setattr("meshproxy.cluster.roll.EVERY", 0.01)
    async with node("aaaa1111") as first:

        def broken() -> list[Address]:
            first.roll.more = tuple
            raise RuntimeError("nobody expects it")

        first.roll.more = broken
        await journal.until("cluster.greeting_failed")
        async with node("bbbb2222") as second:
            first.roll.more = lambda: [second.address]
            await eventually(lambda: first.roll.known() == {"bbbb2222": second.address})


async def test_the_way_to_one_that_is_gone_is_closed(journal) -> None:
    async with node("aaaa1111") as first:
        replicas = Replicas("aaaa1111", first.roll, KEYS.client, Envelopes(*CALLS))
        async with node("bbbb2222", first.address) as second:
            way = await replicas.way("bbbb2222")
            assert way is not None
            assert await replicas.way("aaaa1111") is None
            assert await replicas.way("bbbb2222.001abcd") is not None
            assert (await within(way.client.request("GET", "/"))).status == 403
            assert second.asked == []
        await journal.until("cluster.replica_gone")
        assert await within(replicas.way("bbbb2222")) is None
        await eventually(lambda: way.client.statistics()["connections"] == 0)
        await replicas.aclose()
