"""Sockets that listen, and other people's servers on them."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn


def listener() -> socket.socket:
    """A socket that listens on a free port of the loopback interface."""
    # Without the protocol named, asyncio does not switch Nagle's algorithm off: 40 ms a call.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    return sock


class QuietServer(uvicorn.Server):
    """Leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # signals are pytest's here
        yield
