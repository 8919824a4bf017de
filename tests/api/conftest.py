"""A mesh that follows its file and serves `/api`, in process, with light upstreams in processes of their own."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from meshproxy.api.app import Api
from meshproxy.api.page import Page
from meshproxy.config.load import load
from meshproxy.http.server import Http1Server
from meshproxy.http.sse import SseParser
from meshproxy.login.logins import Logins
from meshproxy.mesh.mesh import Mesh
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.http import HttpApp
from meshproxy.serving.settings import HttpSettings
from tests.kit.processes import nothing_left
from tests.kit.sockets import listener
from tests.kit.waiting import DEADLINE

Json = dict[str, Any]
OURS = {"x-meshproxy": "1"}


class Operated:
    """A mesh whose API answers."""

    def __init__(self, file: Path, server: FastMCP, mesh: Mesh, api: Api, http: httpx2.AsyncClient, port: int) -> None:
        self.file = file
        self.server = server
        self.mesh = mesh
        self.api = api
        self.http = http
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, path: str, key: str | None = None, **headers: str) -> httpx2.Response:
        shown = {"authorization": f"Bearer {key}"} if key else {}
        return await self.http.get(self.url + path, headers={**shown, **headers})

    async def post(self, path: str, key: str | None = None, **headers: str) -> httpx2.Response:
        shown = {"authorization": f"Bearer {key}"} if key else {}
        return await self.http.post(self.url + path, headers={**OURS, **shown, **headers})

    async def status(self) -> Json:
        found = (await self.get("/api/status")).json()
        return {**found, "upstreams": {one["name"]: one for one in found["upstreams"]}}

    @contextlib.asynccontextmanager
    async def events(self, query: str = "") -> "AsyncIterator[Callable[..., Any]]":
        """The event stream: what is given waits for the next event of a name, and gives its data."""
        async with self.http.stream("GET", f"{self.url}/api/events{query}") as response:
            assert response.status_code == 200
            parser, chunks, waiting = SseParser(), response.aiter_bytes(), []

            async def next_of(name: str) -> Json:
                async with asyncio.timeout(DEADLINE):
                    while True:
                        while waiting:
                            event = waiting.pop(0)
                            if event.event == name:
                                return json.loads(event.data)
                        waiting.extend(parser.feed(await anext(chunks)))

            yield next_of


RunApi = Callable[..., contextlib.AbstractAsyncContextManager[Operated]]


@pytest.fixture
def operated(tmp_path: Path) -> RunApi:
    """`async with operated(text) as mesh:` serves a config; at the end nothing of it is left. `keeps` says that it has a state directory."""

    @contextlib.asynccontextmanager
    async def run(text: str, *, keeps: bool = False) -> AsyncIterator[Operated]:
        file = tmp_path / "mesh.yaml"
        file.write_text(text)
        async with nothing_left():
            config = load(file)
            server = FastMCP(config.name, list_grace=config.server.list_grace)
            logins = Logins(tmp_path / "state" if keeps else None, file)
            mesh = Mesh(config, server.composite, server.stamp, server.take, logins=logins)
            api = Api(mesh, server, file)
            app = HttpApp(server, HttpSettings(), entrance=server.entrance, annexes=(api, Page()))
            api.statistics = app.statistics
            listening = listener()
            endpoint = Http1Server(app)
            await endpoint.start([listening])
            server.extend_grace()
            mesh.start()
            following = asyncio.create_task(mesh.follow(file))
            try:
                async with asyncio.timeout(DEADLINE), httpx2.AsyncClient(timeout=DEADLINE) as http:
                    await mesh.settled()
                    yield Operated(file, server, mesh, api, http, listening.getsockname()[1])
                assert not following.done(), f"the mesh follows its file no more: {following}"
            finally:
                following.cancel()
                await asyncio.wait({following})
                await api.aclose()
                server.end_streams()
                await app.aclose()
                await endpoint.aclose(DEADLINE)
                await server.aclose()
                await mesh.aclose()

    return run
