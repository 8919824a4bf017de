"""CPU per call of the upstream links, beside what their transport costs without them.

    python bench/links.py [--calls 20000] [--clients 16]

HTTP: the floor is `HttpClient.request` with the same bytes. Stdio: the floor is a pipe each way, a future a call, and bytes that
nobody reads. CPU is this process's own, user and system; servers are processes of their own and answer with as little as can be.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from meshproxy.http.client import HttpClient, encode_headers
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call
from meshproxy.links.lines import Lines
from meshproxy.links.process import Process
from meshproxy.links.stdio import StdioEndpoint, environment
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.wire.codec import Raw

ROUNDS = 5
RESULT = b'{"content":[{"type":"text","text":"' + b"x" * 100 + b'"}],"isError":false}'
PARAMS = {"name": "echo", "arguments": Raw(b'{"text":"' + b"x" * 100 + b'"}')}
LEGACY = b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"b","version":"1"}}'
MODERN = b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}'
SESSION = b"mcp-session-id: 0123456789abcdef\r\n"


def answer_to(message: bytes, *, modern: bool) -> bytes | None:
    """The answer to a message; None for a notification. The id is the first number in it, as our links write it."""
    start = message.find(b'"id":')
    if start < 0:
        return None
    head = b'{"jsonrpc":"2.0","id":' + message[start + 5 : message.index(b",", start)]
    if b'"initialize"' in message:
        return head + b',"result":' + LEGACY + b"}"
    if b'"server/discover"' in message:
        return head + (b',"result":' + MODERN if modern else b',"error":{"code":-32601,"message":"no"}') + b"}"
    return head + b',"result":' + RESULT + b"}"


class Server(asyncio.Protocol):
    """Answers each POST by its path: /json, /sse in three pieces, or /modern. Requests arrive in one piece each."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        head, _, body = data.partition(b"\r\n\r\n")
        answer = answer_to(body, modern=b"/modern" in head[:20])
        if answer is None:
            status = b"200 OK" if head.startswith(b"DELETE") else b"202 Accepted"
            self.transport.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n" % status)
        elif b"/sse" in head[:20]:
            event = b"event: message\r\ndata: " + answer + b"\r\n\r\n"
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                + SESSION
                + b"transfer-encoding: chunked\r\n\r\n"
            )
            loop = asyncio.get_running_loop()
            loop.call_soon(self.transport.write, b"%x\r\n" % len(event) + event + b"\r\n")
            loop.call_later(0, self.transport.write, b"0\r\n\r\n")
        else:
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                + SESSION
                + b"content-length: %d\r\n\r\n" % len(answer)
                + answer
            )


def serve(pipe) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


def serve_stdio(*, modern: bool) -> None:
    for line in sys.stdin.buffer:
        answer = answer_to(line, modern=modern)
        if answer is not None:
            sys.stdout.buffer.write(answer + b"\n")
            sys.stdout.buffer.flush()


class Caller(Call):
    """A call and a listener that want nothing."""

    log_level = None
    capabilities = None

    def __init__(self):
        self.owner = None
        self.headers = {}
        self.capabilities = {}
        self.timeout = 300.0
        self.max_result = MAX_MESSAGE
        self.wants_progress = False

    def on_notification(self, *_):
        pass

    async def on_request(self, *_):
        return {}

    def on_stream_ended(self):
        pass

    def on_closed(self, *_):
        pass


async def spread(send: Callable[[], Awaitable[object]], calls: int, clients: int) -> float:
    """Microseconds of CPU per call, with so many at once."""

    async def client(count: int) -> None:
        for _ in range(count):
            await send()

    begun = time.process_time()
    await asyncio.gather(*(client(calls // clients) for _ in range(clients)))
    return (time.process_time() - begun) / (calls // clients * clients) * 1e6


async def http_floor(base: str, path: str):
    http = HttpClient(base + path, connect_timeout=5)
    lines = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    head = encode_headers(lines | {"mcp-session-id": "0123456789abcdef", "mcp-protocol-version": "2025-11-25"})
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":%b}}' % PARAMS["arguments"]
    )

    def on_head(response):
        if response.is_event_stream:
            response.on_data(lambda _: response.release(), lambda _: None)

    async def send():
        await http.request("POST", None, head, body, timeout=300, on_head=on_head)

    return send, http.aclose


async def stdio_floor():
    waiting: list[asyncio.Future[bytes]] = []
    loop = asyncio.get_running_loop()
    nothing = lambda *_: None  # noqa: E731
    process = Process(
        lambda line: waiting.pop(0).set_result(line), nothing, nothing, nothing, nothing, shutdown=5, lines=Lines(10**6)
    )
    await process.start(sys.executable, [__file__, "--serve", "legacy"], environment({}), None)
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":%b}}' % PARAMS["arguments"]
    )

    async def send():
        future = loop.create_future()
        waiting.append(future)
        process.feed.write(body)
        await future

    return send, process.aclose


async def through(endpoint):
    caller = Caller()
    link = await endpoint.connect(client={"name": "b", "version": "1"}, capabilities={}, listener=caller, timeout=30)

    async def send():
        await link.request("tools/call", PARAMS, caller)

    return send, endpoint.aclose


async def measure(port: int, calls: int, clients: int) -> None:
    base = f"http://127.0.0.1:{port}"

    def program(era: str):
        return StdioEndpoint("b", sys.executable, (__file__, "--serve", era))

    contenders = {
        "http1 alone, JSON": await http_floor(base, "/json"),
        "link, legacy, JSON": await through(HttpEndpoint("b", base + "/json")),
        "link, modern, JSON": await through(HttpEndpoint("b", base + "/modern")),
        "http1 alone, event stream": await http_floor(base, "/sse"),
        "link, legacy, event stream": await through(HttpEndpoint("b", base + "/sse")),
        "pipes alone": await stdio_floor(),
        "link, stdio, legacy": await through(program("legacy")),
        "link, stdio, modern": await through(program("modern")),
    }
    print(f"{'microseconds of CPU per call':32}{'1 client':>10}{f'{clients} clients':>12}")
    try:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for send, _ in contenders.values():
            await spread(send, 500, 1)
        for _ in range(ROUNDS):
            for name, (send, _) in contenders.items():
                found[name].append((await spread(send, calls // 4, 1), await spread(send, calls, clients)))
        for name, rounds in found.items():
            alone, many = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{name:32}{alone:10.1f}{many:12.1f}")
    finally:
        for _, close in contenders.values():
            await close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--serve", choices=["legacy", "modern"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve_stdio(modern=chosen.serve == "modern")
        return
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        uvloop.run(measure(ours.recv(), chosen.calls, chosen.clients))
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
