"""What clients can do to a mesh, as a table: each comes in numbers, misbehaves, and leaves."""

import asyncio
import contextlib
import json
import random
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from tests.kit.waiting import within
from tests.soak.clients import CLIENT, ENVELOPE, LEGACY, MODERN

Json = dict[str, Any]
INITIALIZE: Final = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
HEAD_ENDS: Final = b"\r\n\r\n"


class Visitor:
    """One kind of client, many of which come at once.

    Attributes:
        name: as it stands in the documentation.
        count: how many connections it makes.
    """

    name: ClassVar[str]
    count: ClassVar[int] = 20

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self.host, self.port = str(split.hostname), split.port
        self.connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def come(self) -> None:
        """All of them, until they have done what is wrong."""
        await within(asyncio.gather(*(self.misbehave(number) for number in range(self.count))))

    async def leave(self) -> None:
        """Without a word, whatever is under way."""
        for _, writer in self.connections:
            writer.transport.abort()

    async def misbehave(self, number: int) -> None:
        raise NotImplementedError

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connections.append(await asyncio.open_connection(self.host, self.port))
        return self.connections[-1]

    def post(self, message: Json, *fields: str) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        lines = [
            "POST /mcp HTTP/1.1",
            f"host: {self.host}:{self.port}",
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            f"content-length: {len(body)}",
            *fields,
        ]
        return "\r\n".join(lines).encode() + HEAD_ENDS + body

    def call(self, number: int, tool: str, **arguments: Any) -> bytes:
        """A call of the modern era, which needs no session."""
        params = {"name": tool, "arguments": arguments, "_meta": ENVELOPE}
        fields = (f"mcp-protocol-version: {MODERN}", "mcp-method: tools/call", f"mcp-name: {tool}")
        return self.post({"id": number, "method": "tools/call", "params": params}, *fields)

    async def session(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """A connection, and the header line of a session of the legacy era."""
        reader, writer = await self.dial()
        writer.write(self.post({"id": 0, "method": "initialize", "params": INITIALIZE}))
        head = (await reader.readuntil(HEAD_ENDS)).decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        await reader.readexactly(int(fields["content-length"]))
        return reader, writer, f"mcp-session-id: {fields['mcp-session-id']}"


class Vanishes(Visitor):
    name = "vanishes in the middle of a call"

    async def misbehave(self, number: int) -> None:
        params = {"name": "light_legacy_echo", "arguments": {"hold": True, "tag": "gone"}}
        if number % 2:
            _, writer = await self.dial()
            writer.write(self.call(1, params["name"], hold=True))  # type: ignore[arg-type]
        else:
            _, writer, session = await self.session()
            writer.write(self.post({"id": 1, "method": "tools/call", "params": params}, session))
        await writer.drain()


class NeverReads(Visitor):
    name = "never reads what it asked for"

    async def misbehave(self, number: int) -> None:
        reader, writer, session = await self.session()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        params = {"name": "bench_pipe_payload", "arguments": {"text": "much"}}
        for asked in range(1, 60):
            writer.write(self.post({"id": asked, "method": "tools/call", "params": params}, session))


class Babbles(Visitor):
    name = "sends garbage"
    count = 40

    async def misbehave(self, number: int) -> None:
        rng = random.Random(number)
        _, writer = await self.dial()
        whole = self.call(1, "light_legacy_echo", tag="x")
        at = rng.randrange(len(whole))
        said = (
            rng.randbytes(4000),
            whole[:at],
            whole[:at] + rng.randbytes(3) + whole[at:],
            b"POST /mcp HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
            b"GET /mcp HTTP/1.1\r\n" + b"x: y\r\n" * 5000,
            self.post({"id": 1, "method": "x" * 100, "params": [[[[1]]]]}),
            whole.replace(b'"arguments"', b'"arguments": {"tag": "y"}, "arguments"'),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(500),
        )[number % 8]
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            await writer.drain()


class Abandons(Visitor):
    name = "opens sessions and forgets them"
    count = 100

    async def misbehave(self, number: int) -> None:
        _, writer, _ = await self.session()
        writer.close()


VISITORS: Final = (Vanishes, NeverReads, Babbles, Abandons)
