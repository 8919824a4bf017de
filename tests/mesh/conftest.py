"""A mesh that follows its file, in process, with light upstreams in processes of their own."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from meshproxy.config.load import load
from meshproxy.mesh.mesh import Mesh
from meshproxy.serving.fastmcp import FastMCP
from tests.clients import Legacy
from tests.support import DEADLINE, ROOT, descriptors, eventually

Json = dict[str, Any]
LIGHT = str(ROOT / "tests" / "servers" / "light.py")


def light(*arguments: str, **keys: Any) -> Json:
    """An upstream of a config: `tests.servers.light` with these arguments, and other keys."""
    return {"command": sys.executable, "args": ["-IS", LIGHT, *arguments], **keys}


def document(upstreams: Json, **keys: Any) -> str:
    """The text of a config file."""
    return json.dumps({**keys, "upstreams": upstreams}, indent=1)


class Journal:
    """What is logged, and a way to wait for it."""

    def __init__(self) -> None:
        self.all: list[Json] = []
        self._came = asyncio.Event()

    def __call__(self, _logger: Any, level: str, event: Any) -> Any:
        self.all.append({"level": level, **event})
        self._came.set()
        raise structlog.DropEvent

    def of(self, *names: str) -> list[Json]:
        return [event for event in self.all if event["event"] in names]

    async def until(self, *names: str, count: int = 1) -> Json:
        """The `count`th event of these names, as soon as it is there."""
        async with asyncio.timeout(DEADLINE):
            while len(self.of(*names)) < count:
                self._came.clear()
                await self._came.wait()
        return self.of(*names)[count - 1]


@pytest.fixture
def journal() -> Iterator[Journal]:
    before = structlog.get_config()
    kept = Journal()
    structlog.configure(processors=[kept], cache_logger_on_first_use=False)
    yield kept
    structlog.configure(**before)


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
    """`async with run_mesh(text) as mesh:` serves a config; at the end nothing of it is left."""

    @contextlib.asynccontextmanager
    async def run(text: str, *, settle: bool = True, path: Path | None = None) -> AsyncIterator[Running]:
        file = path or tmp_path / "mesh.yaml"
        if path is None:
            file.write_text(text)
        tasks, open_files = asyncio.all_tasks(), descriptors()
        config = load(file)
        server = FastMCP(config.name, instructions=config.instructions, list_grace=config.server.list_grace)
        mesh = Mesh(config, server.composite, server.stamp)
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
            await nothing_is_left(tasks, open_files)

    return run


async def nothing_is_left(tasks: set[Any], open_files: dict[int, str]) -> None:
    """No task and no file descriptor is there that was not there before; processes are checked after every test."""
    left = asyncio.all_tasks() - tasks
    if left:
        await asyncio.wait(left, timeout=1)
    assert not asyncio.all_tasks() - tasks
    await eventually(lambda: not descriptors().keys() - open_files.keys())


def release(pid: int) -> None:
    """Let a light server answer the calls that wait."""
    os.kill(pid, signal.SIGUSR1)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def received(journal: Path) -> list[Json]:
    """The messages that a light server with `--journal` has read."""
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


async def soon(work: Awaitable[Any]) -> Any:
    """What must come, and not take long."""
    async with asyncio.timeout(DEADLINE):
        return await work
