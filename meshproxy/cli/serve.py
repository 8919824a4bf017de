"""`meshproxy serve`: load, open the port, start the mesh, follow the file, and end in good order."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from meshproxy.api.app import Api
from meshproxy.api.page import Page
from meshproxy.cli.entry import Failure, guarded
from meshproxy.cli.measuring import measured, own_sockets
from meshproxy.cli.nesting import enter
from meshproxy.cli.ports import Ports
from meshproxy.cli.replicas import Replica
from meshproxy.cli.sharing import Sharing
from meshproxy.cli.tls import certificate_told, need_files, take_files, tls_of
from meshproxy.cli.tracing import Tracing
from meshproxy.cli.workers import fronted, join, supervise
from meshproxy.cluster.home import settle
from meshproxy.cluster.seat import Seat
from meshproxy.cluster.succession import Succession
from meshproxy.config.load import load, with_server
from meshproxy.config.models import MeshConfig, ServerConfig
from meshproxy.errors import ConfigError
from meshproxy.http.loopback import is_loopback
from meshproxy.http.server_tls import ServerTls
from meshproxy.login.logins import Logins
from meshproxy.mesh.memory import Memory
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe import logs
from meshproxy.serving.annex import Annex
from meshproxy.serving.auditing import Auditing
from meshproxy.serving.fastmcp import FastMCP, Transport
from meshproxy.serving.health import health_of
from meshproxy.serving.http import HttpApp, HttpSettings
from meshproxy.serving.login_page import LoginPage
from meshproxy.serving.machine import attend_to
from meshproxy.serving.server import CannotListen, Heirs, run, serve_http, serve_pipes, url_of
from meshproxy.state.place import place
from meshproxy.state.store import Store

log = structlog.get_logger(__name__)

Endpoint = Callable[[FastMCP, Mesh, asyncio.Event, "Seat | None", "Sharing | None"], Awaitable[None]]
"""Serves until the event is set, or until nobody is left to serve; in a worker, with its seat, and with what it shares with other replicas."""
StartUp = Callable[[Mesh], Awaitable[None]]
"""Waits until every upstream has come up or failed once. Raises `ConfigError` if a required one failed."""


def serve(
    file: str, *, transport: Transport, host: str | None, port: int | None, level: logs.Level, form: logs.Format
) -> int:
    """Serve a config until a signal, or the client of stdio, ends it; see `meshproxy serve --help`."""
    on_terminal = form == "console" and sys.stderr.isatty()
    logs.configure(level, form, colours=on_terminal)
    before = Succession.taken()
    environ = dict(os.environ)
    config = load(file)
    enter(file, over_stdio=transport == "stdio")
    for key, is_there in (("server.workers", config.server.workers > 1), ("cluster.listen", config.cluster.listen)):
        if transport == "stdio" and is_there:
            remedy = "take it away, or serve over http"
            raise Failure(f"{file}: {key}: one client over stdio has one process; {remedy}", status=2)
    Sharing.need(config)
    tls = None if transport == "stdio" else _tls_of(config)
    ports = Ports(before)
    replica = Replica.of(config, ports, "" if before is None else before.replica)
    endpoint, url = (_over_stdio, None) if transport == "stdio" else _over_http(config, host, port, tls, replica, ports)
    if config.server.workers > 1 or before is not None:
        log.info("mesh.listening", url=url, workers=config.server.workers)
        return supervise(
            config,
            Path(file),
            lambda config, seat: _work(config, Path(file), endpoint, tls, replica, seat),
            ports,
            replica,
            before,
            environ,
        )
    settle("" if replica is None else replica.name)
    start_up: StartUp = Mesh.settled
    if on_terminal:
        from meshproxy.cli.display import Display  # noqa: PLC0415  # a log needs no display

        start_up = Display(config, url).show
    else:
        log.info("mesh.listening", **({"url": url} if url else {"transport": transport}))
    return run(lambda stopping: _serve(config, Path(file), endpoint, start_up, stopping, tls, replica))


def _work(
    config: MeshConfig, file: Path, endpoint: Endpoint, tls: ServerTls | None, replica: Replica | None, seat: Seat
) -> int:
    """Serve in a worker."""
    return guarded(
        lambda: run(lambda stopping: _serve(config, file, endpoint, Mesh.settled, stopping, tls, replica, seat))
    )


async def _serve(
    config: MeshConfig,
    file: Path,
    endpoint: Endpoint,
    start_up: StartUp,
    stopping: asyncio.Event,
    tls: ServerTls | None,
    replica: Replica | None,
    seat: Seat | None = None,
) -> int:
    server = FastMCP(config.name, instructions=config.instructions, list_grace=config.server.list_grace)

    auditing, tracing, sharing = Auditing(server), Tracing(server, config.name), Sharing.of(config, replica)
    warned: set[str] = set()

    def take(config: MeshConfig) -> None:
        server.take(config)
        take_files(tls, config)
        if replica is not None:
            replica.take(config)
        if sharing is not None:
            sharing.take(config)
        auditing.take(config)
        tracing.obey(config.observe.traces)
        warnings = [str(warning) for warning in config.source.warnings]
        if fresh := [warning for warning in warnings if warning not in warned]:
            log.warning("config.warnings", problems=fresh)
        warned.clear()
        warned.update(warnings)

    store = Store(place(config.state, file))
    memory = Memory(store)
    mesh = Mesh(config, server.composite, server.stamp, take, memory, Logins(store.directory, file, lambda: store.key))
    if tls is not None:
        mesh.need = need_files
    concert = None if seat is None else join(seat, mesh, server, stopping)
    logs.conceal(mesh.scrub)
    server.calls.scrub = mesh.scrub
    has_terminal = sys.stderr.isatty()

    def on_hangup() -> None:
        # A terminal that was closed says so by the same signal.
        if has_terminal and not sys.stderr.isatty():
            stopping.set()
        else:
            mesh.reload_soon()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_hangup)
    if seat is None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, _refuse_upgrade)
    failure: ConfigError | None = None

    async def start() -> None:
        nonlocal failure
        try:
            await start_up(mesh)
            if concert is not None:
                concert.settled()
        except ConfigError as error:
            failure = error
            stopping.set()

    tasks = set()
    try:
        auditing.begin(mesh)
        server.extend_grace()
        if sharing is not None:
            await sharing.start(mesh, server.entrance, memory)
        mesh.start()
        if concert is not None:
            await concert.open()
        shared = () if concert is None else (concert.run(),)
        tasks = {asyncio.create_task(each) for each in (*shared, start(), _follow(mesh, file), attend_to(mesh.woken))}
        await endpoint(server, mesh, stopping, seat, sharing)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if concert is not None:
            concert.close()
        await server.aclose()
        await mesh.aclose()
        if sharing is not None:
            await sharing.aclose()
        await tracing.aclose()
        await store.aclose()
        auditing.end()
        log.info("mesh.ended")
    if failure is not None:
        raise Failure(*map(str, failure.problems))
    return 0


def _refuse_upgrade() -> None:
    remedy = "set server.workers to 2 or more, or start the mesh anew"
    log.warning("upgrade.refused", reason=f"one process alone cannot hand over while it serves; {remedy}")


async def _follow(mesh: Mesh, file: Path) -> None:
    try:
        await mesh.follow(file)
    except Exception:
        log.exception("config.unwatched", consequence="edits are not noticed any more; start the mesh again")


def _over_http(
    config: MeshConfig,
    host: str | None,
    port: int | None,
    tls: ServerTls | None,
    replica: Replica | None,
    ports: Ports,
) -> tuple[Endpoint, str]:
    """An open port, and where it is."""
    asked = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    # The mesh is given the file's own settings, or each edit would look as if it had changed them.
    settings = with_server(config, **asked).server
    try:
        shares = ports.shares("clients", settings.host, settings.port, settings.workers)
    except CannotListen as error:
        raise Failure(f"{error}; choose another with --port" if error.in_use else str(error)) from None

    own = own_sockets(settings, ports)
    listeners = {listener for share in shares for listener in share}

    async def endpoint(
        server: FastMCP, mesh: Mesh, stopping: asyncio.Event, seat: Seat | None, sharing: Sharing | None
    ) -> None:
        sockets = shares[seat.number if seat is not None else 0]
        for listener in listeners.difference(sockets):
            # A neighbour's, which must be able to close it.
            listener.close()
        server.entrance.must_ask = not (settings.allow_unauthenticated or is_loopback(settings.host))
        api = Api(mesh, server, config.source.path or Path(), url=settings.public_url or "", path=settings.path)
        async with measured(server, mesh, settings, own, seat) as metrics:
            annexes: list[Annex] = [api, _login_page(server, mesh, settings, "http" if tls is None else "https")]
            if settings.page:
                annexes.append(Page())
            if metrics is not None and not own:
                annexes.append(metrics)
            marks: dict[str, Any] = {} if replica is None else {"replica": replica.name}
            if seat is not None:
                marks["worker"] = seat.number
            app = HttpApp(
                server,
                _http_settings(settings),
                entrance=server.entrance,
                health=health_of(mesh, stopping.is_set, dict if sharing is None else sharing.status, **marks),
                annexes=annexes,
            )
            api.statistics = app.statistics
            if metrics is not None:
                metrics.statistics = app.statistics
                if sharing is not None:
                    metrics.shared = sharing.statistics

            def end_streams() -> None:
                server.end_streams()
                api.close()

            following = None if tls is None else asyncio.create_task(tls.follow(certificate_told))
            try:
                known = tuple if sharing is None else sharing.addresses
                async with fronted(app, seat, settings.max_body, replica, known) as front:
                    await serve_http(
                        *(app, sockets, stopping),
                        before_drain=end_streams,
                        front=front,
                        tls=tls,
                        heirs=lambda: _heirs(mesh, replica),
                    )
            finally:
                if following is not None:
                    following.cancel()
                await api.aclose()

    url = url_of(shares[0], settings.host, settings.path, "http" if tls is None else "https")
    return endpoint, url


def _heirs(mesh: Mesh, replica: Replica | None) -> Heirs:
    if mesh.concert is not None and mesh.concert.is_relieved:
        return Heirs.AT_THE_PORT
    return Heirs.ELSEWHERE if replica is not None and replica.has_others() else Heirs.NONE


def _login_page(server: FastMCP, mesh: Mesh, settings: ServerConfig, scheme: str) -> LoginPage:
    """Where callers log in at upstreams with accounts of their own."""
    public_url = settings.public_url or ""
    return LoginPage(mesh.logins.invitations, server.entrance, mesh.config.name, public_url=public_url, scheme=scheme)


def _tls_of(config: MeshConfig) -> ServerTls | None:
    """What the files that the config names hold."""
    try:
        return tls_of(config)
    except ValueError as error:
        raise Failure(f"server.tls: {error}", status=2) from None


async def _over_stdio(
    server: FastMCP,
    mesh: Mesh,  # noqa: ARG001  # an `Endpoint`
    stopping: asyncio.Event,
    seat: Seat | None,  # noqa: ARG001
    sharing: Sharing | None,  # noqa: ARG001
) -> None:
    await serve_pipes(server, stopping)


def _hosts(server: ServerConfig) -> tuple[str, ...]:
    """The names that the mesh goes by besides those of this machine. On other addresses than this machine's, no list is every name."""
    named = urlsplit(server.public_url or "").netloc
    return (
        (*server.allowed_hosts, named)
        if named and (server.allowed_hosts or is_loopback(server.host))
        else server.allowed_hosts
    )


def _http_settings(server: ServerConfig) -> HttpSettings:
    return HttpSettings(
        host=server.host,
        path=server.path,
        public_url=server.public_url or "",
        allowed_hosts=_hosts(server),
        allowed_origins=server.allowed_origins,
        max_body=server.max_body,
        max_sessions=server.max_sessions,
        session_idle_timeout=server.session_idle_timeout,
    )
