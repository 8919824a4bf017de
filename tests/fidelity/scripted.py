"""A server that sends what the call's arguments spell, to the letter: on pipes as a program, or over HTTP as an ASGI application.

Its one tool is `play`. `before` are messages that it sends first, `ask` is a method and the text of its parameters, and `final` is the member
`"result":...` or `"error":...` of the answer. In all of them %TOKEN% stands for the progress token and %ANSWER% for what was answered.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from meshproxy.wire.codec import opened, shallow

Send = Callable[[str], Awaitable[None]]

INITIALIZED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}, "prompts": {}, "resources": {}, "logging": {}},
    "serverInfo": {"name": "scripted", "version": "1"},
}
DISCOVERED = INITIALIZED | {"supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private"}
LISTED: dict[str, Any] = {
    "tools/list": {"tools": [{"name": "play", "inputSchema": {"type": "object"}}]},
    "prompts/list": {"prompts": []},
    "resources/list": {"resources": []},
    "resources/templates/list": {"resourceTemplates": []},
}


class Player:
    """One client's server."""

    def __init__(self, era: str) -> None:
        self._era = era
        self._open: dict[str, asyncio.Future[str]] = {}

    async def receive(self, text: bytes, send: Send) -> None:
        """Take a message; `send` takes each answer to it."""
        message = shallow(text)
        number = bytes(message["id"]).decode() if "id" in message else None
        method = opened(message.get("method"))
        if method is None:
            self._open.pop(str(number)).set_result(bytes(message.get("result", message.get("error"))).decode())
        elif number is not None:
            params = shallow(message["params"]) if "params" in message else {}
            await self._answer(number, method, params, send)

    async def _answer(self, number: str, method: str, params: dict[str, Any], send: Send) -> None:
        known = {"initialize": INITIALIZED} if self._era == "legacy" else {"server/discover": DISCOVERED}
        known |= LISTED
        if method == "tools/call":
            await self._play(number, params, send)
        elif method in known or method == "logging/setLevel":
            result = known.get(method, {}) | ({"resultType": "complete"} if self._era == "modern" else {})
            await send(f'{{"jsonrpc":"2.0","id":{number},"result":{json.dumps(result)}}}')
        else:
            await send(f'{{"jsonrpc":"2.0","id":{number},"error":{{"code":-32601,"message":"no {method}"}}}}')

    async def _play(self, number: str, params: dict[str, Any], send: Send) -> None:
        script = opened(params["arguments"])
        token = bytes(shallow(params["_meta"])["progressToken"]).decode() if "_meta" in params else "null"
        answer = "null"
        if "inputResponses" in params:
            answer = bytes(shallow(params["inputResponses"])["k"]).decode()
        else:
            for told in script["before"]:
                await send(told.replace("%TOKEN%", token))
            if script["ask"] is not None:
                method, asked = script["ask"]
                if self._era == "modern":
                    question = f'{{"method":"{method}","params":{asked}}}'
                    result = f'{{"resultType":"input_required","inputRequests":{{"k":{question}}}}}'
                    await send(f'{{"jsonrpc":"2.0","id":{number},"result":{result}}}')
                    return
                future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
                name = f'"q-{number}"'
                self._open[name] = future
                await send(f'{{"jsonrpc":"2.0","id":{name},"method":"{method}","params":{asked}}}')
                answer = await future
        await send(f'{{"jsonrpc":"2.0","id":{number},{script["final"].replace("%ANSWER%", answer)}}}')


class App:
    """The same over HTTP: one player for all, and an answer as JSON where it is one message, else as events."""

    def __init__(self, era: str) -> None:
        self._era = era
        self._player = Player(era)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        is_modern = headers.get(b"mcp-protocol-version", b"").startswith(b"2026")
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        if scope["method"] != "POST" or is_modern != (self._era == "modern"):
            await _respond(send, 405 if scope["method"] != "POST" else 400, b"")
            return
        message = json.loads(body)
        if "id" not in message or "method" not in message:
            await self._player.receive(body, _never)
            await _respond(send, 202, b"")
            return
        script = message.get("params", {}).get("arguments") or {}
        if not script.get("before") and not script.get("ask"):
            said: list[str] = []
            await self._player.receive(body, _into(said))
            await _respond(send, 200, said[0].encode())
            return
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})

        async def event_of(text: str) -> None:
            lines = "".join(f"data: {line}\n" for line in text.split("\n"))
            await send({"type": "http.response.body", "body": f"{lines}\n".encode(), "more_body": True})

        await self._player.receive(body, event_of)
        await send({"type": "http.response.body", "body": b""})


def _into(said: list[str]) -> Send:
    async def note(text: str) -> None:
        said.append(text)

    return note


async def _never(text: str) -> None:
    raise AssertionError(f"nobody waits for {text}")


async def _respond(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def pipes(era: str) -> None:
    """Serve standard input and output until the client closes its end."""
    reader = asyncio.StreamReader(limit=2**28)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    player = Player(era)
    running: set[asyncio.Task[None]] = set()

    async def send(text: str) -> None:
        # A line end can only be a blank between the parts.
        sys.stdout.buffer.write(text.replace("\n", " ").encode() + b"\n")
        sys.stdout.buffer.flush()

    while line := await reader.readline():
        task = asyncio.ensure_future(player.receive(line, send))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(pipes(sys.argv[1]))
