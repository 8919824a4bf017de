"""What a server says that it offers, and of itself."""

from typing import Any

from meshproxy.links.trail import META_TRAIL
from tests.fidelity.bench import TOOLS
from tests.fidelity.peers import META, PAGES, ModernPeer, Peer
from tests.fidelity.table import Impossible, rows
from tests.kit.waiting import eventually

row = rows("Listings and what a server says of itself")

KINDS = ("tools", "prompts", "resources")


@row("tools/list: 1,000 tools over many pages of the server, whole")
async def _(peer: Peer) -> Any:
    listed = await peer.list("tools")
    assert len(listed) > TOOLS
    # Core tasks, and structured content that is no object, have rows of their own.
    plain = [{key: value for key, value in tool.items() if key != "execution"} for tool in listed]
    return [tool for tool in plain if tool["name"] != "numbers"]


@row("prompts/list, whole")
async def _(peer: Peer) -> Any:
    return await peer.list("prompts")


@row("resources/list, whole")
async def _(peer: Peer) -> Any:
    return await peer.list("resources")


@row("resources/templates/list, whole")
async def _(peer: Peer) -> Any:
    listed = await peer.list("templates")
    # Rewritten as text: an expansion of the public template leads back to the server's.
    assert "{+path}" in listed[1]["uriTemplate"]
    return listed


@row("A cursor that nobody gave is refused")
async def _(peer: Peer) -> Any:
    return [(await peer.request(method, {"cursor": "made up"})).error["code"] for method, _ in PAGES.values()]  # type: ignore[index]


@row("A server's cursor that does not advance ends in an error, not in a loop", session="shared")
async def _(peer: Peer) -> Any:
    if peer.is_direct:
        return True, True
    before = await peer.list("prompts")

    async def listed() -> bool:
        return "after" in [prompt["name"] for prompt in await peer.list("prompts")]

    await peer.call("loop", on=True)
    kept = await peer.list("prompts") == before
    await peer.call("loop", on=False)
    await peer.call("add_prompt", name="after")
    await eventually(listed)
    await peer.call("remove_prompt", name="after")

    async def unlisted() -> bool:
        return not await listed()

    return kept, await eventually(unlisted)


@row(
    "ttlMs and cacheScope",
    Impossible("legacy revisions have neither", downstream="legacy"),
    Impossible("a legacy server says neither: 0 and private, then", upstream="legacy"),
)
async def _(peer: ModernPeer) -> Any:
    replies = [await peer.request(method) for method, _ in PAGES.values()]
    replies.append(await peer.read("basic://text"))
    return [(reply.raw["ttlMs"], reply.raw["cacheScope"]) for reply in replies]


@row(
    "A legacy server's answers have what a modern client needs",
    Impossible("a legacy client has no use for it", downstream="legacy"),
    Impossible("a modern server gives it itself", upstream="modern"),
)
async def _(peer: ModernPeer) -> Any:
    replies = [await peer.request(method) for method, _ in PAGES.values()]
    replies += [await peer.read("basic://text"), await peer.call("echo", text="x"), await peer.get("review")]
    for reply in replies:
        assert reply.raw["resultType"] == "complete"
        assert reply.raw["_meta"][f"{META}serverInfo"]["name"] == ("basic" if peer.is_direct else "mesh")
    if not peer.is_direct:
        assert {(reply.raw["ttlMs"], reply.raw["cacheScope"]) for reply in replies[:5]} == {(0, "private")}


@row(
    "Nothing of 2026-07-28 in what a legacy client is told",
    Impossible("a modern client is to be told of it", downstream="modern"),
)
async def _(peer: Peer) -> Any:
    replies = [await peer.request(method) for method, _ in PAGES.values()]
    replies += [await peer.read("basic://text"), await peer.call("echo", text="x"), await peer.get("review")]
    foreign = {"resultType", "ttlMs", "cacheScope"}
    # The mesh's own name, by which it knows itself again behind an upstream, is of no revision.
    return [foreign & reply.raw.keys() | reply.raw.get("_meta", {}).keys() - {META_TRAIL} for reply in replies]


@row("Capabilities: what is offered is promised, listChanged and subscribe included")
async def _(peer: Peer) -> Any:
    capabilities = peer.server["capabilities"]
    promised = {kind: capabilities[kind]["listChanged"] for kind in KINDS}
    return promised, capabilities["resources"]["subscribe"], "completions" in capabilities, "logging" in capabilities


@row("Instructions, with a section for each namespace")
async def _(peer: Peer) -> Any:
    instructions = peer.server["instructions"]
    if peer.is_direct:
        return instructions
    own, _, section = instructions.partition("\n\n## up\n\n")
    assert own == "The mesh's own words."
    return section


@row("Methods of the other era are refused")
async def _(peer: Peer) -> Any:
    foreign = {
        "legacy": ("server/discover", "subscriptions/listen", "tasks/update", "no/such"),
        "modern": ("ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "no/such"),
    }
    params = {"uri": "basic://text", "level": "info", "notifications": {}}
    replies = [await peer.request(method, params) for method in foreign[peer.era]]
    assert {reply.status for reply in replies} <= {0, 200 if peer.era == "legacy" else 404}
    return [reply.error["code"] for reply in replies]  # type: ignore[index]
