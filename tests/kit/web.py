"""An MCP server over HTTP whose every byte the test decides, and whose handshake it need not care for."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.kit.raw_server import Peer, RawServer
from tests.kit.waiting import Changes

SESSION = "s-1"
INITIALIZED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "w", "version": "1"},
}
DISCOVERED = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    message: dict[str, Any]
    peer: Peer

    @property
    def key(self) -> str:
        """What it is: the JSON-RPC method, `answer` for an answer, or the HTTP method if there is no body."""
        return self.message.get("method", "answer") if self.message else self.method

    @property
    def id(self) -> Any:
        return self.message["id"]


Behaviour = Callable[[Request], Awaitable[None]]


class Web:
    """Answers requests by what `on` says of them; the handshake of an era by itself.

    `requests` are those that have come, and `connections` how many they came on.
    """

    def __init__(self, raw: RawServer, *, modern: bool = False) -> None:
        self.raw = raw
        self.requests: list[Request] = []
        self.on: dict[str, Behaviour] = {
            "initialize": self._initialize,
            "server/discover": self._discover if modern else refuse(404, b"Not Found"),
            "notifications/initialized": accept,
            "notifications/cancelled": accept,
            "answer": accept,
            "GET": refuse(405),
            "DELETE": refuse(200),
        }
        self.changes = Changes()
        self._task = asyncio.create_task(self._accept())
        self._serving: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return self.raw.url

    def told(self, key: str) -> list[Request]:
        return [request for request in self.requests if request.key == key]

    async def request(self, key: str, number: int = 1) -> Request:
        """The first request of that key, or a later one, as soon as it has come."""
        [request] = await self.changes.until(lambda: self.told(key)[number - 1 : number], lambda: self.requests)
        return request

    async def stop(self) -> None:
        for task in (self._task, *self._serving):
            task.cancel()
        ended = await asyncio.gather(self._task, *self._serving, return_exceptions=True)
        # A mistake in what a test has it do is not to look like an upstream that does not answer.
        if wrong := [
            error for error in ended if isinstance(error, Exception) and not isinstance(error, ConnectionError)
        ]:
            raise ExceptionGroup("the server of the test failed", wrong)

    async def _accept(self) -> None:
        while True:
            self._serving.append(asyncio.create_task(self._serve(await self.raw.accepted.get())))

    async def _serve(self, peer: Peer) -> None:
        while True:
            try:
                head = await peer.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            line, *lines = head.decode().split("\r\n")[:-2]
            method, target, _ = line.split(" ")
            headers = dict(item.split(": ", 1) for item in lines)
            body = await peer.reader.readexactly(int(headers.get("content-length", 0)))
            request = Request(method, target, headers, json.loads(body) if body else {}, peer)
            self.requests.append(request)
            self.changes.made()
            key = request.message.get("params", {}).get("name", "") if request.key == "tools/call" else request.key
            await self.on.get(key, self._unknown)(request)

    async def _initialize(self, request: Request) -> None:
        answer(request, INITIALIZED, b"mcp-session-id: " + SESSION.encode() + b"\r\n")

    async def _discover(self, request: Request) -> None:
        answer(request, DISCOVERED)

    async def _unknown(self, request: Request) -> None:
        answer(request, {"echo": request.message.get("params")})


def encode(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def answer(request: Request, result: Any, headers: bytes = b"") -> None:
    """A whole JSON answer."""
    request.peer.answer(encode(id=request.id, result=result), b"content-type: application/json\r\n" + headers)


def refuse(status: int, body: bytes = b"", kind: bytes = b"text/plain") -> Behaviour:
    async def behave(request: Request) -> None:
        request.peer.answer(body, b"content-type: " + kind + b"\r\n", b"%d Whatever" % status)

    return behave


def error(status: int, code: int, message: str, request_id: Any = None) -> Behaviour:
    async def behave(request: Request) -> None:
        body = encode(id=request.id if request_id is ... else request_id, error={"code": code, "message": message})
        request.peer.answer(body, b"content-type: application/json\r\n", b"%d Whatever" % status)

    return behave


async def accept(request: Request) -> None:
    request.peer.answer(status=b"202 Accepted")


async def never(request: Request) -> None:
    await asyncio.Event().wait()


def event(data: bytes, **fields: Any) -> bytes:
    lines = [f"{name}: {value}\n".encode() for name, value in fields.items()]
    return b"".join(lines) + b"data: " + data + b"\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(request: Request, *events: bytes, end: bool = True) -> None:
    """An event stream, each event a chunk; without its end it stays open."""
    request.peer.send(EVENTS, *(chunk(one) for one in events), *([b"0\r\n\r\n"] if end else []))
