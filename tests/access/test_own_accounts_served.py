"""Accounts of callers' own as people meet them: the program, the SDK's client in front of it, and the SDK's protected server behind it."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.access.conftest import ADA, BOB, key
from tests.kit.program import Serving, serve
from tests.kit.sdk import connected
from tests.kit.sdk_protected import Provider, agree, protected
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def serving(folder: Path, url: str, log: str) -> AsyncIterator[Serving]:
    file = folder / "mesh.yaml"
    document = {
        "state": str(folder / "state"),
        "server": {"auth": {"keys": [key("ada", ADA), key("bob", BOB)]}},
        "upstreams": {"there": {"url": url, "auth": {"type": "oauth", "per": "caller"}}},
    }
    file.write_text(json.dumps(document))
    running = serve(file, folder / log)
    mesh = await asyncio.to_thread(running.__enter__)
    try:
        yield mesh
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def logs_in(url: str, provider: Provider, who: str) -> None:
    """What somebody does in a browser."""
    async with httpx2.AsyncClient(timeout=DEADLINE) as browser:
        page = await browser.get(url)
        (check,) = re.findall(r'name="check" value="([^"]+)"', page.text)
        sent = await browser.post(url, data={"check": check}, headers={"origin": url.partition("/login/")[0]})
        provider.who = who
        (to,) = re.findall(r'content="0;url=([^"]+)"', sent.text)
        done = await browser.get(await agree(unescape(to)))
        assert done.status_code == 200, done.text


@contextlib.asynccontextmanager
async def client(mesh: Serving, secret: str, provider: Provider, who: str, mode: str) -> AsyncIterator[Any]:
    """The SDK's client, whose user logs in as somebody where he is sent."""
    import mcp_types as types
    from mcp.client.streamable_http import streamable_http_client

    async def on_question(_context: Any, params: Any) -> Any:
        await logs_in(params.url, provider, who)
        return types.ElicitResult(action="accept")

    async with httpx2.AsyncClient(timeout=DEADLINE, headers={"authorization": f"Bearer {secret}"}) as http:
        transport = streamable_http_client(mesh.url, http_client=http)
        async with connected(transport, mode=mode, elicitation_callback=on_question) as found:
            yield found


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_user_of_the_sdk_is_sent_to_the_page_and_is_himself_at_the_server_also_after_a_restart(
    tmp_path: Path, mode: str
) -> None:
    async with protected() as (url, provider):
        async with (
            serving(tmp_path, url, "one.log") as mesh,
            client(mesh, ADA, provider, "ada@there", mode) as ada,
            client(mesh, BOB, provider, "bob@there", mode) as bob,
        ):
            for one in (ada, bob):
                assert [tool.name for tool in (await one.list_tools()).tools] == ["there_login"]
                answer = await one.call_tool("there_login", {})
                assert "You are logged in at there" in answer.content[0].text
            for one, who in ((ada, "ada@there"), (bob, "bob@there"), (ada, "ada@there")):
                assert (await one.call_tool("there_whoami", {})).content[0].text == who
        assert provider.granted["authorization_code"] == 2
        provider.expire()
        async with serving(tmp_path, url, "other.log") as mesh, client(mesh, ADA, provider, "nobody", mode) as ada:
            assert (await ada.call_tool("there_whoami", {})).content[0].text == "ada@there"
        assert provider.granted == {"authorization_code": 2, "refresh_token": 1}
