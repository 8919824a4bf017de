"""A public server's tool that runs as a task of 2025-11-25 alone, called through the mesh by clients that know nothing of tasks."""

import contextlib
import json
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import ElicitResult
from tests.kit.node import needs_node, node_command
from tests.kit.program import serve
from tests.kit.sdk import connected
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, needs_node]

TOOL = "everything_simulate-research-query"
RELATED = "io.modelcontextprotocol/related-task"
CLIENTS = {"legacy": ("2025-11-25", "snake"), "auto": ("2026-07-28", "comedy")}


@contextlib.contextmanager
def serving(folder: Path, upstream: dict[str, Any]) -> Iterator[str]:
    """A mesh with the server as its one upstream."""
    file = folder / "mesh.yaml"
    # Node takes its time to start.
    file.write_text(json.dumps({"server": {"list_grace": "20s"}, "upstreams": {"everything": upstream}}))
    with serve(file, folder / "log") as mesh:
        yield mesh.url


@contextlib.contextmanager
def listening() -> Iterator[str]:
    """The server over HTTP, at a port that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    line, environment = node_command("mcp-server-everything", "streamableHttp"), {**os.environ, "PORT": str(port)}
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            assert any(f"port {port}" in said for said in server.stderr or ())
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            server.kill()


async def researches(url: str, mode: str) -> None:
    """A client finds an ordinary tool: it is listed so, asks, tells how it gets on, and answers."""
    version, answer = CLIENTS[mode]
    asked: list[Any] = []
    steps: list[float] = []
    told: list[str | None] = []

    async def elicit(_context: Any, params: Any) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="accept", content={"interpretation": answer})

    async def progress(progress: float, _total: float | None, message: str | None) -> None:
        steps.append(progress)
        told.append(message)

    async with connected(url, mode=mode, elicitation_callback=elicit) as client:
        assert client.protocol_version == version
        (tool,) = [tool for tool in (await client.list_tools()).tools if tool.name == TOOL]
        assert tool.execution is None
        arguments = {"topic": f"python for {mode}", "ambiguous": True}
        result = await client.call_tool(TOOL, arguments, progress_callback=progress)
        assert result.is_error is False
        assert f"python for {mode} ({answer})" in result.content[0].text
        assert RELATED not in (result.meta or {})
        (question,) = asked
        assert f"python for {mode}" in question.message
        assert RELATED not in (question.meta or {})
        assert told[:2] == ["Gathering sources...", "Analyzing content..."]
        assert f'Continuing with interpretation: "{answer}"...' in told
        assert steps == sorted(set(steps))


async def leaves(url: str, mode: str) -> None:
    """A client gives the call up as soon as the tool says how it gets on."""
    async with connected(url, mode=mode) as client:
        with anyio.CancelScope() as scope:

            async def leave(*_progress: object) -> None:
                scope.cancel()

            await client.call_tool(TOOL, {"topic": f"tea for {mode}"}, progress_callback=leave)
        assert scope.cancelled_caught


async def test_a_tool_that_needs_a_task_is_an_ordinary_tool_of_a_command(tmp_path: Path) -> None:
    received, sent = tmp_path / "received.jsonl", tmp_path / "sent.jsonl"
    server = shlex.join(node_command("mcp-server-everything", "stdio"))
    line = f"tee -a {received} | {server} | tee -a {sent}"
    # In one process for all: the server says of each question which task it is of.
    program = {"command": "/bin/sh", "args": ["-c", line], "session": "shared"}

    with serving(tmp_path, program) as url:
        async with anyio.create_task_group() as clients:
            for mode in CLIENTS:
                clients.start_soon(researches, url, mode)
                clients.start_soon(leaves, url, mode)
        cancelled = "Client cancelled task execution."
        await eventually(lambda: sent.read_text().count(f'"statusMessage":"{cancelled}"') == len(CLIENTS))
        assert received.read_text().count('"tasks/cancel"') == len(CLIENTS)


async def test_a_tool_that_needs_a_task_is_an_ordinary_tool_at_a_url(tmp_path: Path) -> None:
    with listening() as server, serving(tmp_path, {"url": server}) as url:
        async with anyio.create_task_group() as clients:
            for mode in CLIENTS:
                clients.start_soon(researches, url, mode)
                clients.start_soon(leaves, url, mode)
