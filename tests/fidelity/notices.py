"""What is told while a call runs, and of what changes."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from tests.fidelity.peers import META, ModernPeer, Peer
from tests.fidelity.table import Impossible, rows
from tests.kit.waiting import eventually

row = rows("Notifications and control")

NOT_MODERN = Impossible("2026-07-28 gives each request its own log level instead", downstream="modern")
NOT_LEGACY = Impossible("legacy revisions have one log level for the session instead", downstream="legacy")
NO_PING = Impossible("2026-07-28 has no ping", downstream="modern")
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


@row("Progress, in order and complete before the result")
async def _(peer: Peer) -> Any:
    reply = await peer.call("progress", _meta={"progressToken": "a token"}, n=200)
    assert [told["progress"] for told in reply.of("notifications/progress")] == list(range(1, 201))
    return reply.plain


@row("No progress where none was asked for")
async def _(peer: Peer) -> Any:
    return (await peer.call("progress", n=3)).plain


@row("Progress before and after a question")
async def _(peer: Peer) -> Any:
    return (await peer.call("ask_between", _meta={"progressToken": 7}, n=5)).plain


@row("logging/setLevel", NOT_MODERN)
async def _(peer: Peer) -> Any:
    seen = []
    for level in ("warning", "debug", "emergency", "info"):
        await peer.set_level(level)
        seen.append([len((await peer.call("log", level=said)).of("notifications/message")) for said in LEVELS])
    await peer.set_level("debug")
    return seen


@row("The log level of a request", NOT_LEGACY)
async def _(peer: Peer) -> Any:
    seen = []
    for level in (None, "warning", "debug", "emergency", None):
        await peer.set_level(level)
        seen.append([len((await peer.call("log", level=said)).of("notifications/message")) for said in LEVELS])
    return seen


@row("Log lines pass whole, on the stream of their call")
async def _(peer: Peer) -> Any:
    await peer.set_level("debug")
    data = {"message": "ü", "nested": [None, {"x": 1e3}], "ref": "basic://item/7"}
    replies = [await peer.call("log", n=2, level="notice", data=data, logger="a.b"), await peer.call("log", data=None)]
    await peer.set_level("debug" if peer.era == "legacy" else None)
    return [reply.plain for reply in replies]


@row("A cancelled call ends at the server")
async def _(peer: Peer) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder, "it")
        number, task = peer.start("hold", marker=str(marker))
        await eventually(marker.with_suffix(".started").exists)
        await peer.wire.abandon(number, task)
        await eventually(marker.with_suffix(".cancelled").exists)
    return (await peer.call("echo", text="alive")).plain


@row("ping of the client", NO_PING)
async def _(peer: Peer) -> Any:
    return (await peer.request("ping")).plain


@row(
    "ping of the server",
    NO_PING,
    Impossible("2026-07-28 has no ping", upstream="modern"),
)
async def _(peer: Peer) -> Any:
    return (await peer.call("ping_back")).text


async def changes(peer: Peer, kind: str, tool: str, key: str, component: str) -> Any:
    """Add and remove a component: each time there is one notification, and the listing is true by then."""
    method = f"notifications/{kind}/list_changed"
    agreed = await peer.listen(kind)
    before = len(peer.heard.of(method))
    argument = {key: component}

    async def told(count: int) -> list[Any]:
        await eventually(lambda: len(peer.heard.of(method)) >= before + count)
        return [item for item in await peer.list(kind) if item[key] == component]

    assert (await peer.call(f"add_{tool}", **argument)).error is None
    added = await told(1)
    assert (await peer.call(f"remove_{tool}", **argument)).error is None
    removed = await told(2)
    assert len(peer.heard.of(method)) == before + 2
    await peer.unlisten()
    return agreed, added, removed


@row("notifications/tools/list_changed", session="shared")
async def _(peer: Peer) -> Any:
    return await changes(peer, "tools", "tool", "name", "fresh")


@row("notifications/prompts/list_changed", session="shared")
async def _(peer: Peer) -> Any:
    return await changes(peer, "prompts", "prompt", "name", "fresh")


@row("notifications/resources/list_changed", session="shared")
async def _(peer: Peer) -> Any:
    return await changes(peer, "resources", "resource", "uri", "basic://fresh")


@row("Subscribed resources: updated, until unsubscribed")
async def _(peer: Peer) -> Any:
    method, one, two = "notifications/resources/updated", "basic://item/1", "basic://text"
    agreed = [await peer.listen(uris=(one,)), await peer.listen(uris=(two,))]
    before = len(peer.heard.of(method))
    await peer.call("touch", uri=one)
    await eventually(lambda: len(peer.heard.of(method)) == before + 1)
    await peer.unlisten(one)
    await peer.call("touch", uri=one)
    await peer.call("touch", uri=two)
    # Both took the same way, so the first would have come by now.
    await eventually(lambda: len(peer.heard.of(method)) == before + 2)
    await peer.unlisten(two)
    return agreed, [told["uri"] for told in peer.heard.of(method)[before:]]


@row("Subscribed resources: their parts")
async def _(peer: Peer) -> Any:
    method = "notifications/resources/updated"
    await peer.listen(uris=("basic://item",))
    before = len(peer.heard.of(method))
    await peer.call("touch", uri="basic://item/7/part")
    await eventually(lambda: len(peer.heard.of(method)) > before)
    await peer.unlisten("basic://item")
    return peer.heard.of(method)[-1]["uri"]


@row(
    "subscriptions/listen agrees to what can be honoured, and tags each frame",
    Impossible("legacy revisions have no subscriptions/listen", downstream="legacy"),
)
async def _(peer: ModernPeer) -> Any:
    number = next(peer.numbers)
    wanted = {
        "toolsListChanged": True,
        "promptsListChanged": False,
        "resourceSubscriptions": [peer.place.uri("basic://text"), "nowhere://at/all"],
        "x-unknown": True,
    }
    task = asyncio.ensure_future(peer.send(number, "subscriptions/listen", {"notifications": wanted}))
    acknowledged = await peer.heard.until(
        "notifications/subscriptions/acknowledged",
        matches=lambda told: told["_meta"][f"{META}subscriptionId"] == number,
    )
    before = len(peer.heard.of("notifications/resources/updated"))
    await peer.call("touch", uri="basic://text")
    await eventually(lambda: len(peer.heard.of("notifications/resources/updated")) > before)
    told = peer.heard.of("notifications/resources/updated")[-1]
    await peer.wire.abandon(number, task)
    if not peer.is_direct:
        # The server of the tests agrees to everything; nobody can tell of a resource that no upstream has.
        assert acknowledged["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": ["basic://text"]}
    assert told["_meta"] == {f"{META}subscriptionId": number}
    return told["uri"]
