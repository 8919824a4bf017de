"""Tokens that end while meshes use them: one refresh for all who wait, in any process, and none that is lost."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from meshproxy.errors import RpcError
from tests.kit.authority import Authority, Request, authority
from tests.kit.logged_in import log_in, meshed
from tests.kit.program import Serving, serve
from tests.kit.sdk import connected
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def serving(file: Path, log: str) -> AsyncIterator[Serving]:
    """The program in a process of its own, whose upstreams may be in this one."""
    async with contextlib.AsyncExitStack() as stack:
        running = serve(file, file.parent / log)
        mesh = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        await asyncio.to_thread(mesh.await_settled)
        yield mesh


def config(there: Authority, folder: Path) -> Path:
    file = folder / "mesh.yaml"
    upstreams = {"there": {"url": there.url, "auth": "oauth"}}
    file.write_text(json.dumps({"state": str(folder / "state"), "upstreams": upstreams}))
    return file


async def calls(mesh: Serving, count: int) -> list[Any]:
    async with connected(mesh.url) as client:
        answers = await asyncio.gather(*(client.call_tool("there_whoami", {}) for _ in range(count)))
        return [answer.content[0].text for answer in answers]


async def test_twenty_calls_over_an_expired_token_cause_one_refresh_also_across_two_processes(tmp_path: Path) -> None:
    async with authority() as there:
        file = config(there, tmp_path)
        await log_in(there, tmp_path / "state")
        async with serving(file, "one.log") as one, serving(file, "other.log") as other:
            there.expire()
            found = await asyncio.gather(calls(one, 10), calls(other, 10))
            assert found == [["done"] * 10] * 2
            assert len(there.grants("refresh_token")) == 1


async def test_a_mesh_that_is_killed_between_a_refresh_and_its_use_starts_again_with_a_token_that_works(
    tmp_path: Path,
) -> None:
    async with authority() as there:
        file = config(there, tmp_path)
        await log_in(there, tmp_path / "state")
        async with serving(file, "one.log") as mesh:
            there.expire()
            handle = there.handle

            async def killing(request: Request) -> Any:
                if request.path == "/mcp" and there.grants("refresh_token"):
                    # The first that is said with the new token.
                    there.handle = handle  # type: ignore[method-assign]
                    mesh.process.send_signal(signal.SIGKILL)
                    raise ConnectionError
                return await handle(request)

            there.handle = killing  # type: ignore[method-assign]
            await asyncio.gather(calls(mesh, 1), return_exceptions=True)
            assert await asyncio.to_thread(mesh.process.wait) == -signal.SIGKILL
        async with serving(file, "other.log") as mesh:
            assert await calls(mesh, 1) == ["done"]
            assert len(there.grants("refresh_token")) == 1


async def test_a_refresh_token_that_was_revoked_costs_its_upstream_a_login_and_nobody_else_anything(
    tmp_path: Path,
) -> None:
    async with authority() as there, authority() as other:
        await log_in(there, tmp_path)
        await log_in(other, tmp_path, name="other")
        async with meshed(there, tmp_path, others={"other": {"url": other.url, "auth": "oauth"}}) as mesh:
            there.end()
            refused, *rest = await asyncio.gather(
                mesh.call(), *(mesh.client.call("other_whoami") for _ in range(5)), return_exceptions=True
            )
            assert isinstance(refused, RpcError)
            assert "needs a login: the login has ended" in str(refused)
            assert [one["content"][0]["text"] for one in rest] == ["done"] * 5  # type: ignore[index]
            await eventually(lambda: mesh.state == "needs login")
            assert mesh.mesh.status()["other"]["phase"] == "up"
            assert not other.grants("refresh_token")
            assert [request for request in other.requests if request.path == "/mcp"][-1].method == "POST"
