"""What a call costs between the ASGI server and the handler: `python -m bench.downstream [--profile legacy|modern]`.

Our own share alone: requests as uvicorn hands them over, with the headers that the Python SDK's client sends, to a handler that
answers with encoded bytes. Microseconds of CPU per call, the best of several rounds.
"""

import argparse
import cProfile
import json
import pstats
import time
from typing import Any

import uvloop
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream
from meshproxy.serving.http import HttpApp
from meshproxy.wire.codec import Raw

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"sampling": {}, "elicitation": {"form": {}}, "roots": {}},
}
ANSWER = Raw(b'{"content":[{"type":"text","text":"hello, hello, hello"}],"isError":false}')
COMMON = [
    (b"host", b"127.0.0.1:8000"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
    (b"user-agent", b"python-httpx2/2.16.2"),
    (b"accept", b"application/json, text/event-stream"),
    (b"content-type", b"application/json"),
    (b"content-length", b"300"),
]
ROUNDS, CALLS = 7, 20_000


class Echo:
    def answer(self, call: Call) -> None:
        call.end({"protocolVersion": call.params["protocolVersion"]} if call.method == "initialize" else ANSWER)

    def on_notification(self, downstream: Downstream, method: str, params: dict[str, Any]) -> None: ...

    def annotated_schema(self, tool: str) -> dict[str, Any] | None:
        return None


def message(method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, separators=(",", ":")).encode()


class Line:
    """The ASGI server's end: one request after the other."""

    def __init__(self, app: HttpApp, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.app = app
        self.scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}
        self.request = {"type": "http.request", "body": body, "more_body": False}
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return self.request

    async def send(self, sent: dict[str, Any]) -> None:
        self.sent.append(sent)

    async def call(self) -> list[dict[str, Any]]:
        self.sent = []
        await self.app(self.scope, self.receive, self.send)
        return self.sent


async def lines() -> dict[str, Line]:
    app = HttpApp(Echo())
    opening = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": META["io.modelcontextprotocol/clientInfo"],
    }
    opened = await Line(app, COMMON, message("initialize", opening)).call()
    session = dict(opened[0]["headers"])[b"mcp-session-id"]
    call = {"name": "docs_echo", "arguments": {"text": "hello, hello, hello"}}
    legacy = [*COMMON, (b"mcp-session-id", session), (b"mcp-protocol-version", b"2025-11-25")]
    modern = [
        *COMMON,
        (b"mcp-protocol-version", b"2026-07-28"),
        (b"mcp-method", b"tools/call"),
        (b"mcp-name", b"docs_echo"),
    ]
    return {
        "legacy": Line(app, legacy, message("tools/call", call)),
        "modern": Line(app, modern, message("tools/call", {**call, "_meta": META})),
    }


async def repeat(line: Line, calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        await line.call()
    return (time.process_time() - start) / calls * 1e6


async def main(profiled: str | None) -> None:
    for era, line in (await lines()).items():
        answered = await line.call()
        assert answered[0]["status"] == 200, answered
        if profiled is None:
            print(f"{era}: {min([await repeat(line, CALLS) for _ in range(ROUNDS)]):.1f} us per call")
        elif profiled == era:
            with cProfile.Profile() as profile:
                await repeat(line, CALLS)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=("legacy", "modern"))
    uvloop.run(main(parser.parse_args().profile))
