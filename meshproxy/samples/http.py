"""Serves a sample over streamable HTTP on the loopback interface."""

import socket
import sys

import anyio
import anyio.to_thread
import uvicorn
from mcp.server.mcpserver import MCPServer


def serve(server: MCPServer, port: int, *, until_eof: bool) -> None:
    """See `meshproxy.samples.run`."""
    # Named, because asyncio switches Nagle's algorithm off only for sockets that say they are TCP.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)  # noqa: T201  - the contract of `run`
        # A mesh keeps streams open, and the server would wait for them when it ends.
        config = uvicorn.Config(server.streamable_http_app(), log_level="warning", timeout_graceful_shutdown=1)
        anyio.run(_serve, uvicorn.Server(config), listener, until_eof)


async def _serve(http: uvicorn.Server, listener: socket.socket, until_eof: bool) -> None:  # noqa: FBT001  - one caller
    async def end_with_stdin() -> None:
        await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
        http.should_exit = True

    async with anyio.create_task_group() as tasks:
        if until_eof:
            tasks.start_soon(end_with_stdin)
        await http.serve(sockets=[listener])
        tasks.cancel_scope.cancel()
