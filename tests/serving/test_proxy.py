"""`FastMCPProxy` and the provider behind it, in each shape in which FastMCP's are written, in front of real upstreams."""

import asyncio
import sys
from typing import Any

import mcp_types
import pytest
from mcp.server.mcpserver import MCPServer
from meshproxy import (
    ConfigError,
    FastMCP,
    FastMCPProxy,
    Kind,
    ProxyClient,
    ProxyProvider,
    ProxyResource,
    ProxyTemplate,
    ProxyTool,
    StatefulProxyClient,
)
from meshproxy.links.target import Command
from tests.kit.clients import Legacy, Modern
from tests.kit.light import LIGHT
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio


def command(*arguments: str) -> Command:
    return Command(sys.executable, ["-IS", LIGHT, *arguments])


def library() -> MCPServer:
    server = MCPServer("library")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.resource("book://{title}")
    def book(title: str) -> str:
        return f"The text of {title}"

    @server.prompt()
    def review(title: str) -> str:
        return f"Review {title}"

    return server


async def names(server: FastMCP) -> list[str]:
    async with asyncio.timeout(DEADLINE), server:
        return await Legacy(server).names()


async def test_a_proxy_is_made_with_a_client_factory_by_name() -> None:
    async def later() -> ProxyClient:
        return ProxyClient(library())

    assert await names(FastMCPProxy(client_factory=lambda: ProxyClient(library()), name="front")) == ["add"]
    assert await names(FastMCPProxy(client_factory=later)) == ["add"]
    assert await names(FastMCPProxy(library())) == ["add"]


async def test_a_provider_is_made_with_a_client_factory_by_name_or_place_and_a_time_to_live() -> None:
    for provider in (
        ProxyProvider(client_factory=lambda: ProxyClient(library())),
        ProxyProvider(lambda: ProxyClient(library()), 60),
        ProxyProvider(lambda: ProxyClient(library()), cache_ttl=0),
    ):
        server = FastMCP("front")
        server.add_provider(provider, namespace="remote")
        assert await names(server) == ["remote_add"]
        assert await provider.get_tasks() == ()


def test_a_provider_takes_one_of_both_and_nothing_else() -> None:
    client = ProxyClient(library())
    for arguments in ({}, {"client": client, "client_factory": lambda: client}):
        with pytest.raises(TypeError, match="client, or client_factory"):
            ProxyProvider(**arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not str; wrap it: ProxyClient"):
        ProxyProvider("http://127.0.0.1:9/mcp")  # type: ignore[arg-type]
    for made in (FastMCPProxy, lambda: FastMCPProxy(library(), client_factory=lambda: client)):
        with pytest.raises(TypeError, match="client, or client_factory"):
            made()


async def test_a_config_of_one_server_is_served_without_a_prefix_and_one_of_several_with_theirs() -> None:
    def entry(tool: str, **keys: Any) -> dict[str, Any]:
        return {"command": sys.executable, "args": ["-IS", LIGHT, "--tools", tool], **keys}

    assert await names(FastMCPProxy({"mcpServers": {"one": entry("a")}})) == ["a"]
    several = {"one": entry("a"), "two": entry("b", namespace="zwei"), "off": entry("c", disabled=True)}
    assert await names(FastMCPProxy({"mcpServers": several})) == ["one_a", "zwei_b"]
    assert await names(FastMCPProxy({"mcpServers": {"one": {}, "two": entry("b")}})) == ["b"]
    with pytest.raises(ConfigError, match="exclude each other"):
        FastMCPProxy({"mcpServers": {"one": entry("a", url="http://x"), "two": entry("b")}})


@pytest.mark.parametrize("shape", ["the method", "a function of its own", "the client"])
async def test_a_stateful_client_gives_each_session_a_process_of_its_own(shape: str) -> None:
    stateful = StatefulProxyClient(command())
    given: Any = {
        "the method": stateful.new_stateful,
        "a function of its own": lambda: stateful.new_stateful(),  # noqa: PLW0108  # one without parameters
        "the client": stateful,
    }[shape]
    async with asyncio.timeout(DEADLINE), FastMCPProxy(given) as server:
        clients = [Legacy(server) for _ in range(2)]
        pids = [{(await client.says("echo"))["pid"] for _ in range(2)} for client in clients]
        assert [len(one) for one in pids] == [1, 1]
        assert pids[0] != pids[1]


async def test_a_component_is_made_of_what_the_sdk_lists_and_a_client_factory() -> None:
    async def later() -> ProxyClient:
        return ProxyClient(library())

    listed = mcp_types.Tool(name="add", input_schema={"type": "object"})
    for factory in (lambda: ProxyClient(library()), later, ProxyClient(library())):
        tool = ProxyTool.from_mcp_tool(factory, listed)
        assert (await tool.run({"a": 1, "b": 2}))["structuredContent"] == {"result": 3}
        renamed = tool.model_copy(update={"name": "plus"})
        assert (await renamed.run({"a": 1, "b": 2}))["content"][0]["text"] == "3"


async def test_a_template_makes_a_resource_of_the_values_that_a_uri_had() -> None:
    provider = ProxyProvider(lambda: ProxyClient(library()))
    try:
        (template,) = await provider.components(Kind.TEMPLATE)
        assert isinstance(template, ProxyTemplate)
        made = await template.create_resource("book://far/away", {"title": "Middlemarch"})
        assert isinstance(made, ProxyResource)
        (content,) = (await made.read())["contents"]
        assert (content["uri"], content["text"]) == ("book://Middlemarch", "The text of Middlemarch")
    finally:
        await provider.aclose()


async def test_a_modern_client_is_served_by_a_proxy_too() -> None:
    async with asyncio.timeout(DEADLINE), FastMCPProxy(client_factory=lambda: ProxyClient(library())) as server:
        assert (await Modern(server).call("add", a=1, b=2))["structuredContent"] == {"result": 3}
