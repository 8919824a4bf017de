"""A server of both eras that falls ill when a file says so, over standard input and output or over HTTP, written without the SDK.

`python -IS tests/servers/ill.py --mood FILE [--http PORT --ready FILE] [--era legacy|modern|both]`. The mood is read anew for each message: JSON
with `at` (`connect`, `list`, `call` or `close`) and `do` (one of `DOINGS`), or nothing, and then it is well. Its tool `echo` answers with `tag`, and
`hold` never does. Each call that is carried out leaves its tag as a line in `--ledger`.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Write = Callable[[bytes], Awaitable[None]]
"""Sends bytes as they are; raises ConnectionError when nobody takes them."""

LISTS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
STAGES = {"initialize": "connect", "server/discover": "connect", "tools/call": "call"} | dict.fromkeys(LISTS, "list")
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "hold")]
ABOUT = {
    "capabilities": {"tools": {"listChanged": True}, "logging": {}},
    "serverInfo": {"name": "ill", "version": "1"},
    "instructions": "",
}
MODERN = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
DOINGS = ("hang", "slow", "endless", "garbage", "truncated", "oversized", "notices", "stderr", "die")
GARBAGE = b'\x00\xff<html>{"jsonrpc":"2.0","id":[[[,"result"}}}\xfe'
CHANGED = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
SAID = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"%s"}}' % (b"flood " * 20)
NOTICES = [CHANGED, SAID] * 2500
OVERSIZED = 3 << 20
"""Bytes of an answer that is larger than it may be where the tests set the bound."""


def mood() -> Json:
    try:
        return dict(json.loads(Path(options.mood).read_text()))
    except (OSError, ValueError):
        return {}


def doing(stage: str) -> str:
    """What it does instead of behaving at this stage; "" if it is well."""
    found = mood()
    return str(found["do"]) if found.get("at") == stage else ""


def encode(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


def answer(number: Any, method: str, params: Json, *, is_modern: bool) -> bytes:
    """What a server that is well says."""
    ending = MODERN if is_modern else {}
    result: Json = {}
    if method == ("initialize" if is_modern else "server/discover") or (
        options.era != "both" and is_modern != (options.era == "modern")
    ):
        return encode(id=number, error={"code": -32601, "message": f"Method not found: {method}"})
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", **ABOUT}
    elif method == "server/discover":
        result = {"supportedVersions": ["2026-07-28"], **ABOUT}
    elif method in LISTS:
        result = {LISTS[method]: TOOLS if method == "tools/list" else []}
    elif method == "tools/call":
        tag = params["arguments"]["tag"]
        with Path(options.ledger).open("a") as ledger:
            ledger.write(tag + "\n")
        result = {"content": [{"type": "text", "text": tag}]}
    return encode(id=number, result=result | ending)


def is_held(method: str, params: Json) -> bool:
    if method == "tools/call" and params.get("name") == "hold":
        with Path(options.ledger).open("a") as ledger:
            ledger.write(params["arguments"]["tag"] + "\n")
        return True
    return False


async def flood_stderr() -> None:
    """In a thread, since it must not matter to anybody else whether it is read."""
    line = b"what a day it is today, and how much there is to say about it " * 16 + b"\n"
    thread = threading.Thread(target=lambda: [os.write(2, line) for _ in range(8 << 10)], daemon=True)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.01)


async def slowly(write: Write, data: bytes) -> None:
    """A byte every now and then, and so for minutes."""
    for start in range(len(data)):
        await write(data[start : start + 1])
        await asyncio.sleep(2)


class Pipe:
    """Standard input and output."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._is_modern = options.era == "modern"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 26)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        running = set()
        loop.add_signal_handler(signal.SIGTERM, self._asked_to_leave)
        while line := await reader.readline():
            task = asyncio.create_task(self._take(json.loads(line)))
            running.add(task)
            task.add_done_callback(running.discard)
        if doing("close") == "hang":
            await asyncio.Event().wait()
        # Whatever still runs is of no use to anybody.
        os._exit(0)

    def _asked_to_leave(self) -> None:
        if doing("close") != "hang":
            os._exit(0)

    async def _take(self, message: Json) -> None:
        method, params, number = message.get("method", ""), message.get("params") or {}, message.get("id")
        if number is None or not method:
            return
        if method in ("initialize", "server/discover") and options.era == "both":
            self._is_modern = method == "server/discover"
        do = doing(STAGES.get(method, ""))
        if is_held(method, params):
            return
        if method == "subscriptions/listen":
            tag = {"_meta": {"io.modelcontextprotocol/subscriptionId": number}}
            told = {"notifications": params["notifications"], **tag}
            await self._say(encode(method="notifications/subscriptions/acknowledged", params=told))
            return
        if do == "hang":
            return
        said = answer(number, method, params, is_modern=self._is_modern)
        if do == "stderr":
            await flood_stderr()
        elif do == "notices":
            for notice in NOTICES:
                await self._say(notice)
        elif do == "garbage":
            said = GARBAGE
        elif do == "oversized":
            said = encode(id=number, result={"content": [{"type": "text", "text": "x" * OVERSIZED}], **MODERN})
        elif do in ("slow", "endless", "truncated", "die"):
            async with self._turn:
                if do == "slow":
                    await slowly(self._write, said)
                elif do == "endless":
                    await self._write(said[:-1])
                    while True:
                        await self._write(b" " * 65536)
                elif do == "truncated":
                    await self._write(said[: len(said) // 2])
                os._exit(3)
        await self._say(said)

    async def _say(self, line: bytes) -> None:
        async with self._turn:
            await self._write(line + b"\n")

    async def _write(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            # Others are heard meanwhile, however slowly it is read.
            await loop.run_in_executor(None, write_all, data)
        except OSError:
            os._exit(0)


def write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


class Web:
    """Streamable HTTP, in as much of HTTP/1.1 as the mesh speaks."""

    async def run(self, port: int) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 26)
        ready = Path(options.ready)
        part = ready.with_suffix(".part")
        part.write_text(str(server.sockets[0].getsockname()[1]))
        part.rename(ready)
        self._sessions: set[str] = set()
        await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                await self._answer(head[0].split()[0], fields, body, write)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, verb: str, fields: dict[str, str], body: bytes, write: Write) -> None:
        session = fields.get("mcp-session-id", "")
        if verb == "DELETE":
            if doing("close") == "hang":
                await asyncio.Event().wait()
            self._sessions.discard(session)
            await write(whole(b"", "200 OK"))
        elif verb == "GET":
            await write(EVENTS)
            await asyncio.Event().wait()
        else:
            await self._post(fields, json.loads(body), write)

    async def _post(self, fields: dict[str, str], message: Json, write: Write) -> None:
        method, params, number = message.get("method", ""), message.get("params") or {}, message.get("id")
        is_modern = fields.get("mcp-protocol-version") == "2026-07-28"
        session = fields.get("mcp-session-id", "")
        if not is_modern and method != "initialize" and session not in self._sessions:
            await write(whole(encode(id=number, error={"code": -32600, "message": "No such session"}), "404 Not Found"))
            return
        if number is None or not method:
            await write(whole(b"", "202 Accepted"))
            return
        do = doing(STAGES.get(method, ""))
        if do == "hang" or is_held(method, params):
            await asyncio.Event().wait()
        if method == "subscriptions/listen":
            tag = {"_meta": {"io.modelcontextprotocol/subscriptionId": number}}
            told = {"notifications": params["notifications"], **tag}
            await write(EVENTS + event(encode(method="notifications/subscriptions/acknowledged", params=told)))
            await asyncio.Event().wait()
        said = answer(number, method, params, is_modern=is_modern)
        more = ""
        if method == "initialize":
            self._sessions.add(new := os.urandom(8).hex())
            more = f"mcp-session-id: {new}\r\n"
        if do == "stderr":
            await flood_stderr()
        elif do == "garbage":
            said = GARBAGE
        elif do == "die":
            os._exit(3)
        elif do == "oversized":
            said = encode(id=number, result={"content": [{"type": "text", "text": "x" * OVERSIZED}], **MODERN})
        data = whole(said, more=more)
        if do == "notices":
            data = EVENTS + b"".join(map(event, NOTICES)) + event(said) + b"0\r\n\r\n"
        elif do == "slow":
            await slowly(write, data)
        elif do == "endless":
            await write(EVENTS)
            while True:
                # Not faster than a client written in Python reads.
                await write(event(SAID) * 50)
                await asyncio.sleep(0.02)
        elif do == "truncated":
            await write(data[: len(data) - len(said) // 2])
            raise ConnectionResetError
        await write(data)


EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(data: bytes) -> bytes:
    framed = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(framed), framed)


def whole(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


async def main() -> None:
    await (Pipe().run() if options.http is None else Web().run(options.http))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--mood", required=True)
parser.add_argument("--ledger", required=True)
parser.add_argument(
    "--http", type=int, metavar="PORT", help="0 takes a free one; without it, it is on the standard streams"
)
parser.add_argument("--ready", help="a file to leave the port in")
parser.add_argument("--era", choices=["legacy", "modern", "both"], default="both")

if __name__ == "__main__":
    options = parser.parse_args()
    asyncio.run(main())
