"""CPU per request of the upstream HTTP client against a trivial server in another process.

    python bench/http1_client.py [--requests 20000] [--clients 16]

The floor is the same exchange over a bare protocol that counts bytes instead of parsing: what the loop and the system cost anyway.
CPU is the client process's own, user and system, which is what the client adds to a hop.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe

import uvloop
from meshproxy.http.client import HttpClient, Response, encode_headers
from meshproxy.http.sse import SseParser

ROUNDS = 5
BODY = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"'
    + b"x" * 100
    + b'"}}}'
)
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"' + b"x" * 100 + b'"}],"isError":false}}'
COMMON = (
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: bench\r\nmcp-session-id: 0123456789abcdef\r\n"
)
JSON = COMMON + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(RESULT) + RESULT
EVENT = b"event: message\r\ndata: " + RESULT + b"\r\n\r\n"
SSE_HEAD = COMMON + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SSE_EVENT = b"%x\r\n" % len(EVENT) + EVENT + b"\r\n"
HEADERS = encode_headers(
    {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-session-id": "0123456789abcdef",
    }
)


class Server(asyncio.Protocol):
    """Answers each request, which must arrive in one piece, by its path: /json, or /sse in three pieces."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data.startswith(b"POST /json"):
            self.transport.write(JSON)
        else:
            loop = asyncio.get_running_loop()
            self.transport.write(SSE_HEAD)
            loop.call_soon(self.transport.write, SSE_EVENT)
            loop.call_later(0, self.transport.write, b"0\r\n\r\n")


def serve(pipe: Pipe) -> None:
    async def main():
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        server.close()

    uvloop.run(main())


class Bare(asyncio.Protocol):
    def __init__(self):
        self.missing, self.future = 0, None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.missing -= len(data)
        if self.missing == 0:
            self.future.set_result(None)

    async def request(self, request: bytes) -> None:
        self.missing = len(JSON)
        self.future = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self.future


async def measure(clients: int, requests: int, call: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Microseconds of CPU and of wall time per request."""

    async def run(count):
        for _ in range(count):
            await call()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(run(requests // clients) for _ in range(clients)))
    done = requests // clients * clients / 1e6
    return (time.process_time() - cpu) / done, (time.perf_counter() - wall) / done


async def main(port: int, requests: int, many: int) -> None:
    url = f"http://127.0.0.1:{port}"

    bare: list[Bare] = []

    async def floor():
        if not bare:
            bare.append((await asyncio.get_running_loop().create_connection(Bare, "127.0.0.1", port))[1])
        one = bare.pop()
        await one.request(
            b"POST /json HTTP/1.1\r\nhost: x\r\n" + HEADERS + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
        )
        bare.append(one)

    plain, events = HttpClient(f"{url}/json", connect_timeout=5), HttpClient(f"{url}/sse", connect_timeout=5)

    async def json_call():
        response = await plain.request("POST", None, HEADERS, BODY, timeout=60)
        assert response.body == RESULT

    async def pushed_call():
        parser, answers = SseParser(), []

        def on_head(response: Response) -> None:
            def on_data(data: bytes) -> None:
                for event in parser.feed(data):
                    answers.append(event.data)
                    response.release()

            response.on_data(on_data, lambda _: None)

        await events.request("POST", None, HEADERS, BODY, timeout=60, on_head=on_head)
        assert answers == [RESULT]

    async def iterated_call():
        parser = SseParser()
        response = await events.request("POST", None, HEADERS, BODY, timeout=60)
        async for chunk in response:
            for event in parser.feed(chunk):
                assert event.data == RESULT

    contenders = {
        "floor: bare protocol": floor,
        "HttpClient, JSON": json_call,
        "HttpClient, event stream pushed": pushed_call,
        "HttpClient, event stream iterated": iterated_call,
    }
    for clients in (1, many):
        rounds: dict[str, list[tuple[float, float]]] = {label: [] for label in contenders}
        for _ in range(ROUNDS):  # interleaved, so that a change of the machine's speed meets all
            for label, call in contenders.items():
                rounds[label].append(await measure(clients, requests // ROUNDS, call))
        for label, results in rounds.items():
            cpu, wall = (statistics.median(values) for values in zip(*results, strict=True))
            print(f"{label:34} {clients:3} clients  {cpu:6.1f} us CPU  {wall:6.1f} us wall")
    await plain.aclose()
    await events.aclose()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=20_000)
    arguments.add_argument("--clients", type=int, default=16)
    options = arguments.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs,))
    server.start()
    uvloop.run(main(ours.recv(), options.requests, options.clients))
    ours.send(None)
    server.join()
