"""A mesh that follows its file, in process, with light upstreams in processes of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from meshproxy.config.load import load
from meshproxy.mesh.memory import Memory
from meshproxy.mesh.mesh import Mesh
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.state.store import Store
from tests.kit.clients import Legacy
from tests.kit.journal import Journal
from tests.kit.processes import nothing_left
from tests.kit.waiting import DEADLINE

Json = dict[str, Any]


class Running:
    """A mesh behind a server, following its file."""

    def __init__(self, path: Path, server: FastMCP, mesh: Mesh, journal: Journal) -> None:
        self.path = path
        self.server = server
        self.mesh = mesh
        self.journal = journal

    async def edit(self, text: str, write: Callable[[Path, str], object] = Path.write_text) -> Json:
        """Save the file, and wait until the mesh has said what became of it."""
        count = len(self.outcomes())
        write(self.path, text)
        return await self.outcome(count + 1)

    async def outcome(self, count: int) -> Json:
        """The report of the `count`th edit."""
        return await self.journal.until("config.reloaded", "config.rejected", count=count)

    def outcomes(self) -> list[Json]:
        return self.journal.of("config.reloaded", "config.rejected")

    def pids(self, upstream: str) -> list[int]:
        return list(self.mesh.status()[upstream]["pids"])

    def pid(self, upstream: str) -> int:
        (pid,) = self.pids(upstream)
        return pid

    def legacy(self, **settings: Any) -> Legacy:
        return Legacy(self.server, **settings)


RunMesh = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture
def run_mesh(tmp_path: Path, journal: Journal) -> RunMesh:
    """`async with run_mesh(text) as mesh:` serves a config; at the end nothing of it is left. `state` is its state directory."""

    @contextlib.asynccontextmanager
    async def run(
        text: str, *, settle: bool = True, path: Path | None = None, state: Path | None = None
    ) -> AsyncIterator[Running]:
        file = path or tmp_path / "mesh.yaml"
        if path is None:
            file.write_text(text)
        async with nothing_left():
            config = load(file)
            server = FastMCP(config.name, instructions=config.instructions, list_grace=config.server.list_grace)
            store = Store(state)
            mesh = Mesh(config, server.composite, server.stamp, memory=Memory(store))
            mesh.start()
            server.extend_grace()
            following = asyncio.create_task(mesh.follow(file))
            try:
                async with asyncio.timeout(DEADLINE):
                    if settle:
                        await mesh.settled()
                yield Running(file, server, mesh, journal)
                assert not following.done(), f"the mesh follows its file no more: {following}"
            finally:
                following.cancel()
                await asyncio.wait({following})
                async with asyncio.timeout(DEADLINE):
                    await mesh.aclose()
                    await server.aclose()
                    await store.aclose()

    return run
