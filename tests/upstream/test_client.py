"""A client of one's own: to a program, entered and left, and what it says of what it finds."""

import sys
from pathlib import Path
from typing import Any

import pytest
from meshproxy.errors import RpcError, UpstreamUnavailable
from meshproxy.kinds import Kind
from meshproxy.links.stdio import StdioEndpoint
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.links.target import Command
from meshproxy.relay.handlers import Handlers
from meshproxy.upstream.client import CLIENT, ProxyClient, StatefulProxyClient
from tests.kit.clients import Legacy
from tests.kit.handlers import Quiet
from tests.kit.light import LIGHT, received
from tests.kit.processes import children, commands
from tests.kit.waiting import eventually
from tests.kit.wires import Wire, WireEndpoint

pytestmark = pytest.mark.anyio


def light(*arguments: str) -> ProxyClient:
    return ProxyClient(Command(sys.executable, ["-IS", LIGHT, *arguments]), name="up")


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_an_entered_client_lists_calls_reads_and_renders(era: str) -> None:
    offers = ("--tools", "a,b", "--resources", "r://x", "--prompts", "p", "--label", "here")
    async with light(*offers, "--era", era) as client:
        assert [tool["name"] for tool in await client.list(Kind.TOOL)] == ["a", "b"]
        assert await client.list(Kind.TEMPLATE) == ()
        assert (await client.call_tool("a", {"tag": 1}))["structuredContent"]["tag"] == 1
        assert (await client.read_resource("r://x"))["contents"] == [{"uri": "r://x", "text": "here"}]
        assert (await client.get_prompt("p", {"x": "y"}))["messages"]
        assert client.link.era == era
        with pytest.raises(RpcError, match="Method not found"):
            await client.request("initialize" if era == "modern" else "server/discover")
        assert len(commands()) == 1
    await eventually(lambda: children() == {})


async def test_a_client_that_is_not_entered_says_so() -> None:
    client = light()
    with pytest.raises(UpstreamUnavailable, match="async with"):
        await client.call_tool("a")
    async with client:
        await client.call_tool("echo")
    with pytest.raises(UpstreamUnavailable, match="async with"):
        await client.call_tool("echo")


async def test_a_client_introduces_itself_and_declares_what_it_can(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with light("--journal", str(seen)):
        pass
    (hello,) = [one["params"] for one in received(seen) if one.get("method") == "initialize"]
    assert (hello["clientInfo"], hello["capabilities"]) == (CLIENT, {})


async def test_a_client_that_only_asks_answers_no_question() -> None:
    async with light() as client:
        said = await client.call_tool("echo", {"ask": [[["roots/list", {}]]]})
        (answer,) = said["structuredContent"]["answers"]
        assert answer["code"] == -32601


async def test_a_target_is_a_url_a_command_or_an_endpoint() -> None:
    url = ProxyClient("http://127.0.0.1:9/mcp", headers={"X-Key": "k"})
    assert isinstance(url.endpoint, HttpEndpoint)
    assert url.name == "http://127.0.0.1:9/mcp"
    with pytest.raises(UpstreamUnavailable, match=r"127\.0\.0\.1:9"):
        async with url:
            pass
    command = ProxyClient(Command("npx", ["-y", "x"]))
    assert isinstance(command.endpoint, StdioEndpoint)
    assert command.name == "npx"
    endpoint = WireEndpoint(Wire(capabilities={}), name="made by hand")
    async with ProxyClient(endpoint) as client:
        assert client.name == "made by hand"
    assert endpoint.closed == 1


async def test_a_stateful_client_makes_one_for_each_session_with_its_handlers() -> None:
    async def roots(_context: Any, _params: Any) -> Any:
        return {"roots": []}

    stateful = StatefulProxyClient(WireEndpoint(), name="up", handlers=Handlers(roots=roots), timeout=3.0)
    made = [stateful.new_stateful(Legacy(Quiet()).session) for _ in range(2)]
    assert made[0] is not made[1]
    for client in made:
        assert (client.endpoint, client.name, client.timeout) == (stateful.endpoint, "up", 3.0)
        assert client.handlers.roots is roots
    assert stateful.new_stateful() is not stateful.new() is not stateful
