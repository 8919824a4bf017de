"""A mesh over HTTP that asks who calls, follows its file in this process, and has light upstreams in processes of their own."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from meshproxy.access.keys import hash_of
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.http.server import Http1Server
from meshproxy.mesh.mesh import Mesh
from meshproxy.serving.auditing import Auditing
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.http import HttpApp
from meshproxy.serving.login_page import LoginPage
from meshproxy.wire.protocol import LATEST_LEGACY
from tests.kit.journal import Journal
from tests.kit.light import document, light
from tests.kit.messages import CLIENT, heads, messages_in, modern, request
from tests.kit.processes import nothing_left
from tests.kit.sockets import listener
from tests.kit.waiting import DEADLINE

Json = dict[str, Any]

ADA, BOB = "mesh_ada-0123456789", "mesh_bob-0123456789"
"""The keys of two principals."""


def key(name: str, secret: str, **facts: Any) -> Json:
    """A key as the file has it."""
    return {"name": name, "hash": hash_of(secret), **facts}


def mesh_of(*keys: Json, upstreams: Json | None = None, auth: Json | None = None, **top: Any) -> str:
    """The text of a config with these keys."""
    server = {"auth": {"keys": list(keys), **(auth or {})}}
    return document(upstreams or {"a": light("--tools", "echo,write")}, server=server, **top)


class Guarded:
    """The mesh, and requests of whoever is named."""

    def __init__(
        self, file: Path, server: FastMCP, app: HttpApp, http: httpx2.AsyncClient, port: int, journal: Journal
    ) -> None:
        self.file = file
        self.server = server
        self.app = app
        self.http = http
        self.base = f"http://127.0.0.1:{port}"
        self.journal = journal
        self._edits = 0
        self._ids = itertools.count(10)

    async def edit(self, text: str) -> Json:
        """Save the file, and wait until the mesh has said what became of it."""
        self._edits += 1
        self.file.write_text(text)
        return await self.journal.until("config.reloaded", "config.rejected", count=self._edits)

    async def send(self, message: Json, secret: str | None, path: str = "/mcp", **headers: Any) -> httpx2.Response:
        """POST a message; `secret` is shown as the bearer's."""
        shown = {} if secret is None else {"authorization": f"Bearer {secret}"}
        return await self.http.post(
            self.base + path, content=json.dumps(message).encode(), headers=heads(**shown, **headers)
        )

    async def modern(
        self, secret: str | None, method: str, path: str = "/mcp", meta: Json | None = None, **params: Any
    ) -> Json:
        """A request of the modern era: the JSON-RPC answer."""
        message, headers = modern(request(method, params), **(meta or {}))
        if "uri" in params:
            headers["mcp_name"] = params["uri"]
        return answer_of(await self.send(message, secret, path, **headers))

    async def open(self, secret: str | None, path: str = "/mcp", **capabilities: Any) -> dict[str, str]:
        """Initialize a session: its headers."""
        params = {"protocolVersion": LATEST_LEGACY, "capabilities": capabilities, "clientInfo": CLIENT}
        response = await self.send(request("initialize", params, 0), secret, path)
        assert response.status_code == 200, response.text
        headers = {"mcp_session_id": response.headers["mcp-session-id"], "mcp_protocol_version": LATEST_LEGACY}
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"}, secret, path, **headers)
        return headers

    async def legacy(
        self, secret: str | None, session: dict[str, str], method: str, path: str = "/mcp", **params: Any
    ) -> Json:
        """A request of a session: the JSON-RPC answer."""
        return answer_of(await self.send(request(method, params, next(self._ids)), secret, path, **session))

    async def status(self, secret: str | None, session: dict[str, str] | None = None, path: str = "/mcp") -> int:
        """The HTTP status of a listing."""
        if session is None:
            message, headers = modern(request("tools/list", {}))
            return (await self.send(message, secret, path, **headers)).status_code
        return (await self.send(request("tools/list", {}), secret, path, **session)).status_code


class Caller:
    """Somebody with a token, in an era."""

    def __init__(self, mesh: "Guarded", token: str, era: str) -> None:
        self.mesh = mesh
        self.token = token
        self.era = era
        self.session: dict[str, str] | None = None

    async def ask(self, method: str, **params: Any) -> Json:
        if self.era == "modern":
            return await self.mesh.modern(self.token, method, **params)
        if self.session is None:
            self.session = await self.mesh.open(self.token)
        return await self.mesh.legacy(self.token, self.session, method, **params)

    async def tools(self) -> list[str]:
        return [tool["name"] for tool in (await self.ask("tools/list"))["result"]["tools"]]

    async def who(self) -> Any:
        answer = await self.ask("tools/call", name="there_whoami", arguments={})
        return answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]


def answer_of(response: httpx2.Response) -> Json:
    """The answer in a response, be it JSON or a stream."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return [frame for frame in messages_in(response.text) if "id" in frame and "method" not in frame][-1]
    return {"status": response.status_code, **response.json(), "id": None}


Guard = Callable[..., contextlib.AbstractAsyncContextManager[Guarded]]


@pytest.fixture
def guarded(tmp_path: Path, journal: Journal) -> Guard:
    """`async with guarded(text) as mesh:` serves a config, and whatever is done with it ends by the deadline; at the end nothing of it is left."""

    @contextlib.asynccontextmanager
    async def run(text: str, deadline: float = DEADLINE) -> AsyncIterator[Guarded]:
        file = tmp_path / "mesh.yaml"
        file.write_text(text)
        async with nothing_left():
            config = load(file)
            server = FastMCP(config.name, list_grace=config.server.list_grace)
            auditing = Auditing(server)

            def take(config: MeshConfig) -> None:
                server.take(config)
                auditing.take(config)

            mesh = Mesh(config, server.composite, server.stamp, take)
            listening = listener()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            page = LoginPage(mesh.logins.invitations, server.entrance, "the mesh", public_url=url)
            app = HttpApp(server, entrance=server.entrance, annexes=(page,))
            endpoint = Http1Server(app)
            await endpoint.start([listening])
            auditing.begin(mesh)
            server.extend_grace()
            mesh.start()
            following = asyncio.create_task(mesh.follow(file))
            try:
                async with asyncio.timeout(deadline), httpx2.AsyncClient(timeout=DEADLINE) as http:
                    await mesh.settled()
                    yield Guarded(file, server, app, http, listening.getsockname()[1], journal)
                assert not following.done(), f"the mesh follows its file no more: {following}"
            finally:
                following.cancel()
                await asyncio.wait({following})
                server.end_streams()
                await app.aclose()
                await endpoint.aclose(DEADLINE)
                await server.aclose()
                await mesh.aclose()
                auditing.end()

    return run
