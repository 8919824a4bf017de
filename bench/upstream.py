"""The fixture upstream: an MCP server of both eras that costs next to nothing, over HTTP or stdio.

    python bench/upstream.py --port 0 --tools 8        prints the port that it serves at /mcp
    python bench/upstream.py --stdio --tools 8

Tools: `echo` answers with its argument `text`, `payload` with `text` before 64 kB of filler, `stream` as `echo` does, but over HTTP by
an event stream, `failed` likewise, but as an error, and so many more that echo, up to `--tools`. There are one resource, `note://text/one`,
and one prompt, `ask`, that says its argument `text`, which may be completed: by itself.

Answers look as those of the SDKs' servers do: the order of their keys, and what is sent although it is the default. They are spliced
together from bytes; what a request says beyond its id, its method and a few parameters is not looked at.
It imports nothing of the project and next to nothing else, so that ten of them start quickly.
"""

import argparse
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import msgspec
from msgspec import Raw

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
META_VERSION = "io.modelcontextprotocol/protocolVersion"
SERVER = {"name": "bench-upstream", "version": "1"}

_LINE = 'The quick brown fox says "jumps over the lazy dog", and then says it again.\n'
FILLER = (_LINE * (65_536 // len(_LINE) + 1))[:65_536]
"""What `payload` answers with after its argument: 64 kB of text with the line ends and quotes that text has."""

NOTE = "note://text/one"
NOTE_TEXT = "benchmark " * 12
"""What the resource says."""
PROMPT = "ask"
CAPABILITIES: dict = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}


class Arguments(msgspec.Struct):
    text: Raw = Raw(b'""')


class Argument(msgspec.Struct):
    value: Raw = Raw(b'""')


class Params(msgspec.Struct):
    name: str = ""
    uri: str = ""
    arguments: Arguments | None = None
    argument: Argument | None = None
    meta: dict[str, Raw] | None = msgspec.field(name="_meta", default=None)
    version: Raw = msgspec.field(name="protocolVersion", default=Raw(b'""'))


class Request(msgspec.Struct):
    method: str | None = None
    id: Raw = Raw(b"")
    params: Params | None = None


decode = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode


def tools(count: int) -> list[dict]:
    """Names and schemas of ordinary size; the first four do what the benchmark calls."""
    names = ["echo", "payload", "stream", "failed", *(f"tool_{number:04}" for number in range(4, count))][:count]
    return [
        {
            "name": name,
            "description": f"Do what {name} does with a text, and say in one or two sentences how that went.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "The text to work on."},
                    "limit": {"type": "integer", "description": "How much of it to use.", "default": 10},
                },
                "required": ["text"],
            },
        }
        for name in names
    ]


class Server:
    """Bytes of a message in, bytes of the answer out; None for what has no answer."""

    def __init__(self, count: int, *, modern: bool = True) -> None:
        """`modern` is whether it serves the modern era too."""
        self.modern = modern
        listing = tools(count)
        self.names = {tool["name"] for tool in listing}
        self.filler = encode(FILLER)[1:]
        stamp = {"resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": SERVER}}
        cached = stamp | {"ttlMs": 0, "cacheScope": "private"}
        discovered = {"supportedVersions": [MODERN], "capabilities": CAPABILITIES}
        note = {"uri": NOTE, "mimeType": "text/plain"}
        prompt = {"name": PROMPT, "arguments": [{"name": "text", "required": True}]}
        read = {"contents": [note | {"text": NOTE_TEXT}]}
        lists = {
            "tools/list": {"tools": listing},
            "resources/list": {"resources": [note | {"name": "one"}]},
            "resources/templates/list": {"resourceTemplates": []},
            "prompts/list": {"prompts": [prompt]},
        }
        self.fixed = {
            **{(method, False): encode(result) for method, result in lists.items()},
            **{(method, True): encode(result | cached) for method, result in lists.items()},
            ("server/discover", True): encode(discovered | cached),
            ("ping", False): b"{}",
        }
        self.notes = {False: encode(read), True: encode(read | cached)}
        self.tail = {False: b"", True: b"," + encode(stamp)[1:-1]}

    def answer(self, message: Request, *, modern: bool) -> bytes | None:
        if not bytes(message.id) or message.method is None:
            return None
        params = message.params
        if params is not None:
            if message.method == "tools/call":
                return self.call(message.id, params, modern=modern)
            if message.method == "resources/read":
                return self.read(message.id, params, modern=modern)
            if message.method == "prompts/get":
                return self.prompt(message.id, params, modern=modern)
            if message.method == "completion/complete":
                return self.complete(message.id, params, modern=modern)
        result = self.fixed.get((message.method, modern))
        if result is None and message.method == "initialize" and not modern:
            asked = msgspec.json.decode(params.version) if params else ""
            version = asked if asked in LEGACY else LEGACY[-1]
            result = encode({"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": SERVER})
        if result is None:
            return failure(message.id, -32601, f"Method not found: {message.method}")
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (message.id, result)

    def call(self, message_id: Raw, params: Params, *, modern: bool) -> bytes:
        if params.name not in self.names:
            return failure(message_id, -32602, f"Unknown tool: {params.name}")
        text = bytes(params.arguments.text) if params.arguments else b'""'
        if text[:1] != b'"':
            return failure(message_id, -32602, "'text' must be a string")
        if params.name == "payload":
            text = text[:-1] + self.filler
        is_error = b"true" if params.name == "failed" else b"false"
        head = b'{"jsonrpc":"2.0","id":%b,"result":{"content":[{"text":' % message_id
        return b'%b%b,"type":"text"}],"isError":%b%b}}' % (head, text, is_error, self.tail[modern])

    def read(self, message_id: Raw, params: Params, *, modern: bool) -> bytes:
        if params.uri != NOTE:
            return failure(message_id, -32602 if modern else -32002, f"Unknown resource: {params.uri}")
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (message_id, self.notes[modern])

    def prompt(self, message_id: Raw, params: Params, *, modern: bool) -> bytes:
        if params.name != PROMPT:
            return failure(message_id, -32602, f"Unknown prompt: {params.name}")
        text = bytes(params.arguments.text) if params.arguments else b'""'
        head = b'{"jsonrpc":"2.0","id":%b,"result":{"messages":[{"role":"user","content":{"text":' % message_id
        return b'%b%b,"type":"text"}}]%b}}' % (head, text, self.tail[modern])

    def complete(self, message_id: Raw, params: Params, *, modern: bool) -> bytes:
        value = bytes(params.argument.value) if params.argument else b'""'
        head = b'{"jsonrpc":"2.0","id":%b,"result":{"completion":{"values":[' % message_id
        return b'%b%b],"hasMore":false}%b}}' % (head, value, self.tail[modern])


def failure(message_id: Raw | bytes, code: int, text: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (message_id, encode({"code": code, "message": text}))


def is_streamed(message: Request) -> bool:
    return message.method == "tools/call" and message.params is not None and message.params.name == "stream"


def is_modern(message: Request) -> bool:
    return message.params is not None and message.params.meta is not None and META_VERSION in message.params.meta


def serve_stdio(server: Server, *, hang: bool) -> None:
    rest = b""
    while chunk := os.read(0, 1 << 20):
        if hang:
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        out = b""
        for line in lines:
            if line.strip():
                message = decode(line)
                answer = server.answer(message, modern=server.modern and is_modern(message))
                out += answer + b"\n" if answer else b""
        while out:
            out = out[os.write(1, out) :]


def serve_http(server: Server, port: int, *, hang: bool, ready: str | None) -> None:
    # Only here, so that the stdio form starts without them.
    import asyncio

    import httptools
    import uvloop

    sessions: set[bytes] = set()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            self.write = transport.write
            self.loop = asyncio.get_running_loop()
            self.parser = httptools.HttpRequestParser(self)
            self.session = self.version = self.body = b""

        def data_received(self, data: bytes) -> None:
            if not hang:
                self.parser.feed_data(data)

        def on_message_begin(self) -> None:
            self.session = self.version = self.body = b""

        def on_header(self, name: bytes, value: bytes) -> None:
            if name[:4].lower() == b"mcp-":
                name = name.lower()
                if name == b"mcp-session-id":
                    self.session = value
                elif name == b"mcp-protocol-version":
                    self.version = value

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            method = self.parser.get_method()
            if method == b"POST":
                self.post()
            elif method == b"DELETE":
                sessions.discard(self.session)
                self.send(b"200 OK", b"")
            else:
                self.send(b"405 Method Not Allowed", b"", b"Allow: POST, DELETE\r\n")

        def send(self, status: bytes, body: bytes, headers: bytes = b"") -> None:
            head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
            self.write(head % (status, headers, len(body)) + body)

        def stream(self, answer: bytes) -> None:
            """As the servers of the SDKs do: the head, the event and the end are written one after the other."""
            self.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            event = b"event: message\r\ndata: %b\r\n\r\n" % answer
            self.loop.call_soon(self.write, b"%x\r\n%b\r\n" % (len(event), event))
            self.loop.call_later(0, self.write, b"0\r\n\r\n")

        def post(self) -> None:
            try:
                message = decode(self.body)
            except msgspec.DecodeError as error:
                self.send(b"400 Bad Request", failure(b"null", -32700, str(error)))
                return
            modern = self.version != b"" and self.version.decode() not in LEGACY
            if modern:
                if not server.modern or self.version != MODERN.encode() or not is_modern(message):
                    self.send(b"400 Bad Request", failure(bytes(message.id) or b"null", -32022, "Unsupported version"))
                    return
            elif message.method == "initialize":
                session = uuid.uuid4().hex.encode()
                sessions.add(session)
                body = server.answer(message, modern=False) or b""
                self.send(b"200 OK", body, b"Mcp-Session-Id: %b\r\n" % session)
                return
            elif self.session not in sessions:
                status = b"404 Not Found" if self.session else b"400 Bad Request"
                self.send(status, failure(bytes(message.id) or b"null", -32600, "No such session"))
                return
            answer = server.answer(message, modern=modern)
            if answer is None:
                self.send(b"202 Accepted", b"")
            elif is_streamed(message) and b'"result":' in answer[:60]:
                self.stream(answer)
            else:
                unknown = modern and b'"error":{"code":-32601' in answer[-200:]
                self.send(b"404 Not Found" if unknown else b"200 OK", answer)

    async def main() -> None:
        listener = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
        print(listener.sockets[0].getsockname()[1], flush=True)
        say_ready(ready)
        await listener.serve_forever()

    uvloop.run(main())


def say_cost(path: str | None) -> None:
    """Add what this process has cost to a ledger: a proxy that starts one per call must not be charged with it."""
    if path:
        with Path(path).open("ab", buffering=0) as file:
            file.write(b"%f\n" % time.process_time())


def say_ready(path: str | None) -> None:
    """Leave the time at which requests are read, on the clock that all processes share."""
    if path:
        part = Path(path + ".part")
        part.write_text(str(time.monotonic()))
        part.replace(path)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--stdio", action="store_true")
    options.add_argument("--tools", type=int, default=8)
    options.add_argument("--legacy", action="store_true", help="serve the legacy era alone")
    options.add_argument("--hang", action="store_true", help="read everything and answer nothing")
    options.add_argument("--slow", type=float, default=0.0, help="seconds before it begins to serve")
    options.add_argument("--ledger", help="file to add this process's seconds of CPU to at its end")
    options.add_argument("--ready", help="file to leave the time in at which it began to serve")
    asked = options.parse_args()
    if asked.slow:
        time.sleep(asked.slow)
    server = Server(asked.tools, modern=not asked.legacy)
    try:
        if asked.stdio:
            # As an exception, so that the cost is told at that end too.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            say_ready(asked.ready)
            serve_stdio(server, hang=asked.hang)
        else:
            serve_http(server, asked.port, hang=asked.hang, ready=asked.ready)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(0)
    finally:
        say_cost(asked.ledger)


if __name__ == "__main__":
    main()
