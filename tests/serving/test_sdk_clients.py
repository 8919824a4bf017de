"""The Python SDK's clients, of both eras, over every transport."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import ListRootsResult, Root
from meshproxy.serving.memory import connect_memory
from tests.kit.echo import EchoHandler, served
from tests.kit.messages import text_of
from tests.kit.places import ROOT
from tests.kit.waiting import within

pytestmark = pytest.mark.anyio

EVERYWHERE = pytest.mark.parametrize(
    ("transport", "mode"), [(t, m) for t in ("http", "stdio", "memory") for m in ("legacy", "auto")]
)


@asynccontextmanager
async def connected(transport: str, mode: Any, **options: Any) -> AsyncIterator[Client]:
    if transport == "http":
        async with served() as server, Client(server.url, mode=mode, **options) as client:
            yield client
    else:
        target: Any = connect_memory(EchoHandler())
        if transport == "stdio":
            target = StdioServerParameters(
                command=sys.executable, args=["-m", "tests.serving.stdio_server"], cwd=str(ROOT)
            )
        async with Client(target, mode=mode, **options) as client:
            yield client


@EVERYWHERE
async def test_a_client_lists_calls_and_hears_of_progress(transport: str, mode: str) -> None:
    heard: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with connected(transport, mode) as client:
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
        assert "echo" in [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("echo", {"text": "ü\n\u2028"})
        assert result.content[0].text == "ü\n\u2028"  # type: ignore[union-attr]
        await client.call_tool("progress", {"steps": 20}, progress_callback=on_progress)
        assert heard == list(range(20))
        with pytest.raises(MCPError, match="it failed"):
            await client.call_tool("fail", {"code": -32602})


@pytest.mark.parametrize("transport", ["http", "stdio", "memory"])
async def test_a_legacy_client_can_be_asked(transport: str) -> None:
    async def roots(_: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri="file:///a")])  # type: ignore[arg-type]

    async with connected(transport, "legacy", list_roots_callback=roots) as client:
        result = await client.call_tool("ask", {})
        assert "file:///a" in result.content[0].text  # type: ignore[union-attr]


@EVERYWHERE
async def test_sixteen_calls_at_once_are_each_answered(transport: str, mode: str) -> None:
    async with connected(transport, mode) as client:
        results = await asyncio.gather(*(client.call_tool("echo", {"text": str(number)}) for number in range(16)))
        assert [result.content[0].text for result in results] == [str(n) for n in range(16)]  # type: ignore[union-attr]


async def test_a_session_hears_what_belongs_to_no_request() -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async with (
        served() as server,
        streamable_http_client(server.url) as (read, write, *_),
        ClientSession(read, write, message_handler=heard.put) as session,
    ):
        await session.initialize()
        server.handler.downstreams[0].notify("notifications/tools/list_changed", None)
        assert (await within(heard.get())).method == "notifications/tools/list_changed"
        result = await session.call_tool("echo", {"text": "hi"})
        assert text_of({"result": result.model_dump()}) == "hi"
    # Leaving, the client ended its session.
    assert server.app.statistics()["sessions"] == 0


async def test_a_client_whose_stream_is_closed_comes_back_for_its_answer() -> None:
    async with served(retry_ms=10) as server, Client(server.url, mode="legacy") as client:
        polled = asyncio.ensure_future(client.call_tool("poll", {}))
        await within(server.handler.started.wait())
        server.handler.gate.set()
        assert (await within(polled)).content[0].text == "polled"  # type: ignore[union-attr]
