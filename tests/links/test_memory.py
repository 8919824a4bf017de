"""Links to servers of the SDK in this process."""

import asyncio
import contextlib

import anyio
import pytest
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.links.memory import MemoryEndpoint
from meshproxy.wire.codec import loads
from meshproxy.wire.protocol import Era
from tests.kit.links import Calls, Listens, call, connect
from tests.kit.processes import nothing_left
from tests.kit.waiting import DEADLINE, eventually
from tests.servers import basic

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[Era.LEGACY, Era.MODERN])
def endpoint(request):
    made = MemoryEndpoint("basic", basic.kit("basic").server())
    made.known.era = request.param
    return made


@pytest.fixture
async def listener():
    return Listens()


@pytest.fixture
async def link(endpoint, listener):
    async with nothing_left():
        made = await connect(endpoint, listener)
        assert endpoint.statistics() == {"links": 1}
        yield made
        await endpoint.aclose()
        assert endpoint.statistics() == {"links": 0}


def text(result):
    return result["content"][0]["text"]


async def test_an_sdk_server_is_spoken_to_in_either_era(link, endpoint):
    assert link.era is endpoint.known.era
    assert link.server["capabilities"]["tools"]
    assert text(await call(link, "echo", text="ä")) == "ä"
    assert any(tool["name"] == "echo" for tool in loads(await link.request("tools/list", {}))["tools"])


async def test_an_mcp_server_is_taken_as_it_is():
    server = MCPServer("small", instructions="Be brief.")

    @server.tool()
    def double(n: int) -> int:
        return 2 * n

    async with nothing_left():
        endpoint = MemoryEndpoint("small", server)
        link = await connect(endpoint)
        assert (link.era, link.server["instructions"]) == (Era.MODERN, "Be brief.")
        assert text(await call(link, "double", n=21)) == "42"
        await endpoint.aclose()


async def test_an_error_is_handed_on(link):
    with pytest.raises(RpcError) as raised:
        await link.request("no/such", {})
    assert raised.value.code == -32601


async def test_what_is_said_within_a_call_belongs_to_it(link, listener):
    mine = Calls(wants_progress=True, log_level="debug", capabilities={"elicitation": {"form": {}}})
    await call(link, "progress", mine, n=100)
    await call(link, "log", mine, n=2)
    assert [told[1].get("progress") for told in mine.told] == [*range(1, 101), None, None]
    mine.answer = {"action": "accept", "content": {"answer": "42"}}
    result = await call(link, "ask", mine)
    if link.era is Era.LEGACY:
        assert "42" in text(result)
        assert len(mine.asked) == 1
    else:
        assert result["resultType"] == "input_required"
    assert not listener.asked
    assert not [told for told in listener.told if told[0] == "notifications/message"]


async def test_a_call_that_is_given_up_is_cancelled(link, tmp_path):
    marker = tmp_path / "marker"
    waiting = asyncio.create_task(call(link, "hold", marker=str(marker)))
    await eventually(marker.with_suffix(".started").exists)
    waiting.cancel()
    await asyncio.wait([waiting])
    await eventually(marker.with_suffix(".cancelled").exists)
    assert link.is_open


async def test_closing_ends_what_is_under_way(link, listener, tmp_path):
    marker = tmp_path / "marker"
    waiting = asyncio.create_task(call(link, "hold", marker=str(marker)))
    await eventually(marker.with_suffix(".started").exists)
    await link.aclose()
    with pytest.raises(AnswerLost, match="the link is closed"):
        await waiting
    assert marker.with_suffix(".cancelled").exists()
    assert not listener.closed
    with pytest.raises(UpstreamUnavailable):
        await call(link, "echo", text="")
    await link.notify("notifications/x")


async def test_each_link_has_a_lifespan_of_its_own():
    alive: list[int] = []

    @contextlib.asynccontextmanager
    async def lifespan(_server):
        alive.append(1)
        yield {}
        alive.pop()

    endpoint = MemoryEndpoint("x", Server("x", lifespan=lifespan))
    async with nothing_left():
        first, _second = await connect(endpoint), await connect(endpoint)
        assert len(alive) == 2
        await first.aclose()
        assert len(alive) == 1
        await endpoint.aclose()
        assert not alive


async def test_a_server_that_fails_at_its_start_is_told():
    @contextlib.asynccontextmanager
    async def lifespan(_server):
        raise ZeroDivisionError
        yield

    async with nothing_left():
        with pytest.raises(UpstreamUnavailable, match="the server failed: ZeroDivisionError"):
            await connect(MemoryEndpoint("x", Server("x", lifespan=lifespan)))


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_server_that_does_not_start_is_given_up(cancelled):
    @contextlib.asynccontextmanager
    async def lifespan(_server):
        await anyio.sleep_forever()
        yield

    async with nothing_left():
        endpoint = MemoryEndpoint("x", Server("x", lifespan=lifespan))
        if cancelled:
            connecting = asyncio.create_task(connect(endpoint))
            await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
        else:
            with pytest.raises(UpstreamUnavailable, match=r"did not answer initialize within 0\.05 s"):
                await connect(endpoint, timeout=0.05)


async def test_a_close_that_is_cancelled_leaves_nothing():
    @contextlib.asynccontextmanager
    async def lifespan(_server):
        yield {}
        await anyio.sleep_forever()

    async with nothing_left():
        link = await connect(MemoryEndpoint("x", Server("x", lifespan=lifespan)))
        closing = asyncio.create_task(link.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing


async def test_many_calls_at_once_find_their_answers(link):
    async with asyncio.timeout(DEADLINE):
        results = await asyncio.gather(*(call(link, "echo", text=str(n)) for n in range(100)))
    assert [text(result) for result in results] == [str(n) for n in range(100)]
