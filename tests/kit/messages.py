"""Messages as they are sent over HTTP, and as they come back."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from meshproxy.http.sse import SseParser
from meshproxy.wire.protocol import LATEST_MODERN, META_CAPABILITIES, META_CLIENT, META_VERSION

CLIENT = {"name": "test", "version": "1"}


def heads(**headers: str | None) -> dict[str, str]:
    usual: dict[str, str | None] = {"accept": "application/json, text/event-stream", "content_type": "application/json"}
    return {name.replace("_", "-"): value for name, value in {**usual, **headers}.items() if value is not None}


def request(method: str, params: Any = None, id: Any = 1) -> dict[str, Any]:  # noqa: A002  # the wire's word
    message = {"jsonrpc": "2.0", "id": id, "method": method}
    return message if params is None else {**message, "params": params}


def call(tool: str, id: Any = 1, meta: Any = None, **arguments: Any) -> dict[str, Any]:  # noqa: A002  # the wire's word
    params = {"name": tool, "arguments": arguments}
    return request("tools/call", params if meta is None else {**params, "_meta": meta}, id)


def modern(message: dict[str, Any], **meta: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A message with the envelope of the modern era, and the headers that belong to it."""
    envelope = {META_VERSION: LATEST_MODERN, META_CAPABILITIES: {}, META_CLIENT: CLIENT, **meta}
    params = message.get("params", {})
    headers = {"mcp_protocol_version": LATEST_MODERN, "mcp_method": message["method"]}
    if "name" in params:
        headers["mcp_name"] = params["name"]
    return {**message, "params": {**params, "_meta": {**params.get("_meta", {}), **envelope}}}, headers


def text_of(message: dict[str, Any]) -> str:
    return str(message["result"]["content"][0]["text"])


async def frames(response: httpx2.Response) -> AsyncIterator[Any]:
    """The messages of an event stream, as they come."""
    parser = SseParser()
    async for chunk in response.aiter_bytes():
        for event in parser.feed(chunk):
            yield json.loads(event.data)


async def messages_of(response: httpx2.Response) -> list[Any]:
    """All messages of an event stream that has ended."""
    return [frame async for frame in frames(response)]


def messages_in(text: str) -> list[Any]:
    """The same for one that was read whole."""
    return [json.loads(event.data) for event in SseParser().feed(text.encode())]
