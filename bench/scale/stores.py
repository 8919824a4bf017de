# ruff: noqa: SLF001  # one beat and one look are inside of what beats and looks by itself
"""What the store carries for one heartbeat, one look at a limit, one refreshed login: its own counters, and the CPU of both sides.

It drives the project's own parts (`Pulse`, `Loans`, `Common`) against a redis-server of its own, without the program around them, so that there can be as many processes as there are to be.
Bytes and commands are what `INFO` counts; inner commands of a script count as commands. CPU is by the kernel's clocks.
"""

import asyncio
import contextlib
import json
import random
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from bench.ground import say
from bench.processes import free_port, wait_for_port
from meshproxy.access.revocations import Revocations
from meshproxy.cluster.cipher import Cipher
from meshproxy.cluster.presence import Address
from meshproxy.cluster.pulse import Pulse
from meshproxy.cluster.store import Store
from meshproxy.cluster.store_url import StoreUrl
from meshproxy.config.units import Rate
from meshproxy.guard.bucket import Bucket
from meshproxy.guard.loans import Loans
from meshproxy.guard.slots import Slots
from meshproxy.login.common import Common
from meshproxy.mesh.common_catalogs import CommonCatalogs

PROCESSES = (1, 10, 30, 100, 200)
PAIRS = ((1, 1, 1000), (16, 1, 1000), (1, 10, 1000), (1, 30, 1000), (16, 30, 1000), (16, 30, None))
"""Limits, processes that use them, and calls in flight that each allows; the last are limits of the rate alone."""
LOGINS = (10, 1000, 10_000, 100_000)
TOOLS = 1000
WORDS = ["".join(random.Random(number).choices("etaoinshrdlu", k=2 + number % 7)) for number in range(2000)]
"""As many as descriptions may have, so that they pack no better than texts do."""
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "description": "What it is about."}},
    "required": ["text"],
}
REVOKED = 100
"""Keys that were revoked before."""
RATE = Rate(1000, 1.0)
RECORD = b"x" * 3000
"""As long as a record of a login with tokens that are signed."""


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[int, int]]:
    """Port and process of one that keeps nothing."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("There is no redis-server here: apt-get install redis-server brings it")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            wait_for_port(port, process)
            yield port, process.pid
        finally:
            process.kill()
            process.wait(10)


class Meter:
    """Reads what a server counts."""

    def __init__(self, port: int, pid: int) -> None:
        import redis

        self._client = redis.Redis(port=port)
        self._pid = pid

    def read(self) -> dict[str, float]:
        info = self._client.info("stats")
        return {
            "commands": info["total_commands_processed"],
            "in": info["total_net_input_bytes"],
            "out": info["total_net_output_bytes"],
            "store_us": time.clock_gettime((~self._pid << 3) | 2) * 1e6,
            "own_us": time.process_time() * 1e6,
        }

    async def of(self, what: Callable[[], Awaitable[object]], times: int) -> dict[str, float]:
        """What one takes: of five times so many the least of each, as other work on the machine only adds to it; without what reading takes."""
        await what()
        turns = [await self._turn(what, times) for _ in range(5)]
        return {key: min(turn[key] for turn in turns) for key in turns[0]}

    async def _turn(self, what: Callable[[], Awaitable[object]], times: int) -> dict[str, float]:
        start, begun = self.read(), self.read()
        for _ in range(times):
            await what()
        ended = self.read()
        return {
            key: round((ended[key] - begun[key] - (begun[key] - start[key])) / times, 1)
            for key in ("commands", "in", "out", "store_us", "own_us")
        }

    def close(self) -> None:
        self._client.close()


class Borrowing:
    """A guard that takes what it is lent."""

    def lent(self) -> None: ...


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Store]:
    store = Store(StoreUrl.parse(f"redis://127.0.0.1:{port}/0"), "mesh", Cipher([b"k" * 32]))
    await store.start(10)
    try:
        yield store
    finally:
        await store.aclose()


async def beats(store: Store, meter: Meter) -> dict[int, dict]:
    """One heartbeat, by how many processes there are."""
    found, pulses = {}, []
    for count in PROCESSES:
        while len(pulses) < count:
            number = len(pulses)
            pulses.append(Pulse(store, f"{number:08x}", Address(f"10.0.{number // 250}.{number % 250}", 7946)))
        for pulse in pulses:
            await pulse._beat()
        last = pulses[-1]

        async def beat(last: Pulse = last) -> None:
            await last._beat()

        found[count] = await meter.of(beat, 10)
        say(f"  a heartbeat of {count}: {found[count]}")
    return found


async def leases(store: Store, meter: Meter) -> dict[str, dict]:
    """One look at limits, by how many limits and by how many processes use them."""
    found = {}
    for limits, sharers, most in PAIRS:
        tables = [
            Loans(store, f"{limits}.{sharers}.{most}.{number}", lambda sharers=sharers: sharers)
            for number in range(sharers)
        ]
        for table in tables:
            for number in range(limits):
                loan = table.lender(f"of {limits}, {sharers} and {most}: {number}", Borrowing(), Slots(1000, 10))
                loan.obey(most, Bucket(RATE, time.monotonic()), 1000, 1.0)
                loan.used()
            await table._look()
        [*_, last] = tables

        async def look(last: Loans = last) -> None:
            for loan in last._in_use:
                loan.used()
            await last._look()

        name = f"{limits}, {sharers}" if most is not None else f"rate alone of {limits}, {sharers}"
        found[name] = await meter.of(look, 20)
        say(f"  limits, processes {name}: {found[name]}")
    return found


async def logins(store: Store, meter: Meter) -> dict[str, dict]:
    """One refreshed login, and one that changes and is told to a process, by how many logins there are."""
    common = Common(store)
    found: dict = {}

    async def refresh() -> None:
        async with common.locked("somebody"):
            await common.pull("somebody")
            await common.push("somebody", RECORD, time.time())

    found["refresh"] = await meter.of(refresh, 20)
    found["pull"] = await meter.of(lambda: common.pull("somebody"), 20)
    say(f"  a login: {found}")
    found["change"], known = {}, 0
    common.follow("somebody", idle)
    for count in LOGINS:
        await known_to_be(store, known, count)
        known = count
        await common.look()

        async def change() -> None:
            await common.push("another", b"", time.time())
            await common.look()

        found["change"][count] = await meter.of(change, 10)
        say(f"  a change that is told, of {count} logins: {found['change'][count]}")
    return found


class Entered:
    """Who may come in: nobody asks."""

    on_keys = None

    def revoke(self, names: frozenset[str]) -> None: ...


async def at_times(store: Store, meter: Meter) -> dict[str, dict]:
    """What comes seldom: a catalog that is put and fetched, and a key that is revoked and told."""
    chance = random.Random(1)
    tools: list[dict] = [
        {"name": f"tool_{number}", "description": " ".join(chance.choices(WORDS, k=25)), "inputSchema": SCHEMA}
        for number in range(TOOLS)
    ]
    catalogs, found = CommonCatalogs(store, b"k"), {}

    async def put() -> None:
        tools[0]["description"] = secrets.token_hex(8)
        catalogs.write("up", json.dumps(tools).encode())
        await catalogs._putting

    found["catalog put"] = await meter.of(put, 5)
    found["catalog fetched"] = await meter.of(lambda: catalogs.fetch(["up"], 2.0), 5)
    revocations = Revocations(store, Entered())

    async def revoke() -> None:
        revocations._on_keys(frozenset({secrets.token_bytes(16)}), frozenset())
        await asyncio.wait(revocations._putting)

    for _ in range(REVOKED):
        await revoke()
    found["key revoked"] = await meter.of(revoke, 2)
    found["key told"] = await meter.of(revocations.look, 5)
    say(f"  {found}")
    return found


async def idle() -> None:
    """What follows a login that nobody changes."""


async def known_to_be(store: Store, first: int, last: int) -> None:
    """So many more logins have been put."""
    names = {Common.name(str(number)): number for number in range(first, last)}
    many = [*names.items()]
    for number in range(0, len(many), 10_000):
        await store._client.zadd(store.key("changes"), dict(many[number : number + 10_000]))
    await store._client.hset(store.key("versions"), "logins", last)


def measured() -> dict:
    """All of it."""
    say("what the store carries")

    async def run(port: int, pid: int) -> dict:
        meter = Meter(port, pid)
        async with connected(port) as store:
            try:
                return {
                    "beats": await beats(store, meter),
                    "leases": await leases(store, meter),
                    "logins": await logins(store, meter),
                    "at times": await at_times(store, meter),
                }
            finally:
                meter.close()

    with redis_server() as (port, pid):
        return asyncio.run(run(port, pid))
