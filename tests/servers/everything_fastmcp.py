"""The components of `everything` on FastMCP's server, which speaks both eras, too, over its own transports."""

import argparse
import warnings
from typing import Any

import anyio
from fastmcp import Context, FastMCP
from fastmcp.prompts import Message
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import Completion, InputRequiredResult
from tests.servers.conformance import Events
from tests.servers.everything import NAME, STATE_KEY, Clients, RequestStateSecurity, completed, offer
from tests.servers.everything_rounds import accepted, form, required
from tests.servers.run import listen, parser


def server() -> FastMCP[Any]:
    """FastMCP's server, fresh."""
    mcp: FastMCP[Any] = FastMCP(
        NAME, version="1.0.0", request_state_security=RequestStateSecurity(keys=[STATE_KEY]), dereference_schemas=False
    )
    clients = Clients(mcp._mcp_server)
    offer(mcp, Context, Message)

    @mcp.completion
    async def complete(_ref: Any, argument: Any, _context: Any) -> Completion:
        return completed(argument)

    @mcp.tool()
    async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
        """Says something, so that its answer is a stream, and then asks"""
        name = accepted(ctx, "user_name", "name")
        if name is None:
            await ctx.report_progress(1)
            await ctx.info("about to ask")
            return required(user_name=form("What is your name?", "name"))
        return str(name)

    @mcp.tool()
    async def visits(ctx: Context) -> str:
        """Counts its calls in this session, where FastMCP keeps a session's state"""
        count = (await ctx.get_state("visits") or 0) + 1
        await ctx.set_state("visits", count)
        return str(count)

    @mcp.tool()
    async def touch(uri: str) -> str:
        """Tells the subscribers of the URI that it changed"""
        await clients.updated(uri)
        return uri

    return mcp


def main() -> None:
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    options: argparse.Namespace = parser(__doc__ or "").parse_args()
    mcp = server()
    if options.transport == "stdio":
        anyio.run(lambda: mcp.run_stdio_async(show_banner=False, log_level="CRITICAL"))
    else:
        kind = "http" if options.transport == "http" else "sse"
        listen(
            mcp.http_app(transport=kind, event_store=Events() if kind == "http" else None, retry_interval=100), options
        )


if __name__ == "__main__":
    main()
