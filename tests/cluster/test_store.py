"""The store that replicas share, and who is there by it: with a real server, which is killed and comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from meshproxy.cluster.cipher import Cipher
from meshproxy.cluster.presence import Address
from meshproxy.cluster.pulse import Pulse
from meshproxy.cluster.store import Away, Script, Store
from meshproxy.cluster.store_url import StoreUrl
from tests.kit.redis_server import RedisServer, needs_redis, redis_server
from tests.kit.waiting import eventually, within

pytestmark = [pytest.mark.anyio, needs_redis]

ECHO = Script("return ARGV[1]")
SLOW = Script("local n = 0 while n < 2e8 do n = n + 1 end return n")
KEYS = [b"one"]
ADDRESSES = {"aaaa": Address("127.0.0.1", 9000), "bbbb": Address("::1", 9001), "cccc": None}


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def store_at(url: str, keys: list[bytes] = KEYS, mesh: str = "mesh") -> AsyncIterator[Store]:
    store = Store(StoreUrl.parse(url), mesh, Cipher(keys))
    try:
        yield store
    finally:
        await store.aclose()


@contextlib.asynccontextmanager
async def replica(url: str, name: str, keys: list[bytes] = KEYS) -> AsyncIterator[Pulse]:
    async with store_at(url, keys) as store:
        await store.start(10)
        pulse = Pulse(store, name, ADDRESSES[name])
        await pulse.start()
        try:
            yield pulse
        finally:
            await pulse.aclose()


async def test_a_script_is_done_there(server) -> None:
    async with store_at(server.url) as store:
        await store.start(10)
        assert await store.do(ECHO, [], ["hello"]) == b"hello"
        assert store.status()["state"] == "up"


async def test_without_the_store_whoever_asks_is_told_at_once_and_once_in_the_log(server, journal) -> None:
    server.kill()
    async with store_at(server.url) as store:
        await store.start(10)
        for _ in range(3):
            with pytest.raises(Away):
                await store.do(ECHO, [], ["hello"])
        assert store.status() == {"state": "away", "since": store.status()["since"], "reason": store.reason}
        server.start()
        await eventually(lambda: store.is_up)
        assert await store.do(ECHO, [], ["hello"]) == b"hello"
    assert [event["event"] for event in journal.all] == ["cluster.store_away", "cluster.store_back"]


async def test_it_is_used_again_after_it_was_killed(server) -> None:
    async with store_at(server.url) as store:
        await store.start(10)
        changes: list[bool] = []
        store.on_change.append(lambda: changes.append(store.is_up))
        server.kill()
        with pytest.raises(Away):
            await store.do(ECHO, [], ["hello"])
        server.start()
        await eventually(lambda: store.is_up)
        assert await store.do(ECHO, [], ["hello"]) == b"hello"
        assert changes == [False, True]
        assert store.losses == 1


async def test_whoever_cannot_wait_gives_a_slow_store_up_and_others_go_on_with_it(server) -> None:
    async with store_at(server.url) as store:
        await store.start(10)
        with pytest.raises(Away, match=r"not answered within 0\.05 s"):
            await store.do(SLOW, [], [], within=0.05)
        assert store.is_up


async def test_what_a_store_refuses_is_told_without_what_was_sent(tmp_path, journal) -> None:
    with redis_server(tmp_path, "--requirepass", "open-sesame") as server:
        url = server.url.replace("//", "//:wrong-password@")
        async with store_at(url) as store:
            await store.start(10)
            assert not store.is_up
            assert "wrong-password" not in f"{journal.all} {store.status()} {store!r} {StoreUrl.parse(url)!r}"
        async with store_at(server.url.replace("//", "//:open-sesame@")) as store:
            await store.start(10)
            assert store.is_up


async def test_a_cluster_is_asked_by_any_of_its_nodes(tmp_path) -> None:
    with redis_server(tmp_path, "--cluster-enabled", "yes") as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        await eventually(lambda: b"cluster_state:ok" in server.ask("CLUSTER", "INFO"))
        url = server.url.replace("redis://", "redis+cluster://").removesuffix("/0")
        async with replica(url, "aaaa") as one, replica(url, "bbbb"):
            await one._beat()
            assert one.addresses == {ADDRESSES["bbbb"]}


async def test_the_master_of_a_service_is_found_by_its_sentinel(tmp_path) -> None:
    file = tmp_path / "sentinel.conf"
    with redis_server(tmp_path) as server:
        file.write_text(f"sentinel monitor main 127.0.0.1 {server.port} 1\n")
        with redis_server(tmp_path, file=file) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
            async with replica(url, "aaaa") as one, replica(url, "bbbb"):
                await one._beat()
                assert one.addresses == {ADDRESSES["bbbb"]}


async def test_replicas_know_each_other_and_notice_who_leaves(server) -> None:
    async with replica(server.url, "aaaa") as one:
        async with replica(server.url, "bbbb") as two, replica(server.url, "cccc"):
            # Who was there before is known from the first moment.
            assert two.addresses == {ADDRESSES["aaaa"]}
            await eventually(lambda: one.count == 3)
            assert one.addresses == {ADDRESSES["bbbb"]}
        await eventually(lambda: one.count == 1)
        assert not one.addresses


async def test_a_replica_that_dies_is_gone_when_its_time_is_over(server) -> None:
    async with replica(server.url, "aaaa") as one, replica(server.url, "bbbb") as two:
        await eventually(lambda: one.addresses)
        # As by a signal: it does not say good-bye.
        assert two._beating is not None
        two._beating.cancel()
        await eventually(lambda: not one.addresses)


async def test_replicas_know_each_other_while_the_store_is_away_and_when_it_has_forgotten_them(server) -> None:
    async with replica(server.url, "aaaa") as one, replica(server.url, "bbbb"):
        await eventually(lambda: one.addresses)
        server.kill()
        await eventually(lambda: not one._store.is_up)
        assert one.addresses
        server.start()
        await eventually(lambda: one._store.is_up)
        await eventually(lambda: one.addresses)


async def test_a_mesh_with_another_key_is_none_of_ours(server) -> None:
    async with replica(server.url, "aaaa") as one, replica(server.url, "bbbb", [b"other"]) as two:
        await one._beat()
        assert (one.count, two.count) == (1, 1)
    async with replica(server.url, "aaaa", [b"new", b"one"]) as one, replica(server.url, "bbbb") as two:
        # The key is being replaced.
        await one._beat()
        assert (one.count, two.count) == (2, 1)


RAISE = Script("redis.call('HINCRBY', KEYS[1], ARGV[1], 1)")


async def test_whatever_has_changed_is_looked_at_and_again_if_that_failed(server) -> None:
    async with replica(server.url, "aaaa") as one, replica(server.url, "bbbb") as two:
        looks = 0
        looked = asyncio.Event()

        async def look() -> None:
            nonlocal looks
            looks += 1
            if looks == 2:
                raise Away("it cannot be asked")
            looked.set()

        one.watch("things", look)
        # What happened before it came, it has to learn, too.
        await within(looked.wait())
        looked.clear()
        await two._store.do(RAISE, [two._store.key("versions")], ["things"])
        await within(looked.wait())
        assert looks == 3


async def test_a_url_has_one_of_three_forms() -> None:
    plain = StoreUrl.parse("valkeys://me:p%40ss@[::1]:6380/3?ssl_ca_certs=ca.pem")
    assert (plain.kind, plain.hosts, plain.is_encrypted, plain.database) == ("", (("::1", 6380),), True, 3)
    assert (plain.user, plain.password, plain.files) == ("me", "p@ss", (("ssl_ca_certs", "ca.pem"),))
    assert str(plain) == "[::1]:6380"
    assert not StoreUrl.parse("redis://a").is_encrypted
    sentinel = StoreUrl.parse("redis+sentinel://:pw@a,b:26380/main/1")
    assert (sentinel.kind, sentinel.hosts, sentinel.service, sentinel.database) == (
        "sentinel",
        (("a", 26379), ("b", 26380)),
        "main",
        1,
    )
    cluster = StoreUrl.parse("rediss+cluster://a,b")
    assert (cluster.kind, cluster.hosts) == ("cluster", (("a", 6379), ("b", 6379)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://secret:6379", "no address of a store"),
        ("redis://a,secret", "several servers"),
        ("redis://secret/x", "no number of a database"),
        ("redis+cluster://secret/1", "no number of a database"),
        ("redis+sentinel://secret", "does not name the service"),
        ("redis://secret:99999", "a host or a port"),
        ("redis://a?secret=1", "a query that is none of"),
    ],
)
async def test_another_url_is_refused_with_a_remedy(text, told) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        StoreUrl.parse(text)
    assert "secret" not in str(refused.value)
