"""Everything that the interactions run on: one upstream for each transport and era, a mesh in front of each, and clients on both sides.

A cell is a way from a client to a server. The same client's direct way to a server of both eras is what it is compared with.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import uvicorn
from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.links.sse import SseEndpoint
from meshproxy.links.target import Command
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.http import HttpApp, HttpSettings
from meshproxy.serving.stdio import serve_stdio
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from tests.fidelity.peers import ABLE, Json, Peer, Place, Wire, joined
from tests.fidelity.wires import HttpWire, LineWire
from tests.kit.places import ROOT
from tests.kit.running import command, listening
from tests.kit.sockets import QuietServer, listener
from tests.kit.waiting import DEADLINE

Era = Literal["legacy", "modern"]
Eras = Literal["legacy", "modern", "dual"]
Transport = Literal["stdio", "http", "sse"]
Session = Literal["auto", "isolated", "shared"]

NAMESPACE = "up"
TOOLS = 1000
"""How many tools the basic server has beside those that do something; listed a hundred at a time."""
OPTIONS = {"basic": ("--tools", str(TOOLS), "--page-size", "100", "--ttl", "5000")}


@dataclass(frozen=True)
class Cell:
    """A way through the mesh: the client's era and wire, and the upstream's era and transport, and how it is shared, if the row does not say."""

    downstream: Era
    upstream: Eras
    transport: Transport
    wire: Literal["http", "stdio"] = "http"
    session: Session | None = None

    def __str__(self) -> str:
        shared = f", {self.session}" if self.session else ""
        return f"{self.downstream} client over {self.wire}, {self.upstream} upstream over {self.transport}{shared}"

    @property
    def spoken(self) -> Era:
        """The era in which the upstream is spoken to: the client's, if it speaks both and has not one link for all."""
        if self.upstream != "dual":
            return self.upstream
        return "modern" if self.session == "shared" else self.downstream


ERAS: tuple[Era, Era] = ("legacy", "modern")
WAYS: tuple[tuple[Eras, Transport], ...] = (
    ("legacy", "stdio"),
    ("legacy", "http"),
    ("legacy", "sse"),
    ("modern", "stdio"),
    ("modern", "http"),
    ("dual", "stdio"),
    ("dual", "http"),
)
"""The upstreams that exist: the event stream of 2024 is of the legacy era alone."""
CELLS = tuple(Cell(down, up, transport) for down in ERAS for up, transport in WAYS) + tuple(
    Cell(down, up, "stdio", "stdio") for down in ERAS for up in ERAS
)
SESSIONS: tuple[Session, ...] = ("auto", "isolated", "shared")
CELLS_OF_BOTH = tuple(
    Cell(down, "dual", transport, session=session)
    for down in ERAS
    for transport in ("stdio", "http")
    for session in SESSIONS
)
"""Those of servers that are written as real ones are."""


LIMITS = httpx2.Limits(max_connections=None, keepalive_expiry=1.0)
"""uvicorn closes what is idle for five seconds, which is how long this client keeps it otherwise: what is sent in that very moment is lost."""


class Bench:
    """Use within `bench()`."""

    def __init__(self, http: httpx2.AsyncClient, stack: contextlib.AsyncExitStack) -> None:
        self.http = http
        self._stack = stack
        self._urls: dict[tuple[str, str, str, str], str] = {}
        self._apps: dict[str, HttpApp] = {}
        self._servers: dict[str, FastMCP] = {}
        self._peers: dict[Any, Peer] = {}
        self._locks: dict[Any, asyncio.Lock] = {}
        self._port = 0

    async def start(self) -> None:
        listening_on = listener()
        self._port = listening_on.getsockname()[1]
        config = uvicorn.Config(self._route, interface="asgi3", log_level="critical", http="httptools", lifespan="off")
        server = QuietServer(config)
        serving = asyncio.ensure_future(server.serve(sockets=[listening_on]))

        async def stop() -> None:
            await asyncio.gather(*(app.aclose() for app in self._apps.values()))
            server.should_exit = True
            await serving

        self._stack.push_async_callback(stop)

    async def direct(self, server: str, era: Era, capabilities: Json | None = None) -> Peer:
        """A client of one of `tests.servers` that speaks both eras; a process that no mesh has to do with, which would hear of its changes."""
        wire = HttpWire(self.http, await self._url(server, "dual", "http", "direct"))
        return await self._peer(("direct", server, era), wire, era, Place(), capabilities)

    async def through(
        self, server: str, cell: Cell, capabilities: Json | None = None, session: Session = "auto"
    ) -> Peer:
        """A client of the mesh; the same one for a server and a cell, unless it declares other capabilities than most."""
        session = cell.session or session
        key = f"{server}-{cell.upstream}-{cell.transport}-{session}"
        async with self._lock(key):
            if key not in self._servers:
                self._servers[key] = await self._mesh(key, server, cell, session)
        wire: Wire
        if (server, cell, session) in self._peers and capabilities is None:
            return self._peers[server, cell, session]
        if cell.wire == "http":
            wire = HttpWire(self.http, f"http://127.0.0.1:{self._port}/{key}")
        else:
            wire = await self._stack.enter_async_context(_lines(self._servers[key]))
        return await self._peer((server, cell, session), wire, cell.downstream, Place(NAMESPACE), capabilities)

    async def _peer(self, key: Any, wire: Wire, era: Era, place: Place, capabilities: Json | None) -> Peer:
        if capabilities is None and key in self._peers:
            return self._peers[key]
        peer: Peer = await self._stack.enter_async_context(joined(wire, era, place, capabilities or ABLE))
        if capabilities is None:
            self._peers[key] = peer
        return peer

    async def _mesh(self, key: str, name: str, cell: Cell, session: Session) -> FastMCP:
        if cell.transport == "stdio":
            line = command(name, "--era", cell.upstream, *OPTIONS.get(name, ()))
            target: Any = Command(line[0], line[1:], env={"PYTHONPATH": str(ROOT)}, cwd=str(ROOT))
        elif cell.transport == "sse":
            target = SseEndpoint(name, await self._url(name, cell.upstream, "sse"))
        else:
            target = await self._url(name, cell.upstream, "http")
        server = FastMCP("mesh", instructions="The mesh's own words.", list_grace=DEADLINE)
        provider = ProxyProvider(ProxyClient(target, name=name), session=session)
        server.add_provider(provider, namespace=NAMESPACE)
        await self._stack.enter_async_context(server)
        await provider.settled()
        self._apps[f"/{key}"] = HttpApp(server, HttpSettings(path=f"/{key}"))
        return server

    async def _url(self, name: str, era: str, transport: str, whose: str = "the mesh's") -> str:
        """Where a server listens, which is started when it is asked for first."""
        key = (name, era, transport, whose)
        async with self._lock(key):
            if key not in self._urls:
                running = listening(name, *OPTIONS.get(name, ()), transport=transport, era=era)
                started = await asyncio.to_thread(running.__enter__)
                self._stack.callback(running.__exit__, None, None, None)
                self._urls[key] = started.url
        return self._urls[key]

    def _lock(self, key: Any) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._apps[scope["path"]](scope, receive, send)


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """The upstreams started, the meshes as they are asked for; everything is gone afterwards."""
    async with (
        httpx2.AsyncClient(timeout=DEADLINE, limits=LIMITS, trust_env=False) as http,
        contextlib.AsyncExitStack() as stack,
    ):
        ready = Bench(http, stack)
        await ready.start()
        yield ready


@contextlib.asynccontextmanager
async def _lines(server: FastMCP) -> AsyncIterator[LineWire]:
    """A client's end of a mesh on pipes."""
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(serve_stdio(server, to_server, from_server))
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    incoming, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(to_client, "rb", buffering=0)
    )
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(from_client, "wb", buffering=0)
    )
    del to_server
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        yield LineWire(reader, writer)
    finally:
        transport.close()
        await serving
        incoming.close()
