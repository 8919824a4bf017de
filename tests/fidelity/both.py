"""What servers of both eras do that are written as real ones are: they ask, log and keep state as the SDK and FastMCP have it."""

import asyncio
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fidelity.peers import Json, LegacyPeer, Peer
from tests.fidelity.table import Impossible, answering, rows
from tests.kit.waiting import eventually

GROUP = "Servers of both eras, written as real ones are"
row = rows(GROUP, server="everything")
fast = rows(GROUP, server="everything_fastmcp")

SHARED = {"downstream": "legacy", "session": "shared"}
NO_ASKING = Impossible(
    "one link for all is of the modern era, in which a server cannot ask in the middle of a call", **SHARED
)
NO_SESSION = Impossible("one link for all is no client's own", **SHARED)
NO_ROUNDS = Impossible("legacy revisions do not ask in results, and these servers not otherwise", downstream="legacy")
NO_ROOTS_CHANGED = Impossible("2026-07-28 has no notifications/roots/list_changed", downstream="modern")
NO_LEVEL = Impossible("2026-07-28 gives each request its own log level instead", downstream="modern")
MOST = Impossible(
    "a process that several clients may share is told the most that one of them wants",
    transport="stdio",
    session="auto",
)
ONE_PROCESS = Impossible(
    "one process for all tells no call from another in its log lines", transport="stdio", session="shared"
)
PAGE = "https://example.com/sign-in"


@contextmanager
def responding(peer: Peer) -> Iterator[None]:
    """Fill in the form of these servers, and go to the pages that they name."""

    def answer(params: Json) -> Json:
        content = {} if params.get("mode") == "url" else {"content": {"response": params["message"]}}
        return {"action": "accept", **content}

    with answering(peer, "elicitation/create", answer):
        yield


@contextmanager
def listening(peer: Peer) -> Iterator[None]:
    """Hear every log line. Use after `set_level`, which this undoes for the era that starts with silence."""
    try:
        yield
    finally:
        if peer.era == "modern":
            peer._level = None  # type: ignore[attr-defined]


async def asked(peer: Peer, tool: str, /, **arguments: Any) -> Json:
    """A call that asks, and how it went."""
    with responding(peer):
        return (await peer.call(tool, **arguments)).plain


@row("The server is spoken to in the client's era", NO_SESSION)
async def _(peer: Peer) -> Any:
    reply = await peer.call("era")
    assert reply.text == peer.version
    return reply.plain


@row("ctx.elicit: accepted, declined and cancelled", NO_ASKING)
async def _(peer: Peer) -> Any:
    seen = [await asked(peer, "test_elicitation", message="Who?")]
    for action in ("decline", "cancel"):
        with answering(peer, "elicitation/create", lambda _, action=action: {"action": action}):
            seen.append((await peer.call("test_elicitation", message="Who?")).plain)
    return seen


@row("ctx.elicit: forms with defaults and enums of every kind", NO_ASKING)
async def _(peer: Peer) -> Any:
    filled = {
        "test_elicitation_sep1034_defaults": {
            "name": "Ada",
            "age": 7,
            "score": 0.5,
            "status": "active",
            "verified": True,
        },
        "test_elicitation_sep1330_enums": {
            "untitledSingle": "option1",
            "titledSingle": "value1",
            "legacyEnum": "opt1",
            "untitledMulti": ["option2"],
            "titledMulti": ["value3"],
        },
    }
    seen = []
    for tool, content in filled.items():
        with answering(peer, "elicitation/create", lambda _, content=content: {"action": "accept", "content": content}):
            seen.append((await peer.call(tool)).plain)
    return seen


@row("Resolve: asked in either era before the tool runs", NO_ASKING)
async def _(peer: Peer) -> Any:
    return [await asked(peer, "ask", message="Who?"), await asked(peer, "test_streaming_elicitation")]


@row("Input requests: a form, a sampling and the roots at once, and several rounds", NO_ROUNDS)
async def _(peer: Peer) -> Any:
    name = {"action": "accept", "content": {"name": "Ada", "color": "blue"}}
    with answering(peer, "elicitation/create", lambda _: name):
        tools = ("multiple_inputs", "multi_round")
        return [(await peer.call(f"test_input_required_result_{tool}")).plain for tool in tools]


@row("ctx.session.create_message", NO_ASKING)
async def _(peer: Peer) -> Any:
    return (await peer.call("test_sampling", prompt="Hello")).plain


@row("ctx.session.create_message outside of the call's own stream", NO_ASKING)
async def _(peer: Peer) -> Any:
    reply = await peer.call("sample_aside", prompt="Hello")
    return reply.result, reply.error


@row("Roots, and a change of them", NO_ASKING, NO_ROOTS_CHANGED)
async def _(peer: LegacyPeer) -> Any:
    seen = []
    for uri in ("file:///one", "file:///two"):
        with answering(peer, "roots/list", lambda _, uri=uri: {"roots": [{"uri": uri}]}):
            reply = await peer.call("list_roots")
            before = int((await peer.call("roots_changes")).text)
            await peer.notify("notifications/roots/list_changed")

            async def is_heard(before: int = before) -> bool:
                return int((await peer.call("roots_changes")).text) == before + 1

            await eventually(is_heard)
            seen.append(reply.result)
    return seen


@row("A page to sign in at: elicitation/complete on the call's stream", NO_ASKING)
async def _(peer: Peer) -> Any:
    return await asked(peer, "sign_in", url=PAGE, id=str(uuid.uuid5(uuid.NAMESPACE_URL, PAGE)))


@row("A page to sign in at: elicitation/complete on the connection's own stream", NO_ASKING)
async def _(peer: Peer) -> Any:
    number = f"{peer.era}-{uuid.uuid4()}"
    with responding(peer):
        reply = await peer.call("sign_in_aside", url=PAGE, id=number)
    if peer.era == "legacy":
        await peer.heard.until(
            "notifications/elicitation/complete", matches=lambda told: told["elicitationId"] == number
        )
    return reply.result, reply.error


@row(
    "A page to sign in at first: error -32042",
    Impossible("2026-07-28 has no -32042: its servers ask for the URL instead", downstream="modern"),
)
async def _(peer: Peer) -> Any:
    return (await peer.call("sign_in_first", url=PAGE, id="s1")).plain


@row("Error -32021, a capability is missing", capabilities={"elicitation": {}})
async def _(peer: Peer) -> Any:
    return (await peer.call("test_missing_capability")).plain


@row("Log lines of every level and progress, in their order")
async def _(peer: Peer) -> Any:
    await peer.set_level("debug")
    with listening(peer):
        reply = await peer.call("narrate", _meta={"progressToken": "n"}, lines=40)
    assert len(reply.said) == 80
    return reply.plain


@row("A log line, a form, progress, a sampling: all in their order", NO_ASKING)
async def _(peer: Peer) -> Any:
    await peer.set_level("debug")
    with listening(peer), responding(peer):
        return (await peer.call("interview", _meta={"progressToken": "i"})).plain


@row("Log lines of two calls at once: each is heard, and by its caller", ONE_PROCESS)
async def _(peer: Peer) -> Any:
    await peer.set_level("debug")
    before = len(peer.heard.of("notifications/message"))
    with tempfile.TemporaryDirectory() as folder, listening(peer):
        markers = [Path(folder, name) for name in ("one", "two")]
        tasks = []
        for marker in markers:
            tasks.append(peer.start("hold", marker=str(marker), words=marker.name)[1])
            await eventually(marker.with_suffix(".started").exists)
        for marker in markers:
            marker.with_suffix(".go").touch()
        replies = await asyncio.gather(*tasks)
    heard = sorted(told["data"] for told in peer.heard.of("notifications/message")[before:])
    # One client's calls share a connection in the legacy era, where nothing says on which of their streams a line belongs.
    own = [[told["data"] for told in reply.of("notifications/message")] for reply in replies]
    return heard, [reply.text for reply in replies], own if peer.era == "modern" else None


@row("logging/setLevel reaches the session that it is for", NO_LEVEL, NO_SESSION, MOST)
async def _(peer: Peer) -> Any:
    seen = []
    for level in ("error", "debug"):
        await peer.set_level(level)
        seen.append((await peer.call("level")).text)
    return seen


@row("State of the session: a counter counts", NO_SESSION)
async def _(peer: Peer) -> Any:
    counts = [int((await peer.call("count")).text) for _ in range(3)]
    return [count - counts[0] for count in counts]


@row("State of the process: what a call leaves is there in the next, whatever was said and asked")
async def _(peer: Peer) -> Any:
    key = str(uuid.uuid4())
    seen = []

    async def look() -> None:
        seen.append((await peer.call("take", key=key)).text)
        await peer.call("put", key=key, value="again")

    await peer.set_level("debug")
    with listening(peer), responding(peer):
        await peer.call("put", key=key, value="first")
        await look()
        await peer.call("put_and_say", key=key, value="said")
        await look()
        await peer.call("narrate", lines=3)
        await look()
        await peer.call("put_and_ask", key=key)
        assert (await peer.read("test://static-text")).error is None
        assert (await peer.get("test_simple_prompt")).error is None
        seen.append((await peer.call("take", key=key)).result is not None)
    return seen


@row("State of the process: an answer is kept", NO_ASKING)
async def _(peer: Peer) -> Any:
    key = str(uuid.uuid4())
    with responding(peer):
        asking = await peer.call("put_and_ask", key=key)
    taken = (await peer.call("take", key=key)).text
    return asking.error and asking.error["code"], taken.replace(key, "the key")


@row("Subscribed resources: updated, until unsubscribed")
async def _(peer: Peer) -> Any:
    method, uri = "notifications/resources/updated", "test://watched-resource"
    agreed = await peer.listen(uris=(uri,))
    before = len(peer.heard.of(method))
    await peer.call("touch", uri=uri)
    await eventually(lambda: len(peer.heard.of(method)) > before)
    told = peer.heard.of(method)[before:]
    await peer.unlisten(uri)
    return agreed, [params["uri"] for params in told]


@row("A cancelled call ends at the server")
async def _(peer: Peer) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder, "it")
        number, task = peer.start("hold", marker=str(marker), words="waiting")
        await eventually(marker.with_suffix(".started").exists)
        await peer.wire.abandon(number, task)
        await eventually(marker.with_suffix(".cancelled").exists)
    return (await peer.call("test_simple_text")).plain


@row("Results of every content, structured ones, failures, completion, resources and prompts")
async def _(peer: Peer) -> Any:
    tools = ("simple_text", "image_content", "audio_content", "embedded_resource", "multiple_content_types")
    replies = [await peer.call(f"test_{tool}") for tool in (*tools, "error_handling")]
    ref = {"type": "ref/prompt", "name": peer.place.name("test_prompt_with_arguments")}
    replies += [
        await peer.read("test://static-binary"),
        await peer.read("test://template/7/data"),
        await peer.get("test_prompt_with_arguments", arg1="a", arg2="b"),
        await peer.request("completion/complete", {"ref": ref, "argument": {"name": "arg1", "value": "par"}}),
    ]
    return [reply.plain for reply in replies]


@fast("FastMCP: ctx.elicit", NO_ASKING)
async def _(peer: Peer) -> Any:
    return await asked(peer, "test_elicitation", message="Who?")


@fast("FastMCP: ctx.session.create_message", NO_ASKING)
async def _(peer: Peer) -> Any:
    return (await peer.call("test_sampling", prompt="Hello")).plain


@fast("FastMCP: input requests", NO_ROUNDS)
async def _(peer: Peer) -> Any:
    return (await peer.call("test_input_required_result_multiple_inputs")).plain


@fast("FastMCP: a log line, a form, progress, a sampling: all in their order", NO_ASKING)
async def _(peer: Peer) -> Any:
    await peer.set_level("debug")
    with listening(peer), responding(peer):
        return (await peer.call("interview", _meta={"progressToken": "i"})).plain


@fast("FastMCP: ctx.set_state", NO_SESSION)
async def _(peer: Peer) -> Any:
    visits = [int((await peer.call("visits")).text) for _ in range(3)]
    return [count - visits[0] for count in visits]


@fast("FastMCP: logging/setLevel", NO_LEVEL, NO_SESSION)
async def _(peer: Peer) -> Any:
    seen = []
    for level in ("error", "debug"):
        await peer.set_level(level)
        seen.append((await peer.call("narrate", lines=4)).said)
    return seen
