"""Several URLs of one upstream: work is spread, sessions stay, one that is gone is missed by nobody, and one that comes back is used again."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from meshproxy.errors import UpstreamUnavailable
from meshproxy.links import replicas
from meshproxy.links.replicas import ReplicatedEndpoint
from meshproxy.supervision.states import State
from meshproxy.upstream.client import ProxyClient
from meshproxy.wire.protocol import Era
from tests.conftest import SHARED
from tests.kit.clients import Client, Legacy, Modern
from tests.kit.running import listening
from tests.kit.sockets import listener
from tests.kit.waiting import DEADLINE, eventually
from tests.upstream.test_provider import becomes, providing

pytestmark = pytest.mark.anyio


class Replicas:
    """Servers alike, each in a process of its own, which can be ended and started again at the same port."""

    def __init__(self, stack: ExitStack, count: int, era: str = "dual") -> None:
        self._era = era
        self._ends = [stack.enter_context(ExitStack()) for _ in range(count)]
        self.running = [end.enter_context(listening("basic", era=era)) for end in self._ends]

    def end(self, at: int) -> None:
        self._ends[at].close()

    def start(self, at: int) -> None:
        """Start it again, unless it runs."""
        if self.running[at].process.poll() is not None:
            port = str(self.running[at].port)
            self.running[at] = self._ends[at].enter_context(listening("basic", "--port", port, era=self._era))
            SHARED.add(self.running[at].process.pid)

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.running]

    def pids(self) -> list[int]:
        return [each.process.pid for each in self.running]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def started() -> Iterator[Replicas]:
    with ExitStack() as stack:
        yield Replicas(stack, 3)


@pytest.fixture
def three(started: Replicas) -> Replicas:
    for at in range(3):
        started.start(at)
    return started


@pytest.fixture(autouse=True)
def no_long_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "REST", (0.2, 0.2))


def endpoint(urls: list[str]) -> ReplicatedEndpoint:
    return ReplicatedEndpoint("up", urls)


async def pid(client: Client) -> int:
    return int(await said(client, "pid"))


async def said(client: Client, tool: str) -> str:
    return str((await client.call(tool))["content"][0]["text"])


def states(provider: Any) -> list[str]:
    return [each["state"] for each in provider.status()["replicas"]]


async def all_there(client: Client, count: int = 3) -> None:
    """Until so many have answered."""
    seen: set[int] = set()
    async with asyncio.timeout(DEADLINE):
        while len(seen) < count:
            seen.add(await pid(client))


async def test_requests_without_a_session_are_spread_evenly(three: Replicas) -> None:
    async with providing(ProxyClient(endpoint(three.urls), name="up")) as (server, _provider):
        client = Modern(server)
        await all_there(Modern(server))
        asked = Counter([await pid(client) for _ in range(30)])
        assert asked.keys() == set(three.pids())
        assert max(asked.values()) - min(asked.values()) <= 2


async def test_one_that_is_busy_is_asked_last(three: Replicas, tmp_path: Path) -> None:
    async with providing(ProxyClient(endpoint(three.urls), name="up")) as (server, _provider):
        client = Modern(server)
        await all_there(Modern(server))
        marker = tmp_path / "held"
        held = asyncio.create_task(Modern(server).call("hold", marker=str(marker)))
        await eventually(Path(f"{marker}.started").exists)
        asked = {await pid(client) for _ in range(12)}
        assert len(asked) == 2, "the one that is held has a call under way, and the others have none"
        Path(f"{marker}.go").touch()
        await held
        assert len({await pid(client) for _ in range(12)}) == 3


async def test_a_session_stays_with_its_own(three: Replicas) -> None:
    async with providing(ProxyClient(endpoint(three.urls), name="up")) as (server, _provider):
        clients = [Legacy(server) for _ in range(6)]
        homes = [await pid(client) for client in clients]
        assert set(homes) == set(three.pids())
        assert [await pid(client) for client in clients] == homes
        counted = [json.loads(await said(client, "count"))["session"] for client in clients for _ in range(2)]
        assert counted == [1, 2] * 6


@pytest.mark.parametrize("era", [Legacy, Modern])
async def test_nobody_misses_one_that_is_gone(era: type[Client], three: Replicas) -> None:
    async with providing(ProxyClient(endpoint(three.urls), name="up"), session="isolated") as (server, provider):
        clients = [era(server) for _ in range(6)]
        await all_there(Modern(server))
        for client in clients:
            await pid(client)
        gone = three.pids()[0]
        three.end(0)
        # What is sent on a connection in the very moment of its end is lost, as with one server.
        await eventually(lambda: not provider.status()["replicas"][0]["connections"])
        asked = [await pid(client) for _ in range(5) for client in clients]
        assert gone not in asked
        assert len(set(asked)) == 2


async def test_one_that_comes_back_is_used_again(three: Replicas) -> None:
    async with providing(ProxyClient(endpoint(three.urls), name="up")) as (server, provider):
        client = Modern(server)
        await all_there(Modern(server))
        three.end(1)
        await eventually(lambda: not provider.status()["replicas"][1]["connections"])
        for _ in range(6):
            await pid(client)
        assert "resting" in states(provider) or "doubtful" in states(provider)
        three.start(1)
        back = three.pids()[1]
        async with asyncio.timeout(DEADLINE):
            while await pid(client) != back:
                pass
        await eventually(lambda: states(provider) == ["up", "up", "up"])


async def test_the_mesh_starts_with_the_one_that_is_there(three: Replicas) -> None:
    three.end(0)
    three.end(2)
    async with providing(ProxyClient(endpoint(three.urls), name="up")) as (server, provider):
        assert provider.is_up
        assert await pid(Modern(server)) == three.pids()[1]
        assert await pid(Legacy(server)) == three.pids()[1]


async def test_one_that_hangs_holds_up_nothing(three: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "PATIENCE", 0.3)
    with closing(listener()) as deaf:
        urls = [f"http://127.0.0.1:{deaf.getsockname()[1]}/mcp", *three.urls[:1]]
        async with providing(ProxyClient(endpoint(urls), name="up")) as (server, provider):
            assert provider.is_up
            assert await pid(Modern(server)) == three.pids()[0]


async def test_with_none_there_it_is_down_and_says_why(three: Replicas) -> None:
    for at in range(3):
        three.end(at)
    async with providing(ProxyClient(endpoint(three.urls), name="up")) as (server, provider):
        assert provider.is_down
        assert "connection refused" in provider.reason
        three.start(1)
        await becomes(provider, State.UP)
        assert await pid(Modern(server)) == three.pids()[1]


async def test_what_was_sent_is_never_sent_again(three: Replicas, tmp_path: Path) -> None:
    async with providing(ProxyClient(endpoint(three.urls), name="up")) as (server, _provider):
        await all_there(Modern(server))
        marker = tmp_path / "held"
        call = asyncio.create_task(Modern(server).call("hold", marker=str(marker)))
        started = Path(f"{marker}.started")
        await eventually(lambda: started.exists() and started.read_text())
        three.end(three.pids().index(int(started.read_text())))
        with pytest.raises(Exception, match="was lost"):
            await call
        assert int(started.read_text()) not in {await pid(Modern(server)) for _ in range(4)}


async def test_replicas_of_the_legacy_era_alone_are_shared_out_too() -> None:
    with ExitStack() as stack:
        servers = Replicas(stack, 2, era="legacy")
        async with providing(ProxyClient(endpoint(servers.urls), name="up")) as (server, _provider):
            clients = [Legacy(server) for _ in range(4)]
            assert {await pid(client) for client in clients} == set(servers.pids())
            assert await pid(Modern(server)) in servers.pids()
        made = endpoint(servers.urls[:1])
        with pytest.raises(UpstreamUnavailable, match="handshake"):
            await made.connect(
                client={"name": "c", "version": "1"}, capabilities={}, listener=_Deaf(), timeout=5, era=Era.MODERN
            )
        await made.aclose()


class _Deaf:
    def on_notification(self, link: Any, method: str, params: dict[str, Any]) -> None: ...

    async def on_request(self, link: Any, method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def on_closed(self, link: Any, reason: str) -> None: ...
