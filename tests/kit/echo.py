"""A handler with something for each rule of the transports, and an HTTP server around it, both in the test's own event loop."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import uvicorn
from meshproxy.errors import INVALID_PARAMS, METHOD_NOT_FOUND, RpcError, UpstreamUnavailable
from meshproxy.http.server import Http1Server
from meshproxy.relay.call import Call, ended
from meshproxy.relay.downstream import Downstream, RequestContext, Result
from meshproxy.serving.http import HttpApp, HttpSettings
from meshproxy.wire.codec import Raw, dumps, opened
from meshproxy.wire.protocol import (
    LATEST_LEGACY,
    LATEST_MODERN,
    META_SUBSCRIPTION,
    Era,
    negotiated,
)
from tests.kit.messages import CLIENT, heads, request
from tests.kit.waiting import DEADLINE, within

TLS = ssl.create_default_context()  # each client makes its own otherwise, for 30 ms
SCHEMA = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}}
    for name in ("echo", "big", "progress", "ask", "slow", "poll", "fail", "crash", "down", "whoami")
] + [{"name": "regional", "inputSchema": SCHEMA}]


class EchoHandler:
    """Answers by the name of the tool. `events` tells what happened to it, and `gates` let a test hold a call."""

    def __init__(self) -> None:
        self.downstreams: list[Downstream] = []
        self.notifications: list[tuple[str, dict[str, Any]]] = []
        self.notified = asyncio.Event()
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.finished = asyncio.Event()
        self.gate = asyncio.Event()
        self.contexts: list[RequestContext] = []

    async def on_request(self, context: RequestContext, method: str, params: dict[str, Any]) -> Result:
        if method == "initialize":
            self.downstreams.append(context.downstream)
            return {
                "protocolVersion": negotiated(params["protocolVersion"]),
                "capabilities": {"tools": {"listChanged": True}, "logging": {}},
                "serverInfo": {"name": "echo", "version": "1"},
            }
        if method == "server/discover":
            return self._complete(
                context, {"supportedVersions": [LATEST_MODERN], "capabilities": {"tools": {"listChanged": True}}}
            )
        if method == "ping":
            return Raw(b"{}")
        if method == "tools/list":
            return self._complete(context, {"tools": TOOLS})
        if method == "subscriptions/listen":
            return await self._listen(context)
        if method != "tools/call":
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")
        tool = getattr(self, f"_{params.get('name')}", None)
        if tool is None:
            raise RpcError(INVALID_PARAMS, f"Unknown tool: {params.get('name')}", {"name": params.get("name")})
        arguments = opened(params.get("arguments")) or {}
        text = await tool(context, arguments)
        return self._complete(context, {"content": [{"type": "text", "text": text}]})

    def answer(self, call: Call) -> None:
        call.wait(self.on_request(call.context, call.method, call.params), ended)

    def on_notification(self, downstream: Downstream, method: str, params: dict[str, Any]) -> None:
        self.notifications.append((method, params))
        self.notified.set()
        if method == "notifications/broken":
            raise ValueError("a secret of the implementation")

    def annotated_schema(self, visitor: Any, tool: str) -> dict[str, Any] | None:
        return SCHEMA if tool == "regional" else None

    def _complete(self, context: RequestContext, result: dict[str, Any]) -> dict[str, Any]:
        if context.downstream.era is Era.LEGACY:
            return result
        return {**result, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}

    async def _listen(self, context: RequestContext) -> Result:
        meta = {META_SUBSCRIPTION: context.request_id}
        context.notify(
            "notifications/subscriptions/acknowledged", {"notifications": {"toolsListChanged": True}, "_meta": meta}
        )
        await self._hold(context)
        context.notify("notifications/tools/list_changed", {"_meta": meta})
        return {"resultType": "complete", "_meta": meta}

    async def _hold(self, context: RequestContext) -> None:
        self.contexts.append(context)
        self.started.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.finished.set()

    async def _echo(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        return str(arguments.get("text"))

    async def _regional(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        return str(arguments.get("region"))

    async def _big(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        if arguments.get("streamed"):
            context.notify("notifications/message", {"level": "info", "data": "soon"})
        return "x" * int(arguments["size"])

    async def _progress(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        for step in range(arguments["steps"]):
            context.notify("notifications/progress", {"progressToken": context.progress_token, "progress": step})
        return "done"

    async def _ask(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        answer = await context.send_raw_request("roots/list", {"_meta": {"why": "test"}})
        return dumps(answer).decode()

    async def _slow(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        await self._hold(context)
        return "slow"

    async def _poll(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        context.close_stream()
        await self._hold(context)
        context.notify("notifications/message", {"level": "info", "data": "while you were away"})
        return "polled"

    async def _fail(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        raise RpcError(arguments["code"], "it failed", arguments.get("data"))

    async def _crash(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        raise ValueError("a secret of the implementation")

    async def _down(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        raise UpstreamUnavailable("docs", "connection refused")

    async def _whoami(self, context: RequestContext, arguments: dict[str, Any]) -> str:
        downstream = context.downstream
        return json.dumps(
            {
                "version": downstream.version,
                "capabilities": downstream.capabilities,
                "client": downstream.client,
                "log_level": downstream.log_level,
                "header": context.headers.get("X-Custom"),
            }
        )


class Served:
    """An `HttpApp` on a port, and a client of it."""

    def __init__(self, app: HttpApp, handler: EchoHandler, port: int, http: httpx2.AsyncClient) -> None:
        self.app = app
        self.handler = handler
        self.port = port
        self.url = f"http://127.0.0.1:{port}{app.settings.path}"
        self.http = http

    async def post(self, body: Any, **headers: str | None) -> httpx2.Response:
        """POST a body, JSON or bytes; a header is spelled with underscores, and None leaves out a usual one."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(self.url, content=content, headers=heads(**headers))

    async def open(self, version: str = LATEST_LEGACY, capabilities: dict[str, Any] | None = None) -> dict[str, str]:
        """Initialize a session; its headers, to be given with each request."""
        params = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": CLIENT}
        response = await self.post(request("initialize", params, 0))
        assert response.status_code == 200, response.text
        headers = {"mcp_session_id": response.headers["mcp-session-id"]}
        if version >= "2025-06-18":
            headers["mcp_protocol_version"] = version
        return headers


@contextlib.asynccontextmanager
async def own_server(app: HttpApp, listening: socket.socket) -> AsyncIterator[None]:
    server = Http1Server(app)
    await server.start([listening])
    try:
        yield
    finally:
        await app.aclose()
        await server.aclose(DEADLINE)


@contextlib.asynccontextmanager
async def uvicorn_server(app: HttpApp, listening: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, log_level="critical", http="httptools", access_log=False, timeout_graceful_shutdown=5)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Started and stopped by hand: its own loop looks for the end ten times a second, and takes the signals.
    await server.startup(sockets=[listening])
    try:
        yield
    finally:
        await app.aclose()
        await server.shutdown(sockets=[listening])


run_app = own_server
"""What `served` serves with; a test that wants another server replaces it."""


@contextlib.asynccontextmanager
async def served(handler: EchoHandler | None = None, **settings: Any) -> AsyncIterator[Served]:
    """Serve over HTTP on a free port for as long as the context lasts."""
    handler = handler or EchoHandler()
    app = HttpApp(handler, HttpSettings(**settings), health={"/healthz": lambda: (200, b'{"status":"ok"}')})
    # Made with its protocol named: asyncio leaves Nagle's algorithm on where that is 0.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    async with run_app(app, listening), httpx2.AsyncClient(timeout=DEADLINE, verify=TLS) as http:
        yield Served(app, handler, listening.getsockname()[1], http)
        await http.aclose()


async def raw_post(server: Served, body: Any, **headers: str | None) -> tuple[int, Any]:
    """The same as `Served.post` without a client in between that tidies headers up: the status and the JSON."""
    content = json.dumps(body).encode()
    lines = [f"{name}: {value}" for name, value in heads(**{"host": "localhost", **headers}).items()]
    head = "\r\n".join(["POST /mcp HTTP/1.1", f"content-length: {len(content)}", "connection: close", *lines])
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{head}\r\n\r\n".encode() + content)
    head, _, answer = (await within(reader.read())).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(answer)
