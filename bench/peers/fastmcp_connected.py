"""Contender: FastMCP with one connected client per upstream, which its proxies then reuse: the fast way to do it.

fastmcp_connected.py CONFIG PORT
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from fastmcp import Client, FastMCP
from fastmcp.server import create_proxy


async def main(config: dict) -> None:
    server = FastMCP("connected")
    async with AsyncExitStack() as stack:
        for name, upstream in config["mcpServers"].items():
            client = await stack.enter_async_context(Client({"mcpServers": {name: upstream}}))
            server.mount(create_proxy(client), namespace=name)
        await server.run_http_async(transport="http", host="127.0.0.1", port=int(sys.argv[2]), show_banner=False)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
