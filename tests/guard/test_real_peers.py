"""Limits before real peers: programs that are killed, servers that answer 5xx, clients that vanish."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from meshproxy.errors import RpcError
from meshproxy.guard.rules import Rules
from meshproxy.links.target import Command
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.supervision import backoff
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from tests.kit.clients import Legacy
from tests.kit.light import LIGHT, received, release
from tests.kit.messages import call, heads, modern
from tests.kit.raw_client import post, served
from tests.kit.raw_server import RawServer
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.web import Behaviour, Web, answer, error, refuse

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def providing(client: ProxyClient, **rules: Any) -> AsyncIterator[tuple[FastMCP, ProxyProvider]]:
    server = FastMCP()
    provider = ProxyProvider(client, name="up", session="shared", rules=Rules(**rules))
    server.add_provider(provider)
    async with server:
        async with asyncio.timeout(DEADLINE):
            await provider.settled()
        yield server, provider


def light(*arguments: str) -> ProxyClient:
    return ProxyClient(Command(sys.executable, ["-IS", LIGHT, *arguments]), name="up")


def calls(journal: Path) -> list[Any]:
    return [message for message in received(journal) if message.get("method") == "tools/call"]


async def test_a_tool_that_only_reads_survives_the_death_of_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF", (0.01, 0.01))
    monkeypatch.setattr("meshproxy.guard.rest.PATIENCE", DEADLINE)
    journal = tmp_path / "journal"
    schema = {"inputSchema": {"type": "object"}}
    look = json.dumps({"name": "look", "annotations": {"readOnlyHint": True}, **schema})
    async with providing(light("--journal", str(journal), "--define", look, "--tools", "do"), idempotent_tools=1) as (
        server,
        provider,
    ):
        client = Legacy(server)
        (pid,) = provider.status()["pids"]
        looking, doing = (asyncio.create_task(client.says(tool, hold=True)) for tool in ("look", "do"))
        await eventually(lambda: len(calls(journal)) == 2)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RpcError, match="SIGKILL"):
            await doing
        await eventually(lambda: len(calls(journal)) == 3)
        assert [message["params"]["name"] for message in calls(journal)].count("look") == 2
        (second,) = provider.status()["pids"]
        release(second)
        assert (await looking)["pid"] == second != pid


async def tools(request: Any) -> None:
    answer(request, {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})


@pytest.mark.parametrize(
    ("behaviour", "is_counted"),
    [
        (refuse(500), True),
        (refuse(502, b"<html>", b"text/html"), True),
        (refuse(503), True),
        (refuse(400), False),
        (refuse(429), False),
        (error(200, -32603, "a tool's own", ...), False),  # type: ignore[arg-type]  # the id of the request
    ],
)
async def test_the_breaker_counts_5xx_and_neither_4xx_nor_errors(behaviour: Behaviour, *, is_counted: bool) -> None:
    raw = RawServer()
    await raw.start()
    web = Web(raw)
    web.on["tools/list"], web.on["t"] = tools, behaviour
    try:
        async with providing(ProxyClient(web.url, name="up"), failures=2, pause=1000.0) as (server, provider):
            client = Legacy(server)
            for _ in range(3):
                with pytest.raises(RpcError) as raised:
                    await client.call("t")
            assert provider.status()["breaker"] == ("open" if is_counted else "closed")
            assert ("left in peace" in raised.value.message) == is_counted
    finally:
        await web.stop()
        await raw.stop()


async def test_a_client_that_vanishes_gives_up_its_place_in_the_queue() -> None:
    message, headers = modern(call("echo", hold=True))
    lines = [f"{name}: {value}" for name, value in heads(**headers).items()]
    request = post(json.dumps(message).encode(), *lines, target="/mcp")
    async with providing(light(), concurrency=1) as (server, provider), served(server.http_app()) as service:
        first, second, third = [await service.dial() for _ in range(3)]
        await first.send(request)
        await eventually(lambda: provider.status()["calls"] == 1)
        for client in (second, third):
            await client.send(request)
        await eventually(lambda: provider.status()["queued"] == 2)
        second.reset()
        await eventually(lambda: provider.status()["queued"] == 1)
        first.reset()
        await eventually(lambda: provider.status()["queued"] == 0)
        (pid,) = provider.status()["pids"]
        assert provider.status()["calls"] == 1
        third.reset()
        await eventually(lambda: provider.status()["calls"] == 0)
        # And the slot is free.
        assert (await Legacy(server).says("echo"))["pid"] == pid
