"""Running an endpoint: its port, its event loop, the signals that end it, and the order of that end. Place: serving.

The first SIGINT or SIGTERM asks for the end: nothing new is taken, what runs has `GRACE` seconds, and then everything is closed by
whoever opened it. A second one ends the process at once, and what it started with it.
"""

import asyncio
import enum
import errno
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from meshproxy.errors import MeshError
from meshproxy.http.loopback import resolvable
from meshproxy.http.server import Http1Server
from meshproxy.http.server_tls import ServerTls
from meshproxy.http.stream import Application
from meshproxy.links.warden import kill_all
from meshproxy.relay.handler import Handler
from meshproxy.serving.http import HttpApp

__all__ = ["GRACE", "CannotListen", "Heirs", "listen", "listen_shares", "run", "serve_http", "serve_pipes", "url_of"]

T = TypeVar("T")

GRACE: Final = 3.0
"""Seconds that running calls have once the end is asked for."""
KEEP_ALIVE: Final = 75
"""Seconds that an idle connection stays open: more than clients and balancers have, so that it is they who close."""
BACKLOG: Final = 2048
LINGER: Final = 3.0
"""Seconds in which clients go over to whoever takes over, before this process takes nothing new."""
_LEAVE: Final = 1
"""Seconds for the last bytes to reach their clients."""


class Heirs(enum.Enum):
    """Who goes on when a process ends: nobody, others elsewhere, or others who listen at the same sockets."""

    NONE = "none"
    ELSEWHERE = "elsewhere"
    AT_THE_PORT = "at the port"


class CannotListen(MeshError):
    """The port cannot be had; `in_use` says that this is because another program has it."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        self.in_use = error.errno == errno.EADDRINUSE
        reason = "is in use" if self.in_use else f"cannot be listened on: {error.strerror or error}"
        super().__init__(f"port {port} on {host} {reason}")


def run(main: Callable[[asyncio.Event], Awaitable[T]]) -> T:
    """Run `main` in an event loop of its own. It is given the event that is set when the end is asked for."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_attended(main))


def listen_shares(host: str, port: int, count: int) -> list[list[socket.socket]]:
    """What `listen` gives, for each of several processes: the system gives each connection to one of them.

    Raises:
        CannotListen: the system refuses.
    """
    whole = listen(host, port)
    if count == 1 or sys.platform != "linux":
        # Elsewhere the last to listen would get every connection; whoever is free takes it from a socket that all have.
        return [whole] * count
    # Nobody else has the port: what shares it would not have noticed.
    port = whole[0].getsockname()[1]
    for listener in whole:
        listener.close()
    return [listen(host, port, shared=True) for _ in range(count)]


def listen(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Sockets that listen on every address that `host` stands for, at one port; 0 takes a free one. Those that are `shared` may not be the only ones there.

    Raises:
        CannotListen: the system refuses.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(resolvable(host), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            # With its protocol named, or asyncio would leave Nagle's algorithm on: 40 ms a call.
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], sockets[0].getsockname()[1] or port, *address[2:]))
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise CannotListen(host, port, error) from None
    return sockets


def url_of(sockets: Sequence[socket.socket], host: str, path: str, scheme: str = "http") -> str:
    """Where clients on this machine find what listens there."""
    plain = resolvable(host)
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(plain, plain)  # noqa: S104  # compared, not bound
    if ":" in shown:
        shown = f"[{shown}]"
    return f"{scheme}://{shown}:{sockets[0].getsockname()[1]}{path}"


async def serve_http(
    app: HttpApp,
    sockets: Sequence[socket.socket],
    stopping: asyncio.Event,
    *,
    before_drain: Callable[[], None] = lambda: None,
    front: Application | None = None,
    tls: ServerTls | None = None,
    heirs: Callable[[], Heirs] = lambda: Heirs.NONE,
) -> None:
    """Serve `app` until `stopping` is set, and then until what runs has ended or `GRACE` is over. Closes the sockets.

    Args:
        app: the application.
        sockets: what it is served on; see `listen`.
        stopping: asks for the end.
        tls: what connections are encrypted by; None for those in the clear.
        before_drain: called when nothing new is taken any more, to end what would not end by itself.
        front: what clients reach; it stands before `app`, and by default is that.
        heirs: asked at the end who takes over.
    """
    server = Http1Server(front or app, KEEP_ALIVE, tls=tls)
    try:
        await server.start(sockets)
        await stopping.wait()
        others = heirs()
        if others is not Heirs.NONE:
            await server.leave(LINGER, is_relieved=others is Heirs.AT_THE_PORT)
        server.stop_accepting()
        before_drain()
        await app.drain(GRACE, has_heirs=others is not Heirs.NONE)
    finally:
        await app.aclose()
        await server.aclose(_LEAVE)


async def serve_pipes(handler: Handler, stopping: asyncio.Event) -> None:
    """Serve the one client at the other end of standard input and output, until it leaves or `stopping` is set."""
    from meshproxy.serving.stdio import serve_stdio  # noqa: PLC0415  # not needed over HTTP

    serving = asyncio.ensure_future(serve_stdio(handler))
    asked = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        serving.cancel()
        await asyncio.wait({serving})
    if not serving.cancelled():
        serving.result()


async def _attended(main: Callable[[asyncio.Event], Awaitable[T]]) -> T:
    stopping = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stopping.is_set():
            kill_all()
            os._exit(128 + number)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    return await main(stopping)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, which takes a third of the time of asyncio's, where there is one: not on Windows."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415
    except ImportError:
        return None
    return new_event_loop
