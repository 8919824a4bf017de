"""Several processes that serve one config at one port: their supervisor, and what each of them does besides serving. Place: cli, under `serve`."""

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from meshproxy.cli.ports import Ports
from meshproxy.cli.replicas import Replica
from meshproxy.cluster.concert import Concert
from meshproxy.cluster.doorway import Doorway, Served, doorstep
from meshproxy.cluster.envelope import Envelopes
from meshproxy.cluster.gathering import Gathering
from meshproxy.cluster.hand_over import HandOver
from meshproxy.cluster.home import settle
from meshproxy.cluster.neighbours import Neighbours
from meshproxy.cluster.presence import Address
from meshproxy.cluster.seat import Seat
from meshproxy.cluster.succession import Succession, Trial
from meshproxy.cluster.way import Others
from meshproxy.config.content import Content
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.http.server import Http1Server
from meshproxy.http.stream import Application
from meshproxy.links.warden import kill_all
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe import logs
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.http import HttpApp
from meshproxy.state.place import place
from meshproxy.state.store import Store

__all__ = ["fronted", "join", "measured_beside", "supervise"]

Work = Callable[[MeshConfig, Seat], int]
"""Serves a config in a worker, and says with which status it ends."""

LED = ("/api",)
"""What is answered by the first worker, whoever is asked: what it says and does is one mesh's."""


def supervise(
    config: MeshConfig,
    file: Path,
    work: Work,
    ports: Ports,
    replica: Replica | None,
    before: Succession | None,
    environ: Mapping[str, str],
) -> int:
    """Run the workers of a config until a signal ends them.

    Args:
        config: what they begin with.
        file: where it is.
        work: in each.
        ports: what they listen at, by inheritance.
        replica: what they are together, if that is one.
        before: what the version of the program before this one has left.
        environ: that this one was started with, for the next.
    """
    from meshproxy.cluster.supervisor import Supervisor  # noqa: PLC0415  # most meshes are one process
    from meshproxy.cluster.upgrade import Successors  # noqa: PLC0415

    asyncio.run(_make_key(Store(place(config.state, file))))
    has_terminal = sys.stderr.isatty()
    name = "" if replica is None else replica.name

    def begin(seat: Seat) -> int:
        logs.mark(worker=seat.number)
        settle(f"{name}.{seat.name}" if name else seat.name)
        seat.hold_on(kill_all)
        given: Content | None = seat.given
        try:
            return work(config if given is None else load(file, content=given), seat)
        finally:
            seat.leave()

    def leave(left: Succession) -> None:
        sys.stdout.flush()
        dataclasses.replace(left, replica=name, sockets=ports.descriptors()).leave(environ)

    supervisor = Supervisor(
        config.server.workers,
        config.source.digest,
        begin,
        given=partial(_content, config.source.path or file),
        on_end=ports.close,
        is_left=lambda: has_terminal and not sys.stderr.isatty(),
        successors=Successors(lambda: Trial(file, environ), leave, before),
    )
    return supervisor.run()


def join(seat: Seat, mesh: Mesh, server: FastMCP, stopping: asyncio.Event) -> Concert:
    """Have a worker's mesh do what all do at once or not at all. What is returned is to be run before the mesh follows its file."""
    concert = mesh.concert = Concert(seat.line)
    # A mesh that lists itself comes by at any worker.
    server.stamp.token = seat.trail
    restarts: set[asyncio.Task[None]] = set()

    def restart(name: str) -> None:
        task = asyncio.ensure_future(_restart(mesh, name))
        restarts.add(task)
        task.add_done_callback(restarts.discard)

    concert.on_reload, concert.on_restart, concert.on_end = mesh.read_again, restart, stopping.set
    return concert


@contextlib.asynccontextmanager
async def fronted(
    app: HttpApp,
    seat: Seat | None,
    most: int,
    replica: Replica | None = None,
    known: Callable[[], Iterable[Address]] = tuple,
) -> AsyncIterator[Application]:
    """What clients reach of an application: in a worker or a replica, what hands to the others what is theirs, and takes from them what is its own. `known` gives addresses of replicas."""
    inner: Served = app
    others: Others | None = None
    neighbours: Neighbours | None = None
    async with contextlib.AsyncExitStack() as stack:
        if seat is not None:
            inner, neighbours = await stack.enter_async_context(_beside(app, seat, "calls", most))
            others = neighbours
        if replica is not None:
            number = 0 if seat is None else seat.number
            others = await stack.enter_async_context(replica.joined(inner, neighbours, most, number, known))
        yield app if others is None else HandOver(inner, others, most, () if seat is None else LED)


@contextlib.asynccontextmanager
async def measured_beside(page: Application, seat: Seat | None) -> AsyncIterator[Application]:
    """What is reached of metrics that have an address of their own: those of all workers."""
    if seat is None:
        yield page
        return
    async with _beside(page, seat, "metrics", 0) as (gathering, _):
        yield gathering


@contextlib.asynccontextmanager
async def _beside(app: Application, seat: Seat, of: str, most: int) -> AsyncIterator[tuple[Gathering, Neighbours]]:
    """Let the neighbours have what this worker has. What is yielded has what all have."""
    neighbours = Neighbours(seat.directory / of, seat.name, Envelopes(seat.key))
    gathering = Gathering(app, neighbours)
    door = Http1Server(Doorway(app, gathering.take, Envelopes(seat.key), most))
    with doorstep(seat.door(of)) as listener:
        await door.start([listener])
        try:
            yield gathering, neighbours
        finally:
            await door.aclose()
            await neighbours.aclose()


async def _restart(mesh: Mesh, name: str) -> None:
    with contextlib.suppress(Exception):
        # How it went is in the log, and in what the mesh says of its upstreams.
        await mesh.restart(name, alone=True)


async def _make_key(store: Store) -> None:
    """Have the state directory's key there before several look for it."""
    _ = store.key
    await store.aclose()


def _content(path: Path, digest: str, data: bytes) -> Content:
    return Content(path, digest, (path,), data)
