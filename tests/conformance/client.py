"""`python -m tests.conformance.client URL`: the mesh as the client that the official suite tests.

The suite serves a scenario at the URL. Here it is the only upstream of a mesh in this process, without a prefix, and in front of that is a
client of each era, which uses whatever is offered and answers whatever is asked.
"""

import asyncio
import json
import os
import sys
from typing import Any

from meshproxy import FastMCP, ProxyClient, ProxyProvider
from meshproxy.errors import RpcError
from tests.kit.clients import Client, Json, Legacy, Modern

EXAMPLES: Json = {
    "string": "text",
    "integer": 7,
    "number": 2.5,
    "boolean": True,
    "object": {},
    "array": [],
    "null": None,
}

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
ONLY_LISTS = {"json-schema-ref-no-deref"}
"""Scenarios with tools that cannot be called."""
ONLY_MODERN = {"http-standard-headers"}
"""Scenarios that answer in both eras, and hold the headers of the modern one against whatever comes: a legacy client is taken there in its own era."""


def accept(params: Json) -> Json:
    """Accept a form as it is filled in beforehand: with the defaults of its fields (SEP-1034)."""
    fields = params["requestedSchema"]["properties"].items()
    return {"action": "accept", "content": {name: field.get("default", True) for name, field in fields}}


def arguments_of(tool: Json, tools: list[Json]) -> Json:
    """Arguments that the tool's schema allows; for the tool that wants to see a schema, the first tool's as it came."""
    if tool["name"] == "json_schema_echo":
        return {"schema": tools[0]["inputSchema"]}
    schema = tool["inputSchema"]
    return {name: EXAMPLES.get(schema["properties"][name].get("type")) for name in schema.get("required", ())}


async def use(client: Client, calls: list[Json]) -> None:
    """List everything, and use everything that is listed, or make the calls that the scenario wants."""
    tools = (await client.request("tools/list"))["tools"]
    if SCENARIO in ONLY_LISTS:
        return
    for call in calls or [{"name": tool["name"], "arguments": arguments_of(tool, tools)} for tool in tools]:
        await client.call(call["name"], **call["arguments"])
    for uri in await client.names("resources"):
        await client.request("resources/read", {"uri": uri})
    for name in await client.names("prompts"):
        await client.request("prompts/get", {"name": name})


async def main(url: str) -> None:
    calls = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")).get("toolCalls", [])
    async with FastMCP() as mesh:
        mesh.add_provider(ProxyProvider(ProxyClient(url)))
        mesh.start()
        answers: Any = {"elicitation/create": accept}
        legacy = Legacy(mesh, answers=answers)
        try:
            if SCENARIO not in ONLY_MODERN:
                await use(legacy, calls)
            await use(Modern(mesh, answers=answers), calls)
        except RpcError as error:
            sys.exit(f"{error.message} (code {error.code})")
        finally:
            legacy.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
