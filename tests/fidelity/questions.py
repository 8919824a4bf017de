"""What a server asks of the client whose call it carries out."""

import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

from tests.fidelity.peers import SAMPLED, Json, LegacyPeer, Peer, Refused
from tests.fidelity.table import Impossible, answering, rows
from tests.kit.waiting import eventually
from tests.servers.basic import PIXEL

row = rows("Questions of a server")

TEXT = {"type": "text", "text": "hi", "annotations": {"priority": 1}, "_meta": {"vendor/key": None}}
IMAGE = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
AUDIO = {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"}
FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "minLength": 1, "format": "email", "default": "a@b.c"},
        "age": {"type": "integer", "minimum": 0, "default": 7},
        "ratio": {"type": "number", "default": 0.5},
        "sure": {"type": "boolean", "default": True},
        "plain": {"type": "string", "enum": ["a", "b"], "default": "b"},
        "old": {"type": "string", "enum": ["x", "y"], "enumNames": ["X", "Y"]},
        "titled": {"type": "string", "oneOf": [{"const": "one", "title": "One"}], "default": "one"},
        "many": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": ["p", "q"]}, "default": ["p"]},
        "any": {"type": "array", "items": {"anyOf": [{"const": "r", "title": "R"}]}},
        "odd": {"type": "string", "x-vendor": None},
    },
    "required": ["name"],
}

NO_COMPLETION = (
    Impossible("2026-07-28 has no notifications/elicitation/complete", downstream="modern"),
    Impossible("a server of 2026-07-28 does not tell when a page is done with", upstream="modern"),
)
NO_ERRORS = (
    Impossible("2026-07-28 has no error in inputResponses", downstream="modern"),
    Impossible("2026-07-28 has no error in inputResponses", upstream="modern"),
)


async def sampled(peer: Peer, content: Any, **answer: Any) -> Json:
    """A question whose messages hold some content, answered with the same."""
    params = {"messages": [{"role": "user", "content": content}], "maxTokens": 9}
    with answering(peer, "sampling/createMessage", lambda _: SAMPLED | {"content": content} | answer):
        return (await peer.call("question", method="sampling/createMessage", params=params)).plain


@row("Sampling with text")
async def _(peer: Peer) -> Any:
    return await sampled(peer, TEXT)


@row("Sampling with an image")
async def _(peer: Peer) -> Any:
    return await sampled(peer, IMAGE)


@row("Sampling with audio")
async def _(peer: Peer) -> Any:
    return await sampled(peer, AUDIO)


@row("Sampling with several contents in one message")
async def _(peer: Peer) -> Any:
    return await sampled(peer, [TEXT, IMAGE, AUDIO])


@row("Sampling with tools and toolChoice")
async def _(peer: Peer) -> Any:
    used = {"type": "tool_use", "id": "u1", "name": "look", "input": {"q": None, "n": [1, {}]}}
    result = {"type": "tool_result", "toolUseId": "u1", "content": [TEXT, IMAGE], "structuredContent": {"a": None}}
    params = {
        "messages": [
            {"role": "user", "content": TEXT},
            {"role": "assistant", "content": [used]},
            {"role": "user", "content": [result]},
        ],
        "maxTokens": 100,
        "tools": [{"name": "look", "description": "Looks", "inputSchema": {"type": "object", "x-vendor": None}}],
        "toolChoice": {"mode": "required"},
    }
    answer = SAMPLED | {"content": [used], "stopReason": "toolUse"}
    with answering(peer, "sampling/createMessage", lambda _: answer):
        return (await peer.call("question", method="sampling/createMessage", params=params)).plain


@row("Sampling: model, stop reason and unknown members pass both ways")
async def _(peer: Peer) -> Any:
    params = {
        "messages": [{"role": "user", "content": TEXT}],
        "maxTokens": 1,
        "modelPreferences": {"hints": [{"name": "large"}], "costPriority": 0.3},
        "systemPrompt": "Be brief.",
        "includeContext": "thisServer",
        "temperature": 0.1,
        "stopSequences": ["\n"],
        "metadata": {"vendor": None},
        "x-vendor": [1, None],
    }
    answer = SAMPLED | {"model": "vendor/model-1", "stopReason": "vendorStop", "x-vendor": {"n": None}}
    with answering(peer, "sampling/createMessage", lambda _: answer):
        return (await peer.call("question", method="sampling/createMessage", params=params)).plain


@row("Sampling: links in messages and answers")
async def _(peer: Peer) -> Any:
    read = []

    def used(uri: str) -> Json:
        link = {"type": "resource_link", "uri": uri, "name": "item 7"}
        return {"type": "tool_result", "toolUseId": "u1", "content": [TEXT, link]}

    async def answer(told: Json) -> Json:
        # What the peer is told of is in the server's own names again: the read proves that the mesh knows them.
        linked = told["messages"][0]["content"][0]["content"][1]["uri"]
        read.append((await peer.read(linked)).plain)
        return SAMPLED | {"content": [used(peer.place.uri(linked))]}

    params = {"messages": [{"role": "user", "content": [used("basic://item/7")]}], "maxTokens": 9}
    with answering(peer, "sampling/createMessage", answer):
        reply = await peer.call("question", method="sampling/createMessage", params=params)
    return reply.plain, read


@row("Sampling refused by the user", *NO_ERRORS)
async def _(peer: Peer) -> Any:
    def refuse(_: Json) -> Json:
        raise Refused(-1, "User rejected sampling request")

    with answering(peer, "sampling/createMessage", refuse):
        return (await peer.call("sample", prompt="Hello")).plain


@row("Elicitation: a form with defaults and enums of every kind")
async def _(peer: Peer) -> Any:
    params = {"mode": "form", "message": "Fill in", "requestedSchema": FORM, "x-vendor": None}
    content = {"name": "a@b.c", "age": 7, "ratio": 0.5, "sure": False, "titled": "one", "many": ["p", "q"]}
    with answering(peer, "elicitation/create", lambda _: {"action": "accept", "content": content, "x": None}):
        return (await peer.call("question", method="elicitation/create", params=params)).plain


@row("Elicitation: a form without a mode, as before 2025-11-25")
async def _(peer: Peer) -> Any:
    params = {"message": "Fill in", "requestedSchema": FORM}
    return (await peer.call("question", method="elicitation/create", params=params)).plain


@row("Elicitation: declined and cancelled")
async def _(peer: Peer) -> Any:
    seen = []
    for action in ("decline", "cancel"):
        with answering(peer, "elicitation/create", lambda _, action=action: {"action": action}):
            seen.append((await peer.call("ask")).plain)
    return seen


@row("Elicitation of a URL, with its id")
async def _(peer: Peer) -> Any:
    with answering(peer, "elicitation/create", lambda _: {"action": "accept"}):
        reply = await peer.call("ask_url", url="https://example.com/consent?a=b#c", id="e-1")
    asked = dict(reply.asked[0][1])
    told_id = asked.pop("elicitationId", None)
    # Required by 2025-11-25 and unknown to 2026-07-28; for a modern upstream's question the mesh makes one up.
    assert bool(told_id) == (peer.era == "legacy")
    return reply.text, asked


@row("A URL is handed on: the mesh neither opens it nor makes a form of it")
async def _(peer: Peer) -> Any:
    with answering(peer, "elicitation/create", lambda _: {"action": "decline"}):
        reply = await peer.call("ask_url", url="http://127.0.0.1:9/never?a=b#c")
    return reply.asked[0][1]["url"], reply.asked[0][1]["mode"], reply.text


@row("notifications/elicitation/complete on the call's stream", *NO_COMPLETION)
async def _(peer: Peer) -> Any:
    with answering(peer, "elicitation/create", lambda _: {"action": "accept"}):
        reply = await peer.call("ask_url", url="https://example.com/consent", id="e-2")
    return await peer.heard.until("notifications/elicitation/complete"), reply.plain


@row("notifications/elicitation/complete on the connection's own stream", *NO_COMPLETION)
async def _(peer: Peer) -> Any:
    number = str(uuid.uuid4())
    with answering(peer, "elicitation/create", lambda _: {"action": "accept"}):
        await peer.call("ask_url", url="https://example.com/consent", id=number, aside=True)
    told = await peer.heard.until(
        "notifications/elicitation/complete", matches=lambda told: told["elicitationId"] == number
    )
    return sorted(told)


@row(
    "Error -32042, URL elicitation required",
    Impossible("2026-07-28 has no -32042: its servers ask for the URL instead", upstream="modern"),
)
async def _(peer: Peer) -> Any:
    number = str(uuid.uuid4())
    with answering(peer, "elicitation/create", lambda _: {"action": "accept"}):
        replies = [await peer.call("needs_url", url="https://example.com/first", id=number)]
        if replies[0].error:
            replies.append(await peer.call("needs_url", url="https://example.com/first", id=number))
    return json.loads(json.dumps([reply.plain for reply in replies]).replace(number, "e"))


@row("roots/list")
async def _(peer: Peer) -> Any:
    roots = {"roots": [{"uri": "file:///a%20b/ä", "name": None, "_meta": {"x": 1}}, {"uri": "file:///c"}], "x": None}
    with answering(peer, "roots/list", lambda _: roots):
        return (await peer.call("roots")).plain


@row(
    "notifications/roots/list_changed",
    Impossible("2026-07-28 has no notifications/roots/list_changed", downstream="modern"),
    Impossible("2026-07-28 has no notifications/roots/list_changed", upstream="modern"),
)
async def _(peer: LegacyPeer) -> Any:
    before = int((await peer.call("roots_changes")).text)
    await peer.notify("notifications/roots/list_changed")

    async def told() -> bool:
        return int((await peer.call("roots_changes")).text) > before

    await eventually(told)
    with answering(peer, "roots/list", lambda _: {"roots": []}):
        return (await peer.call("roots")).plain


@row("Several questions at once")
async def _(peer: Peer) -> Any:
    reply = await peer.call("ask", n=3)
    return reply.plain | {"asked": sorted(reply.asked, key=repr)}


@row("Questions of every kind at once")
async def _(peer: Peer) -> Any:
    reply = await peer.call("ask_everything")
    # The server's own record has the answers in the order in which they came.
    return sorted(reply.asked, key=repr), reply.value


@row("Several rounds of questions")
async def _(peer: Peer) -> Any:
    reply = await peer.call("ask", n=2, rounds=3)
    return reply.plain | {"asked": sorted(reply.asked, key=repr)}


@row("A prompt that asks before it is rendered")
async def _(peer: Peer) -> Any:
    return (await peer.get("personal")).plain


@row("A resource that asks before it is read")
async def _(peer: Peer) -> Any:
    return (await peer.read("basic://question")).plain


@row(
    "A question outside of the call's own stream",
    Impossible("a server of 2026-07-28 asks in its result alone", upstream="modern"),
)
async def _(peer: Peer) -> Any:
    params = {"message": "Aside?", "requestedSchema": {"type": "object", "properties": {}}}
    reply = await peer.call("question", method="elicitation/create", params=params, aside=True)
    return reply.text


@row(
    "A question that the server takes back",
    Impossible("a question that is a result cannot be taken back", upstream="modern"),
)
async def _(peer: Peer) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder, "it")

        async def answer(_: Json) -> Json:
            marker.with_suffix(".seen").touch()
            if isinstance(peer, LegacyPeer):
                await peer.heard.until("notifications/cancelled")
            else:
                # Nobody takes a question of a result back. The call goes on with the answer, so the folder is there until then.
                await eventually(marker.with_suffix(".withdrawn").exists)
            return {"action": "accept"}

        with answering(peer, "elicitation/create", answer):
            reply = await peer.call("withdraw", marker=str(marker))
        if isinstance(peer, LegacyPeer):
            await peer.heard.until("notifications/cancelled")
        return reply.text


@row(
    "Nobody is asked for what it did not declare",
    capabilities={"roots": {}},
)
async def _(peer: Peer) -> Any:
    reply = await peer.call("ask")
    assert peer.is_direct or not reply.asked
    assert reply.error or reply.result["isError"]  # type: ignore[index]
    roots = await peer.call("roots")
    return roots.plain


@row(
    "Error -32021, a capability is missing",
    Impossible("-32021 is of 2026-07-28: a legacy server learns of capabilities at its handshake", upstream="legacy"),
    capabilities={"elicitation": {"form": {}}},
)
async def _(peer: Peer) -> Any:
    if peer.is_direct and peer.era == "legacy":
        return -32021, {"requiredCapabilities": {"sampling": {}}}
    reply = await peer.call("sample", prompt="Hello")
    assert reply.error is not None
    assert reply.status in (0, 200 if peer.era == "legacy" else 400)
    return reply.error["code"], reply.error["data"]


@row(
    "The caller's own capabilities reach the server",
    Impossible(
        "a modern client has no handshake: a legacy server hears of what the mesh can carry", "modern", "legacy"
    ),
    capabilities={"elicitation": {"form": {}}, "sampling": {}},
)
async def _(peer: Peer) -> Any:
    # An upstream that nobody has been asked through yet would be shared; now it is certain that it asks.
    await peer.call("ask")
    return (await peer.call("caller")).value["capabilities"]
