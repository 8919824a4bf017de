"""Clients of the SDK."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
from tests.kit.waiting import DEADLINE


@contextlib.asynccontextmanager
async def connected(
    server: Any, *, mode: str = "auto", deadline: float = DEADLINE, **settings: Any
) -> AsyncIterator[Any]:
    """An SDK client of a URL, a command line or an SDK server; `mode` is `legacy`, `auto` or a version, and all of its use ends by the deadline."""
    from mcp import Client, StdioServerParameters, stdio_client

    if isinstance(server, list):
        server = stdio_client(StdioServerParameters(command=server[0], args=server[1:]))
    elif isinstance(server, str) and server.endswith("/sse"):
        from mcp.client.sse import sse_client

        server = sse_client(server)
    with anyio.fail_after(deadline):
        async with Client(server, mode=mode, **settings) as client:
            yield client
