"""A balancer that knows nothing of sessions: each request goes over a connection of its own, to the next of several meshes, and to any worker of one."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

__all__ = ["balanced"]

_LENGTH = b"content-length:"


@contextlib.asynccontextmanager
async def balanced(*urls: str) -> AsyncIterator[str]:
    """Another URL for the meshes at `urls`, each of which gets a request in turn; one that refuses connections is passed over. Clients' connections end with each request, too."""
    parts = urlsplit(urls[0])
    places = [(one.hostname, one.port) for one in map(urlsplit, urls)]
    turns = itertools.cycle(range(len(places)))
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
            sizes = [int(line[len(_LENGTH) :]) for line in lines if line.lower().startswith(_LENGTH)]
            body = await reader.readexactly(sizes[0]) if sizes else b""
            upper, lower = await _connected(places, next(turns))
            lower.write(b"\r\n".join([*lines, b"connection: close", b"", b""]) + body)
            leaving = asyncio.ensure_future(_left(reader, lower))
            try:
                while data := await upper.read(65536):
                    writer.write(data)
                    await writer.drain()
            finally:
                leaving.cancel()
                lower.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"{parts.scheme}://{host}:{port}{parts.path}"
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _connected(
    places: Sequence[tuple[str | None, int | None]], first: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to whose turn it is, or to the first after that who takes one."""
    for turn in range(first, first + len(places) - 1):
        with contextlib.suppress(ConnectionRefusedError):
            return await asyncio.open_connection(*places[turn % len(places)])
    return await asyncio.open_connection(*places[first - 1])


async def _left(reader: asyncio.StreamReader, lower: asyncio.StreamWriter) -> None:
    """A client that leaves takes its request with it."""
    with contextlib.suppress(OSError):
        await reader.read(1)
    lower.close()
