"""Limits that hold over several processes: three guards, as three replicas have them, and a real store between them."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from meshproxy.cluster.cipher import Cipher
from meshproxy.cluster.store import Away, Script, Store
from meshproxy.cluster.store_url import StoreUrl
from meshproxy.config.units import Rate
from meshproxy.errors import UpstreamBusy
from meshproxy.guard.guard import Guard
from meshproxy.guard.loans import Loans
from meshproxy.guard.rules import Rules
from meshproxy.relay.call import Call
from meshproxy.serving.fastmcp import FastMCP
from tests.kit.clients import Context, Legacy
from tests.kit.redis_server import RedisServer, needs_redis, redis_server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, needs_redis]


class Replica:
    """The guard of one upstream in one replica. Calls are in flight until `let` ends one."""

    def __init__(self, store: Store, loans: Loans, rules: dict[str, Any]) -> None:
        self.store, self.loans = store, loans
        self.guard = Guard("up", self._rules(rules), lambda: None)
        self.client = Legacy(FastMCP())
        self.running: list[Call] = []
        self.refused: list[UpstreamBusy] = []
        self.ended = 0

    def _rules(self, rules: dict[str, Any]) -> Rules:
        return Rules(**rules, lending=self.loans, limits="up")

    def obey(self, **rules: Any) -> None:
        self.guard.obey(self._rules(rules), len(self.running))

    def call(self, count: int = 1) -> None:
        for _ in range(count):
            call = Call(Context(self.client, self.client.caller(), None, {}), "tools/call", {})
            call.then(self._ended)
            call.go(lambda call: self.guard.admit(call, self.running.append))

    def let(self, count: int = 1) -> None:
        for _ in range(count):
            self.running.pop(0).end({})

    def _ended(self, call: Call, outcome: Any) -> Any:
        if isinstance(outcome, UpstreamBusy):
            self.refused.append(outcome)
        else:
            self.ended += 1
        return outcome

    @property
    def queued(self) -> Any:
        return self.guard.status()["queued"]


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def replicas(server: RedisServer, count: int = 3, **rules: Any) -> AsyncIterator[list[Replica]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(count):
            store = Store(StoreUrl.parse(server.url), "mesh", Cipher([b"k"]))
            stack.push_async_callback(store.aclose)
            await store.start(10)
            loans = Loans(store, f"r{number}", lambda: count)
            stack.push_async_callback(loans.aclose)
            loans.start()
            found.append(Replica(store, loans, rules))
        yield found


def running(found: list[Replica]) -> int:
    return sum(len(one.running) for one in found)


async def settled(found: list[Replica], count: int) -> None:
    """Wait until so many run in all. That no more do is looked at each time that anything was."""

    def is_so() -> bool:
        assert running(found) <= count
        return running(found) == count

    await eventually(is_so)


async def test_no_more_calls_are_in_flight_over_all_replicas_than_the_limit_says_and_no_fewer(server) -> None:
    async with replicas(server, concurrency=6) as found:
        for one in found:
            one.call(20)
        for left in range(60, 6, -1):
            await settled(found, min(6, left))
            max(found, key=lambda one: len(one.running)).let()
        await settled(found, 6)
        while any(one.running or one.queued for one in found):
            for one in found:
                one.let(len(one.running))
            assert running(found) <= 6
            await asyncio.sleep(0)
        assert sum(one.ended for one in found) == 60


async def test_whoever_calls_alone_has_all_slots_and_gives_others_their_share_when_they_come(server) -> None:
    async with replicas(server, concurrency=8) as found:
        found[0].call(30)
        await settled(found, 8)
        found[1].call(30)
        # One by one as its calls end, and not more than half.
        for _ in range(30):
            if len(found[1].running) == 4:
                break
            found[0].let()
            await settled(found, 8)
        await eventually(lambda: len(found[1].running) >= 3)
        assert len(found[0].running) + len(found[1].running) == 8


async def test_one_slot_is_everybodys_in_turn(server) -> None:
    async with replicas(server, concurrency=1) as found:
        for one in found:
            one.call(2)
        for _ in range(6):
            await settled(found, 1)
            next(one for one in found if one.running).let()
        assert [one.ended for one in found] == [2, 2, 2]


async def test_without_a_queue_a_slot_that_another_does_not_need_is_had_all_the_same(server) -> None:
    async with replicas(server, concurrency=2, queue=0) as found:
        found[0].call(2)
        await settled(found, 2)
        found[1].call()
        await eventually(lambda: found[1].refused)
        found[0].let(2)
        # What one gives back, the other has within a moment.
        for tried in itertools.count(2):
            found[1].call()
            await eventually(lambda tried=tried: len(found[1].running) + len(found[1].refused) == tried)
            if found[1].running:
                break
        assert running(found) == 1


async def test_no_more_calls_begin_over_all_replicas_than_the_rate_says(server) -> None:
    rate = Rate(60, 3600.0)
    async with replicas(server, rate=rate) as found:
        begun = time.monotonic()
        turns = itertools.cycle(found)
        while sum(len(one.refused) for one in found) < 30:
            next(turns).call()
            await asyncio.sleep(0.001)
        came = running(found)
        # A tenth of the limit may be held by the others.
        assert 60 - 6 - 3 <= came <= 60 + (time.monotonic() - begun) / 60 + 1
        told = found[0].refused[-1]
        assert told.limit == "limits.rate"
        assert told.retry_after is not None
        assert 1 < told.retry_after <= 60


async def test_who_calls_alone_has_the_whole_rate(server) -> None:
    async with replicas(server, rate=Rate(20, 3600.0)) as found:
        for count in range(25):
            found[0].call()
            await eventually(lambda count=count: len(found[0].running) + len(found[0].refused) > count)
        assert (len(found[0].running), len(found[0].refused)) == (20, 5)


async def test_tokens_that_are_not_used_go_back(server) -> None:
    async with replicas(server, rate=Rate(100, 3600.0)) as found:
        for _ in range(50):
            found[0].call()
            await asyncio.sleep(0.001)
        await eventually(lambda: len(found[0].running) == 50)
        await eventually(lambda: not found[0].loans._in_use)
        for count in range(50):
            found[1].call()
            await eventually(lambda count=count: len(found[1].running) > count)
        assert not found[1].refused


async def test_a_plain_call_waits_for_nobody(server) -> None:
    async with replicas(server, concurrency=50, rate=Rate(1_000_000, 1.0)) as found:
        one = found[0]
        one.call()
        await settled(found, 1)
        for _ in range(200):
            # What is there is used in the same step of the loop.
            before = len(one.running)
            one.call()
            if len(one.running) == before:
                await eventually(lambda before=before: len(one.running) > before)
            one.let()
            await asyncio.sleep(0.001)
        before = len(one.running)
        one.call()
        assert len(one.running) == before + 1


async def test_while_the_store_is_away_each_goes_by_its_own_limits_and_they_hold_together_again_when_it_is_back(
    server,
) -> None:
    async with replicas(server, concurrency=2) as found:
        found[0].call(3)
        await settled(found, 2)
        server.kill()
        found[1].call(3)
        await eventually(lambda: len(found[1].running) == 2)
        await eventually(lambda: not found[0].store.is_up)
        assert len(found[0].running) == 2
        server.start()
        await eventually(lambda: all(one.store.is_up for one in found))
        found[2].call()
        for one in found[:2]:
            one.let(2)
        await settled(found, 2)
        while any(one.running for one in found):
            for one in found:
                one.let(len(one.running))
            await asyncio.sleep(0.01)
            assert running(found) <= 2
        assert sum(one.ended for one in found) == 7
        assert not any(one.refused for one in found)


async def test_who_was_idle_when_the_store_went_away_calls_all_the_same(server) -> None:
    async with replicas(server, 1, concurrency=1, rate=Rate(60, 3600.0)) as [one]:
        one.call()
        await settled([one], 1)
        one.let()
        await eventually(lambda: not one.loans._in_use)
        server.kill()
        with pytest.raises(Away):
            await one.store.do(Script("return 1"), [], [])
        one.call()
        await settled([one], 1)


async def test_a_store_that_hangs_holds_no_call_back(server) -> None:
    async with replicas(server, concurrency=1, rate=Rate(1000, 1.0)) as found:
        server.hang()
        for one in found:
            one.call()
        await eventually(lambda: running(found) == 3)
        assert all(one.store.is_up for one in found)
        server.go_on()


async def test_the_slots_of_a_replica_that_died_are_free_after_a_while(server) -> None:
    async with replicas(server, concurrency=2) as found:
        found[0].call(2)
        await settled(found, 2)
        dead = found[0].loans
        assert dead._running is not None
        dead._running.cancel()
        found[1].call(2)
        await eventually(lambda: len(found[1].running) == 2)


async def test_an_edit_of_the_limit_is_in_force_for_what_comes_next(server) -> None:
    async with replicas(server, 2, concurrency=2) as found:
        for one in found:
            one.call(4)
        await settled(found, 2)
        for one in found:
            one.obey(concurrency=4)
        await settled(found, 4)
        for one in found:
            one.obey()
        await settled(found, 8)
        for one in found:
            one.obey(concurrency=2)
            one.call()
        assert running(found) == 8
