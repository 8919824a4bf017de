"""A server of one application, raw sockets to it, and requests as bytes."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from meshproxy.http.server import Http1Server
from meshproxy.http.server_connection import Connection
from tests.kit.waiting import eventually, within

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes
    pieces: list[bytes]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, and a reader of responses that believes nothing but their framing."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await within(asyncio.get_running_loop().sock_sendall(self.socket, data))

    async def more(self) -> bool:
        data = await within(asyncio.get_running_loop().sock_recv(self.socket, 65536))
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            assert await self.more(), f"the connection ended after {self.buffer[-100:]!r}"
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    async def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            assert await self.more(), f"the connection ended after {self.buffer[-100:]!r}"
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    async def rest(self) -> bytes:
        """Everything to the end, which has to be a clean one."""
        while await self.more():
            pass
        found, self.buffer = self.buffer, b""
        return found

    async def response(self, *, to_head: bool = False) -> Response:
        lines = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 ")
        headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        assert len(dict(headers)) == len(headers), headers  # type: ignore[arg-type]
        found = Response(int(lines[0].split()[1]), dict(headers), b"", [])  # type: ignore[arg-type]
        if to_head or found.status in (100, 204, 304):
            pass
        elif "transfer-encoding" in found.headers:
            assert "content-length" not in found.headers
            while size := int(await self.until(b"\r\n"), 16):
                found.pieces.append(await self.exactly(size))
                assert await self.exactly(2) == b"\r\n"
            assert await self.exactly(2) == b"\r\n"
            found.body = b"".join(found.pieces)
        elif "content-length" in found.headers:
            found.body = await self.exactly(int(found.headers["content-length"]))
        else:
            assert found.headers["connection"] == "close"
            found.body = await self.rest()
        return found

    async def ask(self, data: bytes) -> Response:
        await self.send(data)
        return await self.response()

    def reset(self) -> None:
        """Leave without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Served:
    """A server of one application, and its clients."""

    def __init__(self, server: Http1Server, port: int) -> None:
        self.server = server
        self.port = port
        self.clients: list[Client] = []

    async def dial(self, receive_buffer: int = 0) -> Client:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.clients.append(Client(connection))
        await within(asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port)))
        return self.clients[-1]

    @property
    def connection(self) -> Connection:
        [only] = self.server.connections
        return only

    async def idle(self) -> None:
        """Wait until nobody is connected and nothing runs."""
        await eventually(lambda: not self.server.connections and not self.server.tasks)


@contextlib.asynccontextmanager
async def served(app: App, send_buffer: int = 0, **settings: float) -> AsyncIterator[Served]:
    # Made without its protocol named, so that asyncio leaves Nagle's algorithm on.
    listener = socket.socket()
    if send_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    listener.setblocking(False)
    server = Http1Server(app, **settings)
    await server.start([listener])
    found = Served(server, listener.getsockname()[1])
    try:
        yield found
    finally:
        await within(server.aclose())
        for client in found.clients:
            client.socket.close()


async def body_of(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


async def respond(send: Send, body: bytes = b"ok", status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    head = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    body = await body_of(receive)
    told = {key: scope[key] for key in ("method", "path", "http_version", "client", "server")}
    told |= {key: scope[key].decode("latin-1") for key in ("raw_path", "query_string")}
    told["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    await respond(send, json.dumps(told | {"body": body.decode("latin-1")}).encode())


async def small(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send)


def get(target: str = "/", *lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: localhost", *lines, "", ""]).encode("latin-1")


def post(body: bytes = b"", *lines: str, target: str = "/", version: str = "1.1") -> bytes:
    fields = ["Host: localhost", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([f"POST {target} HTTP/{version}", *fields, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, lines: tuple[str, ...] = (), trailers: bytes = b"") -> bytes:
    head = "\r\n".join(["POST / HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", *lines, "", ""]).encode()
    return (
        head
        + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b"")[:-1])
        + b"0\r\n"
        + trailers
        + b"\r\n"
    )


async def turns(service: Served, count: int) -> None:
    """Wait for so many sweeps."""
    for _ in range(count):
        last = service.server.now
        await eventually(lambda: service.server.now > last)  # noqa: B023  # within the turn
