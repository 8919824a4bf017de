"""An HTTP server whose every byte the test decides."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from tests.kit.waiting import DEADLINE


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def request(self) -> bytes:
        """The next request: head, and body by its length."""
        async with asyncio.timeout(DEADLINE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            return head + (await self.reader.readexactly(int(length[1])) if length else b"")

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)

    def answer(self, body: bytes = b"", headers: bytes = b"", status: bytes = b"200 OK") -> None:
        self.send(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n%s\r\n" % (status, len(body), headers) + body)

    async def closed(self) -> bool:
        """Wait until the client closes; true if it had sent nothing more."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class RawServer:
    """Hands out the connections that it accepts, in order."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.accepted: asyncio.Queue[Peer] = asyncio.Queue()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self.accepted.put_nowait(peer)

    async def accept(self) -> Peer:
        async with asyncio.timeout(DEADLINE):
            return await self.accepted.get()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def start(self, **options: object) -> None:
        self.server = await asyncio.start_server(self, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for peer in self.peers:
            peer.writer.transport.abort()
        await self.server.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    raw = RawServer()
    await raw.start()
    yield raw
    await raw.stop()
