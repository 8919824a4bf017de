"""A key that an edit takes out of one replica's file: refused by all, whatever their files say, until it is put in again."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from meshproxy.access.access import Entrance
from meshproxy.access.challenge import Refusal
from meshproxy.access.keys import hash_of, new_key
from meshproxy.access.revocations import WHAT, Revocations
from meshproxy.cluster.cipher import Cipher
from meshproxy.cluster.pulse import Pulse
from meshproxy.cluster.store import Store
from meshproxy.cluster.store_url import StoreUrl
from meshproxy.config.models import MeshConfig
from tests.kit.redis_server import RedisServer, needs_redis, redis_server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, needs_redis]

KEYS = {name: new_key() for name in ("ada", "bob")}


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as found:
        yield found


class Replica:
    def __init__(self, store: Store) -> None:
        self.store, self.entrance = store, Entrance()
        self.revocations = Revocations(store, self.entrance)
        self.changes = 0
        self.entrance.on_change(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def edit(self, *names: str) -> None:
        """Its file holds these keys."""
        keys = [{"name": name, "hash": hash_of(KEYS[name])} for name in names]
        self.entrance.take(MeshConfig.model_validate({"server": {"auth": {"keys": keys}}}))

    def lets_in(self, name: str) -> bool:
        found = self.entrance.access.enter([b"Bearer " + KEYS[name].encode()], b"", "")
        return found is not None and not isinstance(found, Refusal)


@contextlib.asynccontextmanager
async def replica(server: RedisServer, name: str, *keys: str, secret: bytes = b"one") -> AsyncIterator[Replica]:
    store = Store(StoreUrl.parse(server.url), "mesh", Cipher([secret]))
    await store.start(10)
    pulse, found = Pulse(store, name, None), Replica(store)
    pulse.watch(WHAT, found.revocations.look)
    await pulse.start()
    found.edit(*keys)
    try:
        yield found
    finally:
        await found.revocations.aclose()
        await pulse.aclose()
        await store.aclose()


async def test_a_key_that_is_taken_out_at_one_replica_is_refused_by_all_and_others_are_not(server) -> None:
    async with replica(server, "a", "ada", "bob") as one, replica(server, "b", "ada", "bob") as two:
        assert one.lets_in("ada")
        assert two.lets_in("ada")
        one.edit("bob")
        assert not one.lets_in("ada")
        await eventually(lambda: not two.lets_in("ada"))
        assert two.lets_in("bob")
        # Who has a session by it is told, once.
        assert two.changes == 2
        async with replica(server, "c", "ada", "bob") as three:
            # One that begins with an old file, too.
            await eventually(lambda: not three.lets_in("ada"))
        # The edit that reaches the second one later changes nothing, whatever else it edits.
        two.edit("ada", "bob")
        assert not two.lets_in("ada")
        two.edit("bob")
        assert not two.lets_in("ada")


async def test_a_key_that_is_put_in_again_is_taken_by_all_that_have_it(server) -> None:
    async with replica(server, "a", "ada", "bob") as one, replica(server, "b", "ada", "bob") as two:
        one.edit("bob")
        await eventually(lambda: not two.lets_in("ada"))
        one.edit("ada", "bob")
        assert one.lets_in("ada")
        await eventually(lambda: two.lets_in("ada"))


async def test_what_was_revoked_while_the_store_was_away_is_told_when_it_is_back_and_so_is_what_it_forgot(
    server,
) -> None:
    async with replica(server, "a", "ada", "bob") as one, replica(server, "b", "ada", "bob") as two:
        one.edit("bob")
        await eventually(lambda: not two.lets_in("ada"))
        server.kill()
        await eventually(lambda: not one.store.is_up)
        one.edit()
        assert two.lets_in("bob")
        server.start()
        await eventually(lambda: not two.lets_in("bob"))
        async with replica(server, "c", "ada") as three:
            await eventually(lambda: not three.lets_in("ada"))


async def test_what_was_revoked_stays_so_when_the_key_of_the_cluster_is_replaced(server) -> None:
    async with replica(server, "a", "ada", "bob") as one:
        one.edit("bob")
        await one.revocations.look()
        one.store._cipher.take([b"new"])
        await one.revocations.look()
        async with replica(server, "b", "ada", "bob", secret=b"new") as two:
            await eventually(lambda: not two.lets_in("ada"))


async def test_nobody_without_the_key_of_the_cluster_revokes_anything(server) -> None:
    async with (
        replica(server, "a", "ada", secret=b"other") as stranger,
        replica(server, "b", "ada") as one,
        replica(server, "c", "ada", "bob") as two,
    ):
        stranger.edit()
        await stranger.revocations.aclose()
        two.edit("ada")
        # What was said later is heard, so what was said before was not believed.
        await eventually(lambda: one.entrance._revoked)
        assert one.lets_in("ada")


async def test_no_hash_of_a_key_stands_in_the_store(server) -> None:
    async with replica(server, "a", "ada") as one, replica(server, "b", "ada") as two:
        one.edit()
        await eventually(lambda: not two.lets_in("ada"))
        found = server.ask("HGETALL", one.store.key(WHAT))
        assert found
        assert bytes.fromhex(hash_of(KEYS["ada"]).removeprefix("sha256:")) not in found
        assert hash_of(KEYS["ada"]).removeprefix("sha256:").encode() not in found
