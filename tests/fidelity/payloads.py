"""What goes up with a request, and what comes back with its result."""

from typing import Any

from tests.fidelity.peers import META, ModernPeer, Peer, Reply
from tests.fidelity.table import Impossible, rows
from tests.kit.waiting import eventually

row = rows("Requests and results")

MIB = 1024 * 1024
NO_HEADERS = (
    Impossible("legacy revisions do not repeat arguments in headers", downstream="legacy"),
    Impossible("standard input and output have no headers", wire="stdio"),
)


@row("Structured content with a schema")
async def _(peer: Peer) -> Any:
    return [(await peer.call("add", a=1, b=0.5)).plain, (await peer.call("shapes")).plain]


@row(
    "Structured content that is no object",
    Impossible("legacy revisions have objects alone, so the server leaves it out", "modern", "legacy"),
)
async def _(peer: Peer) -> Any:
    # A legacy client is told the same as text, by the server or by the mesh.
    tool = next(tool for tool in await peer.list("tools") if tool["name"] == "numbers")
    assert ("outputSchema" in tool) == (peer.era == "modern")
    return tool, (await peer.call("numbers", n=4)).plain


@row("isError: the tool's own failure")
async def _(peer: Peer) -> Any:
    return (await peer.call("fail", message="no way")).plain


@row("Errors with code, message and data")
async def _(peer: Peer) -> Any:
    data = {"nested": [None, {"a": 1}], "n": 1e2}
    replies = [await peer.call("refuse", code=code, message="ü", data=data) for code in (-32602, -32603, 1234)]
    replies += [await peer.call("refuse", code=-32000, message="no data")]
    return [reply.plain for reply in replies]


@row("Unknown tools, prompts and resources")
async def _(peer: Peer) -> Any:
    missing = await peer.read("basic://no/such")
    assert missing.error is not None
    # -32002 became -32602 with 2026-07-28; a client of 2025-11-25 may be told either.
    assert missing.error["code"] in ((-32602,) if peer.era == "modern" else (-32002, -32602))
    wrong = [await peer.call("no_such"), await peer.get("no_such"), await peer.get("greet")]
    return missing.error["data"], [reply.error["code"] for reply in wrong]  # type: ignore[index]


@row("Unknown members, unknown content types and explicit nulls")
async def _(peer: Peer) -> Any:
    result = {
        "content": [
            {"type": "text", "text": "ä\u2028\u0000😀", "annotations": None, "x": {"y": None}},
            {"type": "hologram", "depth": 3, "uri": None},
            {"type": "text", "text": "", "_meta": {"vendor/key": [None]}},
        ],
        "structuredContent": {"null": None, "big": 12345678901234567890, "list": [[], {}, None]},
        "isError": None,
        "x-vendor": {"kept": [None, 1.5, "x"]},
    }
    return (await peer.call("raw", result=result)).plain


@row("_meta of results, but for what belongs to the connection")
async def _(peer: Peer) -> Any:
    meta = {"vendor/key": {"a": None}, "plain": 1, f"{META}serverInfo": {"name": "other", "version": "0"}}
    reply = await peer.call("raw", result={"content": [], "_meta": meta})
    if not peer.is_direct and peer.era == "modern":
        assert reply.raw["_meta"][f"{META}serverInfo"]["name"] == "mesh"
    return reply.plain


@row("_meta of requests, but for what belongs to the connection")
async def _(peer: Peer) -> Any:
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b"}
    reply = await peer.call("caller", _meta={"vendor/key": [None, {"a": 1}], "progressToken": "mine", **trace})
    seen = reply.value["meta"]
    if not peer.is_direct:
        assert seen.get("progressToken") != "mine"
        assert seen.get(f"{META}clientInfo", {"name": "meshproxy"})["name"] == "meshproxy"
    return {key: value for key, value in seen.items() if not key.startswith(META) and key != "progressToken"}


@row("Arguments pass whole")
async def _(peer: Peer) -> Any:
    odd = {"content": [], "echo": {"n": None, "deep": [[[{"": ""}]]], "num": 1.10, "ключ": "\ud83d\ude00\\/\u007f"}}
    return (await peer.call("raw", result=odd)).plain


@row("A text of 5 MB")
async def _(peer: Peer) -> Any:
    reply = await peer.call("big", size=5 * MIB)
    return len(reply.text), set(reply.text)


@row("A blob of 5 MB")
async def _(peer: Peer) -> Any:
    reply = await peer.call("big", size=5 * MIB, kind="image")
    block = reply.result["content"][0]  # type: ignore[index]
    return len(block.pop("data")), block


@row("Images and audio")
async def _(peer: Peer) -> Any:
    return (await peer.call("media")).plain


@row("resources/read: text, blob, several parts, by template")
async def _(peer: Peer) -> Any:
    uris = (
        "basic://text",
        "basic://binary",
        "basic://parts",
        "basic://item/42",
        "file:///srv/basic/a/b c",
        "urn:isbn:0451450523",
    )
    return [(await peer.read(uri)).plain for uri in uris]


@row("prompts/get, with arguments and without")
async def _(peer: Peer) -> Any:
    return [(await peer.get("greet", name="Ada", style="curt")).plain, (await peer.get("review")).plain]


@row("Completion for a prompt and for a template, with context")
async def _(peer: Peer) -> Any:
    prompt = {"type": "ref/prompt", "name": peer.place.name("greet")}
    template = {"type": "ref/resource", "uri": peer.place.uri("basic://item/{id}")}
    context = {"arguments": {"name": "Ada"}}
    asked: list[Any] = [
        {"ref": prompt, "argument": {"name": "name", "value": "A"}},
        {"ref": prompt, "argument": {"name": "style", "value": "k"}, "context": context},
        {"ref": template, "argument": {"name": "id", "value": ""}},
    ]
    return [(await peer.request("completion/complete", params)).plain for params in asked]


@row("Every link that a client receives can be read through the mesh")
async def _(peer: Peer) -> Any:
    links = list(_links((await peer.call("links")).raw["content"]))
    links += list(_links((await peer.get("review")).raw["messages"]))
    links += list(_links((await peer.read("basic://parts")).raw["contents"]))
    links += [(await peer.call("window")).raw["_meta"]["ui"]["resourceUri"]]
    listed = (await peer.request("tools/list")).raw
    while "nextCursor" in listed and not any("_meta" in tool and "ui" in tool["_meta"] for tool in listed["tools"]):
        listed = (await peer.request("tools/list", {"cursor": listed["nextCursor"]})).raw
    links += [tool["_meta"]["ui"]["resourceUri"] for tool in listed["tools"] if "ui" in tool.get("_meta", {})]
    links += [resource["uri"] for resource in (await peer.request("resources/list")).raw["resources"]]
    await peer.listen(uris=("basic://text",))
    before = len(peer.heard.of("notifications/resources/updated"))
    await peer.call("touch", uri="basic://text")
    await eventually(lambda: len(peer.heard.of("notifications/resources/updated")) > before)
    links.append(peer.place.uri(peer.heard.of("notifications/resources/updated")[-1]["uri"]))
    await peer.unlisten()
    assert len(links) == 4 + 2 + 3 + 1 + 1 + 8 + 1, links
    return [(await peer.follow(link)).plain for link in links]


@row("Mcp-Param-* headers are checked against the arguments", *NO_HEADERS)
async def _(peer: ModernPeer) -> Any:
    params = {"name": peer.place.name("regional"), "arguments": {"region": "eu west", "n": 1}}
    replies: list[Reply] = [
        await peer.request("tools/call", params, mcp_param_region="eu west"),
        await peer.request("tools/call", params, mcp_param_region="us"),
        await peer.request("tools/call", params),
        await peer.request("tools/call", params, mcp_param_region="=?base64?ZXUgd2VzdA==?="),
        await peer.request("tools/call", params, mcp_param_region="eu west", mcp_name="other"),
        await peer.request("tools/call", params, mcp_param_region="eu west", mcp_method="tools/list"),
    ]
    return [(reply.status, (reply.error or {}).get("code")) for reply in replies]


@row(
    "Mcp-Method, Mcp-Name and Mcp-Param-* are derived anew for the server",
    Impossible("legacy revisions do not repeat arguments in headers", upstream="legacy"),
    Impossible("standard input and output have no headers", transport="stdio"),
)
async def _(peer: Peer) -> Any:
    if peer.is_direct and peer.era == "legacy":
        return {"mcp-method": "tools/call", "mcp-name": "regional", "mcp-param-region": "=?base64?w7xi?="}
    params = {"name": peer.place.name("regional"), "arguments": {"region": "üb"}}
    reply = await peer.request("tools/call", params, mcp_param_region="=?base64?w7xi?=")
    assert reply.result is not None, reply.error
    headers = reply.result["structuredContent"]["headers"]
    return {name: headers[name] for name in headers if name.startswith("mcp-") and "version" not in name}


def _links(value: Any) -> Any:
    """Every `uri` anywhere."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [item] if key == "uri" else _links(item)
    elif isinstance(value, list):
        for item in value:
            yield from _links(item)
