"""Two applications as two processes of one endpoint: clients reach the one, and what they send back is the other's."""

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from meshproxy.cluster.doorway import Doorway, doorstep
from meshproxy.cluster.envelope import Envelopes
from meshproxy.cluster.hand_over import HandOver
from meshproxy.cluster.home import settle
from meshproxy.cluster.neighbours import Neighbours
from meshproxy.http.server import Http1Server
from meshproxy.serving.http import HttpApp, HttpSettings
from tests.kit.echo import TLS, EchoHandler, Served
from tests.kit.waiting import DEADLINE

KEY = b"k" * 32
HERE, THERE = "000here", "001there"


@dataclass
class Pair:
    """`here` is what clients reach, and `there` where the other one's clients reach it."""

    here: Served
    there: Served
    front: HandOver
    folder: Path
    leave: contextlib.AsyncExitStack
    """Closing it ends the other one, as a process that is killed."""


@contextlib.asynccontextmanager
async def _served(app: HttpApp, handler: EchoHandler, front: object) -> AsyncIterator[Served]:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    server = Http1Server(front)  # type: ignore[arg-type]
    await server.start([listening])
    async with httpx2.AsyncClient(timeout=DEADLINE, verify=TLS) as http:
        try:
            yield Served(app, handler, listening.getsockname()[1], http)
        finally:
            await app.aclose()
            await server.aclose()


@contextlib.asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    """Both, until the block ends."""
    handlers = EchoHandler(), EchoHandler()
    apps = HttpApp(handlers[0], HttpSettings()), HttpApp(handlers[1], HttpSettings())
    neighbours = Neighbours(folder, HERE, Envelopes(KEY))
    front = HandOver(apps[0], neighbours, 4 << 20, led=("/api/",))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(settle, "")
        stack.push_async_callback(neighbours.aclose)
        here = await stack.enter_async_context(_served(apps[0], handlers[0], front))
        leave = contextlib.AsyncExitStack()
        there = await leave.enter_async_context(_served(apps[1], handlers[1], apps[1]))
        door = Http1Server(Doorway(apps[1], apps[1].take, Envelopes(KEY), 4 << 20))
        await door.start([leave.enter_context(doorstep(folder / THERE))])
        leave.push_async_callback(door.aclose)
        await stack.enter_async_context(leave)
        settle(HERE)
        yield Pair(here, there, front, folder, leave)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a short name, as sockets need it."""
    return tmp_path_factory.mktemp("c")
