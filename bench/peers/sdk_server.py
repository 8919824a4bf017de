"""Contender: a server of the MCP SDK that answers the calls itself, without any hop, on uvicorn with uvloop and httptools.

    sdk_server.py PORT

The SDK at its cheapest: the low-level server, told the schemas so that it does not list its tools on each call, and no access log.
"""

import sys

import mcp_types as types
import uvicorn
from bench.upstream import FILLER, tools
from mcp.server.lowlevel import Server

LISTING = types.ListToolsResult.model_validate({"tools": tools(8)})
SCHEMAS = {tool.name: tool.input_schema for tool in LISTING.tools}


async def list_tools(context, params) -> types.ListToolsResult:
    return LISTING


async def call_tool(context, params) -> types.CallToolResult:
    text = (params.arguments or {}).get("text", "")
    if params.name == "payload":
        text += FILLER
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def main() -> None:
    server = Server("sdk", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=SCHEMAS.get)
    uvicorn.run(server.streamable_http_app(), port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
