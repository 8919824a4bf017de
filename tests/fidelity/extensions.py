"""What both sides must declare before it is used, and what stays out."""

from typing import Any

from tests.fidelity.peers import ABLE, META, ModernPeer, Peer
from tests.fidelity.table import Impossible, rows
from tests.kit.waiting import eventually

row = rows("Extensions and tasks")

UI, TASKS = f"{META}ui", f"{META}tasks"
PRESENTING = ABLE | {"extensions": {UI: {"mimeTypes": ["text/html;profile=mcp-app"]}, "vendor/other": {}}}
WORKING = ABLE | {"extensions": {TASKS: {}}}
OF_2026 = (
    Impossible("the tasks extension is of 2026-07-28", downstream="legacy"),
    Impossible("the tasks extension is of 2026-07-28", upstream="legacy"),
)


@row(
    "MCP Apps: declared by both sides, tools and their windows",
    Impossible(
        "a modern client has no handshake: a legacy server hears of what the mesh can carry", "modern", "legacy"
    ),
    capabilities=PRESENTING,
)
async def _(peer: Peer) -> Any:
    offered = peer.server["capabilities"]["extensions"][UI]
    await peer.call("ask")
    seen = (await peer.call("caller")).value["capabilities"]["extensions"][UI]
    tool = next(tool for tool in await peer.list("tools") if tool["name"] == "window")
    window = await peer.read("ui://basic/window.html")
    assert tool["_meta"]["ui"]["resourceUri"] == "ui://basic/window.html"
    return offered, seen, tool, (await peer.call("window")).plain, window.plain


@row("An extension that the mesh does not know reaches nobody", capabilities=PRESENTING)
async def _(peer: Peer) -> Any:
    if not peer.is_direct:
        await peer.call("ask")
        seen = (await peer.call("caller")).value["capabilities"]
        assert "vendor/other" not in (seen.get("extensions") or {})


@row("Tasks extension: a call becomes a task, asks, and ends", *OF_2026, capabilities=WORKING)
async def _(peer: ModernPeer) -> Any:
    assert peer.server["capabilities"]["extensions"][TASKS] == {}
    started = await peer.call("start_task", id="a/ä")
    assert started.raw["resultType"] == "task"
    task = started.raw["taskId"]
    asking = await peer.request("tasks/get", {"taskId": task})
    update = {"taskId": task, "inputResponses": {"q": {"action": "accept", "content": {"answer": None}}}}
    updated = await peer.request("tasks/update", update)
    ended = await peer.request("tasks/get", {"taskId": task})
    assert asking.raw["taskId"] == ended.raw["taskId"] == task
    link = ended.raw["result"]["content"][1]["uri"]
    return [_without_id(reply.plain) for reply in (started, asking, updated, ended, await peer.follow(link))]


@row("Tasks extension: cancelled", *OF_2026, capabilities=WORKING)
async def _(peer: ModernPeer) -> Any:
    task = (await peer.call("start_task", id="b")).raw["taskId"]
    cancelled = await peer.request("tasks/cancel", {"taskId": task})
    return [_without_id(reply.plain) for reply in (cancelled, await peer.request("tasks/get", {"taskId": task}))]


@row("Tasks extension: unknown tasks", *OF_2026, capabilities=WORKING)
async def _(peer: ModernPeer) -> Any:
    return (await peer.request("tasks/get", {"taskId": "no such"})).error["code"]  # type: ignore[index]


@row("Tasks extension: status notifications on a listen stream", *OF_2026, capabilities=WORKING)
async def _(peer: ModernPeer) -> Any:
    task = (await peer.call("start_task", id="c")).raw["taskId"]
    agreed = await peer.listen(taskIds=[task])
    before = len(peer.heard.of("notifications/tasks"))
    await peer.request("tasks/update", {"taskId": task, "inputResponses": {}})
    await eventually(lambda: len(peer.heard.of("notifications/tasks")) > before)
    told = peer.heard.of("notifications/tasks")[-1]
    await peer.unlisten()
    assert agreed["taskIds"] == [task]
    assert told["taskId"] == task
    return _without_id(told) | {"_meta": sorted(told["_meta"])}


@row("Tasks extension: no task for a client that did not declare it")
async def _(peer: Peer) -> Any:
    return (await peer.call("start_task", id="d")).plain


@row("Core tasks of 2025-11-25 stay out")
async def _(peer: Peer) -> Any:
    if not peer.is_direct:
        listed = {tool["name"]: tool for tool in await peer.list("tools")}
        assert "execution" not in listed["background"]
        assert "execution" not in listed["patient"]
        assert "tasks" not in peer.server["capabilities"]
        if peer.era == "legacy":
            assert (await peer.request("tasks/get", {"taskId": "1"})).error["code"] == -32601  # type: ignore[index]
    if peer.is_direct or peer.era == "modern":
        return "null"
    reply = await peer.request("tools/call", {"name": peer.place.name("patient"), "arguments": {}, "task": {"ttl": 1}})
    return reply.text


@row("A tool that needs a core task: its question and its result")
async def _(peer: Peer) -> Any:
    if peer.is_direct and peer.era == "legacy":
        arguments = {"name": "background", "arguments": {"message": "Why?"}, "task": {}}
        task = (await peer.request("tools/call", arguments)).raw["task"]["taskId"]
        reply = await peer.use("tasks/result", {"taskId": task})
    else:
        reply = await peer.call("background", message="Why?")
    assert reply.error is None
    ((_, question),) = reply.asked
    answers = reply.raw["structuredContent"]["answers"]
    return _without_meta(question), _without_meta(answers[0])


def _without_meta(value: dict[str, Any]) -> dict[str, Any]:
    """Without the task that it is of, which is between the server and whoever made the task."""
    return {key: item for key, item in value.items() if key != "_meta"}


def _without_id(value: Any) -> Any:
    """Without the id of a task, which is the mesh's own."""
    if isinstance(value, dict):
        return {key: _without_id(item) for key, item in value.items() if key != "taskId"}
    return [_without_id(item) for item in value] if isinstance(value, list) else value
