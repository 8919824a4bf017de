"""Metrics of a mesh that serves: what is counted, and where it is read. Place: cli, under `serve`."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

import structlog

from meshproxy.api.metrics import MetricsPage
from meshproxy.cli.entry import Failure
from meshproxy.cli.ports import Ports
from meshproxy.cli.workers import measured_beside
from meshproxy.cluster.seat import Seat
from meshproxy.config.models import ServerConfig
from meshproxy.http.server import Http1Server
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe.metrics import Metrics
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.server import CannotListen, listen, url_of

__all__ = ["measured", "own_sockets"]

log = structlog.get_logger(__name__)


def own_sockets(settings: ServerConfig, ports: Ports) -> list[socket.socket]:
    """What metrics are read at that have an address of their own; none where they have not.

    Raises:
        Failure: it cannot be had.
    """
    if settings.metrics is None or settings.metrics.listen is None:
        return []
    host, _, port = settings.metrics.listen.rpartition(":")
    try:
        return ports.whole("metrics", settings.metrics.listen, lambda: listen(host.strip("[]"), int(port)))
    except CannotListen as error:
        raise Failure(f"server.metrics.listen: {error}") from None


@asynccontextmanager
async def measured(
    server: FastMCP, mesh: Mesh, settings: ServerConfig, sockets: Sequence[socket.socket], seat: Seat | None = None
) -> AsyncIterator[MetricsPage | None]:
    """Count while it serves. Yields the page of the metrics; None where nobody wants them.

    With `sockets` the page is served there, and is to be served nowhere else. What is read there is of all workers, where this is one that has a `seat`.
    """
    if settings.metrics is None:
        yield None
        return
    metrics = Metrics()
    page = MetricsPage(mesh, metrics)
    forget = server.recorder.listen(metrics.take)
    server.on_session_ended = metrics.server_sessions.add
    server.composite.on_session_ended = metrics.end_session
    page.lag.start()
    try:
        async with _at_its_own(page, sockets, seat) if sockets else nullcontext():
            yield page
    finally:
        page.lag.stop()
        forget()


@asynccontextmanager
async def _at_its_own(page: MetricsPage, sockets: Sequence[socket.socket], seat: Seat | None) -> AsyncIterator[None]:
    """Serve the page at an address that has nothing else."""
    async with measured_beside(page, seat) as reading:
        server = Http1Server(reading)
        try:
            await server.start(sockets)
            log.info("metrics.listening", url=url_of(sockets, sockets[0].getsockname()[0], "/metrics"))
            yield
        finally:
            await server.aclose()
