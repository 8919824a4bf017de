"""How much of the package a plain call visits: what is not on its way costs it nothing, and need not be read to understand it."""

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import meshproxy
import pytest
from meshproxy import FastMCP, ProxyClient, ProxyProvider
from meshproxy.http.server import Http1Server
from meshproxy.serving import legacy_exchange, modern
from meshproxy.wire import messages
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

PACKAGE = Path(meshproxy.__file__).parent
UPSTREAM = Path(__file__).parent.parent / "bench" / "upstream.py"
MOST = {"legacy": (22, 20), "modern": (25, 24)}
"""Files and classes."""


class Visits:
    """The functions of the package that are entered while it is watched."""

    def __init__(self) -> None:
        self.functions: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def watched(self) -> Any:
        sys.setprofile(self._enter)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _enter(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)):
            name = code.co_qualname.partition(".<locals>")[0]
            self.functions[str(Path(code.co_filename).relative_to(PACKAGE)), name] += 1

    @property
    def files(self) -> set[str]:
        return {file for file, _ in self.functions}

    @property
    def classes(self) -> set[tuple[str, str]]:
        return {(file, name.rpartition(".")[0]) for file, name in self.functions if "." in name}


class Line:
    """One connection of a client to the mesh, in one era."""

    def __init__(self, era: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.era, self.reader, self.writer = era, reader, writer
        self.session = ""

    async def ask(self, method: str, **params: Any) -> Any:
        headers = self.session
        if self.era == "modern":
            headers = f"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n"
            headers += f"Mcp-Name: {params['name']}\r\n" if "name" in params else ""
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self.writer.write(
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        async with asyncio.timeout(DEADLINE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in head.split("\r\n")[1:])}
            answer = json.loads(await self.reader.readexactly(int(fields["content-length"])))
        if "mcp-session-id" in fields:
            self.session = f"Mcp-Session-Id: {fields['mcp-session-id']}\r\n"
        assert "result" in answer, answer
        return answer["result"]


@asynccontextmanager
async def line(era: str) -> AsyncIterator[Line]:
    """A mesh in this process before a server in another, and a client of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(UPSTREAM), "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        async with before(f"http://127.0.0.1:{port}/mcp") as place:
            reader, writer = await asyncio.open_connection(*place)
            opened = Line(era, reader, writer)
            try:
                if era == "legacy":
                    about = {
                        "protocolVersion": "2025-11-25",
                        "capabilities": {},
                        "clientInfo": {"name": "t", "version": "1"},
                    }
                    await opened.ask("initialize", **about)
                yield opened
            finally:
                writer.close()
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def before(url: str) -> AsyncIterator[tuple[str, int]]:
    """A mesh in this process before a server, and where it listens."""
    mesh = FastMCP()
    mesh.add_provider(ProxyProvider(ProxyClient(url), name="up"), namespace="up")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with mesh:
            app = mesh.http_app()
            server = Http1Server(app)
            await server.start([listening])
            try:
                yield listening.getsockname()
            finally:
                await app.aclose()
                await server.aclose(DEADLINE)


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_plain_call_visits_few_places_and_each_function_about_once(era: str) -> None:
    async with line(era) as client:
        for _ in range(3):
            await client.ask("tools/call", name="up_echo", arguments={"text": "warm"})
        visits = Visits()
        with visits.watched():
            result = await client.ask("tools/call", name="up_echo", arguments={"text": "hello"})
        assert result["content"][0]["text"] == "hello"
        files, classes = MOST[era]
        assert len(visits.files) <= files, sorted(visits.files)
        assert len(visits.classes) <= classes, sorted(visits.classes)
        assert visits.functions.total() <= 122, visits.functions


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("method", ["tools/list", "resources/templates/list", "ping"])
async def test_what_is_no_call_is_read_once_as_well(era: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if era == "modern" and method == "ping":
        pytest.skip("that era has no ping")
    read: list[bytes] = []

    def parse(data: bytes) -> messages.Message:
        read.append(data)
        return messages.parse(data)

    monkeypatch.setattr(legacy_exchange, "parse", parse)
    monkeypatch.setattr(modern, "parse", parse)
    async with line(era) as client:
        await client.ask(method)
        read.clear()
        await client.ask(method)
        assert len(read) == 1
