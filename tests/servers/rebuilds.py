"""A proxy of another make in front of a URL: it lists what is there in answers of its own, so that the `_meta` of a listing is lost.

Run as `python -m tests.servers.rebuilds --of fastmcp|sdk URL`. FastMCP's keeps what there is of `_meta`; what is made on the SDK asks anew for each listing, and keeps the tools alone.
"""

import argparse
import sys
import warnings
from typing import Any

import anyio
from mcp import Client
from mcp.server.lowlevel import Server
from mcp_types import ListToolsResult
from tests.servers.run import listen, parser, run


def of_the_sdk(url: str) -> Server[Any]:
    """A server that forwards lists of tools."""

    async def tools(_ctx: Any, _params: Any) -> ListToolsResult:
        async with Client(url) as client:
            found = (await client.list_tools()).tools
        return ListToolsResult(tools=found)

    return Server("rebuilds", version="1", on_list_tools=tools)


def main() -> None:
    line = parser(__doc__ or "")
    line.add_argument("--of", choices=["fastmcp", "sdk"], default="fastmcp")
    line.add_argument("url")
    options: argparse.Namespace = line.parse_args()
    if options.of == "sdk":
        run(of_the_sdk(options.url), options)
        return
    warnings.simplefilter("ignore")
    from fastmcp.server import create_proxy

    mcp = create_proxy(options.url)
    if options.transport == "stdio":
        anyio.run(lambda: mcp.run_stdio_async(show_banner=False, log_level="CRITICAL"))
    else:
        listen(mcp.http_app(transport="http"), options)


if __name__ == "__main__":
    sys.exit(main())
