"""Logins that replicas have in common by their store: one refresher, and a login, a logout and a token of one is everybody's."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from meshproxy.cluster.cipher import Cipher
from meshproxy.cluster.pulse import Pulse
from meshproxy.cluster.store import Away, Store
from meshproxy.cluster.store_url import StoreUrl
from meshproxy.login.common import WHAT, Common, Found
from meshproxy.login.vault import Record, Vault
from tests.kit.authority import Authority, authority
from tests.kit.logged_in import Meshed, log_in, meshed
from tests.kit.redis_server import RedisServer, needs_redis, redis_server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, needs_redis]

KEY = b"the key of the cluster"


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def shared(
    server: RedisServer, name: str, key: bytes = KEY, *, beats: bool = True
) -> AsyncIterator[tuple[Store, Common]]:
    """A store and what is in common there, which looks with each beat, or only when it is told to."""
    store = Store(StoreUrl.parse(server.url), "mesh", Cipher([key]))
    await store.start(10)
    pulse = Pulse(store, name, None)
    common = Common(store)
    pulse.watch(WHAT, common.look)
    if beats:
        await pulse.start()
    try:
        yield store, common
    finally:
        await pulse.aclose()
        await store.aclose()


@contextlib.asynccontextmanager
async def replicas(
    there: Authority, server: RedisServer, *states: Path | None, auth: Any = "oauth"
) -> AsyncIterator[list[Meshed]]:
    """A mesh for each of these state directories. All have the same store."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number, state in enumerate(states):
            _, common = await stack.enter_async_context(shared(server, f"replica{number}"))
            found.append(await stack.enter_async_context(meshed(there, state, auth, is_alone=False, common=common)))
        yield found


async def test_20_calls_over_an_expired_token_on_three_replicas_cause_one_refresh(server, tmp_path) -> None:
    async with authority() as there:
        states = [tmp_path / name for name in "abc"]
        await log_in(there, states[0])
        async with replicas(there, server, *states) as found:
            for mesh in found:
                await mesh.until("up")
            before = len(there.grants("refresh_token"))
            there.expire()
            await asyncio.gather(*(found[number % 3].call() for number in range(20)))
            assert len(there.grants("refresh_token")) - before == 1
            # And once more: with what the one has got.
            there.expire()
            await asyncio.gather(*(found[number % 3].call() for number in range(20)))
            assert len(there.grants("refresh_token")) - before == 2


async def test_a_login_at_one_replica_is_one_at_all_and_so_is_a_logout(server, tmp_path) -> None:
    async with authority() as there, replicas(there, server, tmp_path / "a", tmp_path / "b", None) as found:
        for mesh in found:
            await mesh.until("needs login")
        await log_in(there, tmp_path / "a")
        for mesh in found:
            await mesh.until("up")
            await mesh.call()
        for file in (tmp_path / "a" / "tokens").glob("*.json"):
            file.unlink()
        for mesh in found:
            await mesh.until("needs login")


async def test_a_replica_that_begins_with_nothing_has_the_login_of_the_others(server, tmp_path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path / "a")
        async with replicas(there, server, tmp_path / "a"):
            pass
        async with replicas(there, server, tmp_path / "b") as [mesh]:
            await mesh.until("up")
            await mesh.call()


async def test_without_the_store_each_goes_on_and_what_one_got_meanwhile_is_everybodys_afterwards(
    server, tmp_path
) -> None:
    async with authority(rotates=True) as there:
        await log_in(there, tmp_path / "a")
        async with replicas(there, server, tmp_path / "a", tmp_path / "b") as found:
            for mesh in found:
                await mesh.until("up")
            server.kill()
            there.expire()
            await found[0].call()
            before = len(there.grants("refresh_token"))
            server.start()
            # Its refresh token is spent; with the new one of the other it needs no refresh.
            vault = found[1].mesh.logins.vault
            common = vault.common
            assert common is not None
            await eventually(lambda: common._store.is_up)
            await eventually(lambda: token_of(found[0]) == token_of(found[1]))
            await found[1].call()
            assert len(there.grants("refresh_token")) == before


def token_of(mesh: Meshed) -> str:
    vault = mesh.mesh.logins.vault
    url = str(mesh.mesh.config.upstreams["there"].url)
    grant = vault.read("there", url).grant
    return grant.access_token if grant is not None else ""


async def test_the_token_of_a_machine_is_obtained_once_for_all(server, tmp_path) -> None:
    auth = {"type": "client_credentials", "client_id": "mesh", "client_secret": "open-sesame"}
    async with (
        authority(clients={"mesh": "open-sesame"}) as there,
        replicas(there, server, None, None, None, auth=auth) as found,
    ):
        await asyncio.gather(*(mesh.call() for mesh in found))
        assert len(there.grants("client_credentials")) == 1
        there.expire()
        await asyncio.gather(*(found[number % 3].call() for number in range(20)))
        assert len(there.grants("client_credentials")) == 2


async def test_who_lost_the_lock_while_he_stood_still_spoils_nothing(server, tmp_path) -> None:
    async with shared(server, "a") as (store, one), shared(server, "b") as (_, two):
        name = Common.name("something")
        async with one.locked(name):
            # As if its process had been stopped for longer than the lock lasts.
            server.ask("DEL", store.key("login", name, "lock"))
            async with two.locked(name):
                assert await two.push(name, b"new", time.time())
            assert not await one.push(name, b"old", time.time() + 1)
            assert (await one.pull(name)).text == b"new"


async def test_a_login_is_kept_in_common_when_the_key_of_the_cluster_is_replaced(server, tmp_path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path / "a")
        async with (
            shared(server, "a") as (store, common),
            meshed(there, tmp_path / "a", is_alone=False, common=common) as mesh,
        ):
            await mesh.until("up")
            store._cipher.take([b"another key"])
            common.look_anew()
            await common.look()
        async with shared(server, "b", b"another key") as (_, common):
            vault = Vault(None)
            vault.common = common
            await vault.bring("there", there.url)
            assert vault.read("there", there.url).grant is not None


async def test_what_could_not_be_had_at_the_first_look_is_had_at_the_next(server, tmp_path, monkeypatch) -> None:
    async with shared(server, "a", beats=False) as (_, one), shared(server, "b", beats=False) as (_, two):
        here, there = Vault(tmp_path / "a"), Vault(tmp_path / "b")
        here.common, there.common = one, two
        there.follow("up", "http://up")
        await two.look()
        await here.write(Record("up", "http://up", issuer="i"))
        with monkeypatch.context() as patch:
            patch.setattr(two, "pull", slow)
            with pytest.raises(Away):
                await two.look()
        await two.look()
        assert there.read("up", "http://up").issuer == "i"


async def slow(_name: str) -> Found:
    raise Away("it has not answered in time")


async def test_no_secret_can_be_read_in_the_store(server, tmp_path) -> None:
    auth = {"type": "client_credentials", "client_id": "mesh", "client_secret": "open-sesame"}
    async with authority(clients={"mesh": "open-sesame"}) as there:
        await log_in(there, tmp_path / "a")
        async with replicas(there, server, tmp_path / "a", tmp_path / "b") as found:
            for mesh in found:
                await mesh.until("up")
            there.expire()
            await asyncio.gather(*(mesh.call() for mesh in found))
        async with replicas(there, server, None, auth=auth) as [mesh]:
            await mesh.call()
        everything = server.contents()
        assert b"login" in everything
        for secret in (*there.secrets, "open-sesame"):
            assert secret.encode() not in everything


def told_bytes(server: RedisServer) -> int:
    """What a store has sent in all."""
    [line] = [
        line for line in server.ask("INFO", "stats").split(b"\r\n") if line.startswith(b"total_net_output_bytes:")
    ]
    return int(line.partition(b":")[2])


async def test_of_a_thousand_logins_those_alone_are_told_that_have_changed(server) -> None:
    async with shared(server, "a", beats=False) as (_, one), shared(server, "b", beats=False) as (_, two):
        brought = []

        async def bring() -> None:
            brought.append((await two.pull("number 7")).text)

        for number in range(1200):
            assert await one.push(f"number {number}", b"old", 1.0)
        two.follow("number 7", bring)
        await two.look()
        await two.look()
        assert brought == [b"old"]
        assert await one.push("number 7", b"new", 2.0)
        before = told_bytes(server)
        await two.look()
        assert brought == [b"old", b"new"]
        # All names would be fifty thousand.
        assert told_bytes(server) - before < 10_000


async def test_a_store_that_has_forgotten_all_without_having_been_away_is_told_again(server) -> None:
    async with shared(server, "a", beats=False) as (_, common):
        brought = []

        async def bring() -> None:
            brought.append((await common.pull("mine")).text)

        common.follow("mine", bring)
        for changed in (1.0, 2.0):
            assert await common.push("mine", b"new", changed)
        await common.look()
        await common.look()
        assert brought == [b"new"]
        server.ask("FLUSHALL")
        await common.look()
        assert brought == [b"new", None]


async def test_what_is_written_later_is_later_whatever_the_clock_says(tmp_path) -> None:
    vault = Vault(tmp_path)
    record = Record("there", "http://there", changed=time.time() + 1000)
    await vault.write(record)
    assert vault.read("there", "http://there").changed > record.changed
    await vault.write(msgspec.structs.replace(vault.read("there", "http://there"), issuer="i"))
    assert vault.read("there", "http://there").issuer == "i"
