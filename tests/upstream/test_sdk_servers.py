"""Servers as the SDK's users write them lose nothing behind the mesh, whichever era their clients speak."""

from collections.abc import Callable
from typing import Any

import pytest
from meshproxy.links.target import Command
from meshproxy.upstream.client import ProxyClient
from tests.kit.clients import Client, Legacy, Modern
from tests.kit.places import ROOT
from tests.kit.running import Running, command
from tests.kit.waiting import eventually
from tests.upstream.test_provider import providing

pytestmark = pytest.mark.anyio

MESSAGE = "notifications/message"


@pytest.mark.parametrize("session", ["auto", "isolated"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("era", [Legacy, Modern])
async def test_a_server_of_the_sdk_loses_nothing(
    era: type[Client], transport: str, session: Any, shared_server: Callable[..., Running]
) -> None:
    line = command("everything")
    target = (
        shared_server("everything").url
        if transport == "http"
        else Command(line[0], line[1:], env={"PYTHONPATH": str(ROOT)}, cwd=str(ROOT))
    )
    async with providing(ProxyClient(target, name="up"), session=session) as (server, _provider):
        client, other = era(server), era(server)
        client.log_level = "debug"

        async def text(tool: str, _token: Any = None, **arguments: Any) -> str:
            return str((await client.call(tool, _token, **arguments))["content"][0]["text"])

        is_legacy = era is Legacy
        assert (await text("era")) == ("2025-11-25" if is_legacy else "2026-07-28")
        # A page that was opened is open still after a log line, whoever else comes meanwhile.
        assert await text("put_and_say", key=session, value="shop") == "shop"
        await other.call("pid")
        assert await text("take", key=session) == "shop"
        assert [line["data"] for line in client.heard.of(MESSAGE)] == [f"{session} is shop"]
        client.heard.clear()
        await text("narrate", "t", lines=8)
        told = [params.get("data", params.get("progress")) for _, params in client.heard.all]
        lines = [step for n in range(1, 9) for step in (f"line {n - 1}", n)]
        assert [step for step in told if step in lines] == [line for line in lines if line in told]
        assert [params["progress"] for params in client.heard.of("notifications/progress")] == [*range(1, 9)]
        assert len(client.heard.of(MESSAGE)) == 8
        if is_legacy:
            assert "answer" in await text("test_elicitation", message="Who?") or client.asked.methods()
            assert await text("test_sampling", prompt="hello") == "LLM response: hi"
            assert await text("sample_aside", prompt="hello") == "LLM response: hi"
            assert await text("list_roots") == "file:///here"
            assert [await text("count") for _ in range(3)] == ["1", "2", "3"]
            legacy = client
            assert isinstance(legacy, Legacy)
            legacy.notify("notifications/roots/list_changed")
            await eventually(lambda: _is(text("roots_changes"), "1"))


async def _is(saying: Any, what: str) -> bool:
    return str(await saying) == what
