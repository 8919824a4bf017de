"""Runs a server of the SDK over any transport and in any era, as its command line says.

A server that listens says so once it accepts connections: with a line `READY URL` on stderr, and in `--ready-file`.
"""

import argparse
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.runner import _serve_modern_stream, serve_loop
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

ALL_CHANGES = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every server of this folder has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--transport", choices=["stdio", "http", "sse"], default="stdio")
    options.add_argument("--era", choices=["dual", "legacy", "modern"], default="dual")
    options.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options.add_argument("--ready-file", type=Path, help="written with the URL once the server accepts connections")
    options.add_argument("--follow-stdin", action="store_true", help="end when standard input does")
    options.add_argument("--authorization", help="what this header must say; whatever else comes is answered with 401")
    return options


def run(server: Server[Any], options: argparse.Namespace, **http: Any) -> None:
    """Serve until the peer closes (stdio) or a signal comes; `http` goes to the SDK's streamable HTTP app."""
    if options.transport == "stdio":
        anyio.run(_stdio, server, options.era)
    else:
        app = _http(server, options.era, http) if options.transport == "http" else _sse(server, options.era)
        listen(app, options, path="/mcp" if options.transport == "http" else "/sse")


def listen(app: ASGIApp, options: argparse.Namespace, *, path: str = "/mcp") -> None:
    """Serve an ASGI application on the loopback interface."""
    # Without the protocol named, asyncio does not switch Nagle's algorithm off: 40 ms a call.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    listener.listen(128)
    if options.authorization is not None:
        app = _guarded(app, options.authorization.encode())
    # httptools would leave the blanks around header values, which RFC 9110, 5.5 takes away.
    config = uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1)
    anyio.run(_serve, uvicorn.Server(config), listener, options, path)


def announce(options: argparse.Namespace, url: str) -> None:
    """Say that connections are accepted."""
    print(f"READY {url}", file=sys.stderr, flush=True)
    if options.ready_file:
        # Whoever waits for the file must not see it half written.
        options.ready_file.with_suffix(".part").write_text(url)
        options.ready_file.with_suffix(".part").rename(options.ready_file)


async def _serve(http: uvicorn.Server, listener: socket.socket, options: argparse.Namespace, path: str) -> None:
    announce(options, f"http://127.0.0.1:{listener.getsockname()[1]}{path}")
    async with anyio.create_task_group() as tasks:
        if options.follow_stdin:
            tasks.start_soon(_end_with_stdin, http)
        await http.serve(sockets=[listener])
        tasks.cancel_scope.cancel()


async def _end_with_stdin(http: uvicorn.Server) -> None:
    await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
    http.should_exit = True


async def _stdio(server: Server[Any], era: str) -> None:
    async with stdio_server() as streams:
        await _stream(server, era, *streams)


async def _stream(server: Server[Any], era: str, incoming: Any, outgoing: Any) -> None:
    """Serve one connection that is a pair of streams."""
    initialization = server.create_initialization_options(ALL_CHANGES)
    if era == "dual":
        await server.run(incoming, outgoing, initialization)
        return
    async with server.lifespan(server) as state:
        if era == "legacy":
            await serve_loop(server, incoming, outgoing, lifespan_state=state, init_options=initialization)
        else:
            await _serve_modern_stream(server, incoming, outgoing, lifespan_state=state, raise_exceptions=False)


def _sse(server: Server[Any], era: str) -> ASGIApp:
    transport = SseServerTransport("/messages/")

    async def connect(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as streams:
            await _stream(server, era, *streams)
        return Response()

    return Starlette(
        routes=[Route("/sse", connect, methods=["GET"]), Mount("/messages/", app=transport.handle_post_message)]
    )


def _http(server: Server[Any], era: str, settings: dict[str, Any]) -> ASGIApp:
    inner = server.streamable_http_app(**{"max_request_body_size": 64 * 1024 * 1024, **settings})
    if "event_store" in settings:
        server.session_manager.__class__ = _SessionsApart

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        version = next(
            (value.decode() for name, value in scope.get("headers", ()) if name == b"mcp-protocol-version"), None
        )
        is_legacy = version is None or version in HANDSHAKE_PROTOCOL_VERSIONS
        if scope["type"] != "http" or era == "dual" or is_legacy == (era == "legacy"):
            await inner(scope, receive, send)
        elif era == "legacy":
            # What servers from before 2026 answer to a version that they do not know: no code that says why.
            await _refuse(-32000, f"Bad Request: Unsupported protocol version: {version}", None)(scope, receive, send)
        else:
            data = {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": version or ""}
            await _refuse(-32022, "Unsupported protocol version", data)(scope, receive, send)

    return app


class _SessionsApart(StreamableHTTPSessionManager):
    """Makes a store for each session. The SDK names a stream by its request's id, which sessions have in common, and gives all of them one store."""

    @property
    def event_store(self) -> EventStore:  # type: ignore[override]
        return self.__dict__["event_store"]()


def _guarded(inner: ASGIApp, wanted: bytes) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (b"authorization", wanted) not in scope["headers"]:
            await Response(status_code=401)(scope, receive, send)
        else:
            await inner(scope, receive, send)

    return app


def _refuse(code: int, message: str, data: Any) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    error = {"code": code, "message": message} | ({"data": data} if data else {})
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    return Response(body, status_code=400, media_type="application/json")
