"""The eight promises of a mesh (docs/design.md, "Invariants"), each by its name."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import structlog
from mcp_types import _v2025_11_25 as legacy_types
from mcp_types import _v2026_07_28 as modern_types
from meshproxy.errors import RpcError
from meshproxy.observe import logs
from meshproxy.upstream import attribution
from meshproxy.wire.codec import Raw, dumps, loads
from tests.kit.clients import ELICIT, SAMPLE, Client, Context, Legacy, Modern, decoded, parsed
from tests.kit.journal import Journal
from tests.kit.light import document, light, received, release
from tests.kit.places import ROOT
from tests.kit.processes import children, commands
from tests.kit.running import command
from tests.kit.waiting import eventually, within
from tests.mesh.conftest import RunMesh

pytestmark = pytest.mark.anyio

KINDS = ("tools", "prompts", "resources", "templates")
PROGRESS = "notifications/progress"
MESSAGE = "notifications/message"
RICH = ("--tools", "one,two", "--prompts", "p", "--resources", "r://r,https://example.com/r", "--templates", "t://{t}")


async def view(client: Client) -> list[Any]:
    """All that a client can see of a mesh."""
    listings = [await client.request(method) for method in ("tools/list", "prompts/list", "resources/list")]
    opening = "initialize" if isinstance(client, Legacy) else "server/discover"
    return [*listings, await client.request("resources/templates/list"), await client.request(opening)]


# 1


@pytest.mark.parametrize(
    "edit",
    [
        "upstreams: {a: {command: [}",
        document({"a": light(comand="x")}),
        document({"a": light(*RICH), "b": light("--dies", "x", required=True), "c": light()}),
        document({"a": light("--tools", "x_one", namespace=""), "b": light("--tools", "one", namespace="x")}),
        document({"a": light("--label", "${NO_SUCH_VARIABLE}")}),
    ],
    ids=["not YAML", "unknown key", "required", "collision", "variable"],
)
async def test_invariant_1_a_rejected_config_changes_nothing_that_a_client_can_see(
    run_mesh: RunMesh, edit: str
) -> None:
    async with run_mesh(document({"a": light(*RICH), "b": light("--era", "modern")})) as mesh:
        clients = [Legacy(mesh.server), Modern(mesh.server)]
        before, status = [await view(client) for client in clients], mesh.mesh.status()
        call = asyncio.create_task(clients[0].says("a_one", 1, hold=True))
        await clients[0].heard.until(PROGRESS)
        clients[0].heard.clear()

        report = await mesh.edit(edit)
        assert report["event"] == "config.rejected"
        assert len(report["problems"]) == 1

        assert [await view(client) for client in clients] == before
        assert [client.heard.all for client in clients] == [[], []]
        release(mesh.pid("a"))
        assert (await call)["pid"] == mesh.pid("a")
        assert mesh.mesh.status() == status
        assert len(mesh.outcomes()) == 1


# 2


async def test_invariant_2_an_upstream_that_an_edit_does_not_touch_keeps_its_process_its_sessions_and_its_calls(
    run_mesh: RunMesh,
) -> None:
    kept = {"a": light(), "own": light(session="isolated"), "m": light("--era", "modern")}
    async with run_mesh(document({**kept, "z": light()})) as mesh:
        legacy, other, modern = Legacy(mesh.server), Legacy(mesh.server), Modern(mesh.server)
        pids = {name: mesh.pids(name) for name in ("a", "m")}
        sessions = [(await client.says("own_echo"))["pid"] for client in (legacy, other)]
        assert len({*sessions, *mesh.pids("own")}) == 3
        calls = [
            asyncio.create_task(client.says(f"{name}_echo", 1, hold=True))
            for client, name in ((legacy, "a"), (modern, "m"), (other, "own"))
        ]
        for client in (legacy, modern, other):
            await client.heard.until(PROGRESS)

        # Around them everything changes: what is added, changed, removed, broken, put first; how names are made.
        edits = [
            document({"new": light(), **kept, "z": light()}),
            document({"z": light("--label", "x"), **kept}),
            document({**kept, "dead": light("--dies", "x")}),
            document(kept, separator="."),
            document({name: kept[name] | {"namespace": f"n{name}"} for name in kept}),
            document(kept, instructions="Read this."),
        ]
        for edit in edits:
            report = await mesh.edit(edit)
            assert report["event"] == "config.reloaded"
            assert not {*report["started"], *report["retired"]} & kept.keys()
        assert {name: mesh.pids(name) for name in ("a", "m")} == pids
        assert [(await client.says("own_echo"))["pid"] for client in (legacy, other)] == sessions
        assert not any(call.done() for call in calls)
        for pid in (*pids["a"], *pids["m"], sessions[1]):
            release(pid)
        assert [(await call)["pid"] for call in calls] == [*pids["a"], *pids["m"], sessions[1]]


# 3


async def test_invariant_3_no_request_sees_two_snapshots(run_mesh: RunMesh) -> None:
    """While the mesh swaps as fast as it can, what is listed can be called at once, and answers as it is described."""
    async with run_mesh(document({"a": light("--label", "0"), "b": light()})) as mesh:
        done = asyncio.Event()

        async def use(client: Client) -> int:
            count = 0
            while not done.is_set():
                for tool in (await client.request("tools/list"))["tools"]:
                    # No await of ours between the listing and the call: both see one snapshot.
                    said = await client.says(tool["name"])
                    if tool["name"].startswith("a"):
                        assert said["label"] == tool["description"]
                    count += 1
            return count

        users = [asyncio.create_task(use(client)) for client in (Legacy(mesh.server), Modern(mesh.server))]
        for number in range(1, 6):
            listed = mesh.server.composite.snapshot
            await mesh.edit(document({"a": light("--label", str(number)), "b": light()}))
            assert mesh.server.composite.snapshot is not listed
        done.set()
        assert all(count > 10 for count in await within(asyncio.gather(*users)))


async def test_invariant_3_listing_and_look_up_agree_in_every_snapshot(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(*RICH)})) as mesh:
        client = Legacy(mesh.server)
        for number in range(3):
            await mesh.edit(document({f"n{number}": light(*RICH), "b": light(*RICH, "--label", str(number))}))
            for name in await client.names("tools"):
                assert "pid" in await client.says(name)
            for name in await client.names("prompts"):
                assert (await client.request("prompts/get", {"name": name}))["messages"]
            for uri in [*await client.names("resources"), *await client.names("templates")]:
                assert (await client.request("resources/read", {"uri": uri}))["contents"][0]["uri"] == uri


# 4


def private(message: str) -> list[Any]:
    """A question that says whose it is."""
    return ["elicitation/create", {**ELICIT[1], "message": message}]


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("session", ["auto", "isolated", "shared"])
async def test_invariant_4_no_message_reaches_a_downstream_that_it_does_not_belong_to(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch, era: str, session: str
) -> None:
    # On one process for all, two questions at once have to be refused: nobody knows whose they are.
    monkeypatch.setattr(attribution, "HOLD", 0.1)
    must_answer = (era, session) != ("legacy", "shared")
    text = document({"a": light("--tools", "one,two", "--era", era, session=session)})
    async with run_mesh(text) as mesh:
        clients: dict[str, Client] = {f"legacy {n}": Legacy(mesh.server) for n in range(2)}
        clients |= {f"modern {n}": Modern(mesh.server) for n in range(2)}

        async def talk(name: str, client: Client) -> None:
            for number in range(4):
                mine = f"{name}, {number}"
                log = [MESSAGE, {"level": "error", "data": mine}]
                said = await client.says(
                    ("a_one", "a_two")[number % 2],
                    7,
                    tag=mine,
                    ask=[[private(mine), private(mine)], [private(mine)]],
                    notify=[log],
                )
                assert said["tag"] == mine
                answers = [answer for answer in said["answers"] if must_answer or "code" not in answer]
                assert all(answer == {"action": "accept", "content": {"answer": mine}} for answer in answers)
                assert len(answers) == 3 or not must_answer

        await within(asyncio.gather(*(talk(name, client) for name, client in clients.items())))
        for name, client in clients.items():
            questions = [asked["message"] for asked in client.asked.of("elicitation/create")]
            assert len(questions) == 12 or not must_answer
            assert [question for question in questions if not question.startswith(name)] == []
            lines = [told["data"] for told in client.heard.of(MESSAGE)]
            assert [line for line in lines if not line.startswith(name)] == []
            assert {told["progressToken"] for told in client.heard.of(PROGRESS)} <= {7}
            if isinstance(client, Modern):
                # It asked for no log lines, and this era sends none then.
                assert lines == []


async def test_invariant_4_a_question_waits_until_it_is_certain_whose_it_is(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(session="shared")})) as mesh:
        first, second, pid = Legacy(mesh.server), Legacy(mesh.server), mesh.pid("a")
        holding = asyncio.create_task(first.says("a_echo", 1, hold=True))
        await first.heard.until(PROGRESS)
        asking = asyncio.create_task(second.says("a_echo", 1, ask=[[SAMPLE]]))
        log = [MESSAGE, {"level": "error", "data": "whose?"}]
        await second.call("a_echo", notify=[log])
        message = await mesh.journal.until("upstream.message")
        assert message["data"] == "whose?"
        assert not asking.done()
        release(pid)
        await holding
        assert (await asking)["answers"][0]["model"] == "m"
        assert first.asked.all == []
        assert first.heard.of(MESSAGE) == second.heard.of(MESSAGE) == []


async def test_invariant_4_a_question_of_a_call_that_was_given_up_is_nobody_elses(
    run_mesh: RunMesh, tmp_path: Path
) -> None:
    """It crosses with the cancellation on the way."""
    seen = tmp_path / "seen"
    async with run_mesh(document({"a": light("--journal", str(seen), session="shared")})) as mesh:
        gone, other, pid = Legacy(mesh.server), Legacy(mesh.server), mesh.pid("a")
        running = asyncio.create_task(gone.says("a_echo", 1, hold=True, late=[ELICIT]))
        await gone.heard.until(PROGRESS)
        staying = asyncio.create_task(other.says("a_echo", 1, hold=True))
        await other.heard.until(PROGRESS)
        running.cancel()

        def answers() -> list[Any]:
            return [message for message in received(seen) if message.get("id") == "0/0"]

        await eventually(answers)
        assert "error" in answers()[0]
        assert other.asked.all == []
        release(pid)
        assert (await staying)["pid"] == pid
        # Shortly after, whatever is asked is certain again.
        assert (await other.says("a_echo"))["pid"] == pid


async def test_invariant_4_updates_of_a_resource_reach_those_who_subscribed_to_it(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light("--resources", "r://x,r://y")})) as mesh:
        x, both, none = (Legacy(mesh.server) for _ in range(3))
        for client, uris in ((x, ["r://a/x"]), (both, ["r://a/x", "r://a/y"])):
            for uri in uris:
                await client.request("resources/subscribe", {"uri": uri})
        updated = "notifications/resources/updated"
        await none.call("a_echo", notify=[[updated, {"uri": "r://x"}], [updated, {"uri": "r://y"}]])
        await both.heard.until(updated, 2)
        assert both.heard.of(updated) == [{"uri": "r://a/x"}, {"uri": "r://a/y"}]
        assert x.heard.of(updated) == [{"uri": "r://a/x"}]
        assert none.heard.all == []


# 5

SPELLINGS = [b"1.0e5", b"1E400", b"-0", b"36893488147419103232", rb'"\u00e9\/\ud800"', b'{ "a" : [ ] }', b"null"]


async def spelled(client: Client, tool: str, raw: bytes) -> bytes:
    """The bytes of a result that an upstream spells so."""
    context = Context(client, client.caller(), None, {})
    params = {"name": tool, "arguments": {"raw": raw.decode()}}
    return dumps(await client.handler.on_request(context, "tools/call", parsed(params)))


async def test_invariant_5_what_came_from_an_upstream_leaves_as_it_came(run_mesh: RunMesh, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    text = document({"l": light("--journal", str(seen)), "m": light("--era", "modern")})
    async with run_mesh(text) as mesh:
        legacy, modern = Legacy(mesh.server), Modern(mesh.server)
        for value in SPELLINGS:
            raw = (
                b'{"content":[{"type":"new","x": ' + value + b'}],"extra":' + value + b',"_meta":{"k":' + value + b"}}"
            )
            assert await spelled(legacy, "l_echo", raw) == raw
            for client, tool in ((legacy, "m_echo"), (modern, "l_echo"), (modern, "m_echo")):
                result = await spelled(client, tool, raw)
                # Each value keeps its spelling, whatever an era puts beside it.
                assert result.count(value) >= 3, (tool, result)
                plain = decoded_without_era(result)
                assert plain == decoded_without_era(raw)
            # And so does what goes up.
            context = Context(legacy, legacy.caller(), None, {})
            params = parsed({"name": "l_echo", "_meta": {"vendor/x": [1.0]}, "extra": True})
            params["arguments"] = Raw(b'{"x": ' + value + b"}")
            await mesh.server.on_request(context, "tools/call", params)
            assert b'"arguments":{"x": ' + value + b"}" in seen.read_bytes().splitlines()[-1]
            sent = received(seen)[-1]["params"]
            assert (sent["_meta"], sent["extra"], sent["name"]) == ({"vendor/x": [1.0]}, True, "echo")


def decoded_without_era(result: bytes) -> Any:
    value = loads(result)
    for key in ("resultType", "ttlMs", "cacheScope"):
        value.pop(key, None)
    value.get("_meta", {}).pop("io.modelcontextprotocol/serverInfo", None)
    return value


# 6


async def test_invariant_6_one_upstreams_delay_or_death_costs_the_others_nothing(run_mesh: RunMesh) -> None:
    good = {f"g{n}": light() for n in range(3)}
    bad = {"silent": light("--silent"), "dead": light("--dies", "out of luck")}
    text = document({**bad, **good}, server={"list_grace": "0s"})
    async with run_mesh(text, settle=False) as mesh:
        legacy, modern = Legacy(mesh.server), Modern(mesh.server)
        await eventually(lambda: all(mesh.mesh.status()[name]["state"] == "up" for name in good))
        for client in (legacy, modern):
            assert await client.names() == ["g0_echo", "g1_echo", "g2_echo"]
        assert mesh.mesh.status()["silent"]["state"] == "starting"
        await eventually(lambda: mesh.mesh.status()["dead"]["state"] == "down")
        assert "out of luck" in mesh.mesh.status()["dead"]["reason"]

        # A running one dies in the middle of a call: the calls to the others end well.
        calls = {name: asyncio.create_task(Legacy(mesh.server).says(f"{name}_echo", hold=True)) for name in good}
        await eventually(lambda: all(mesh.mesh.status()[name]["calls"] == 1 for name in good))
        pids = {name: mesh.pid(name) for name in good}
        os.kill(pids["g0"], signal.SIGKILL)
        with pytest.raises(RpcError, match="'g0'"):
            await calls["g0"]
        assert await legacy.names() == ["g0_echo", "g1_echo", "g2_echo"]
        while not (calls["g1"].done() and calls["g2"].done()):
            release(pids["g1"])
            release(pids["g2"])
            await asyncio.sleep(0.01)
        assert [(await calls[name])["pid"] for name in ("g1", "g2")] == [pids["g1"], pids["g2"]]


async def test_invariant_6_what_one_upstream_lists_wrong_costs_it_the_wrong_part_alone(run_mesh: RunMesh) -> None:
    wrong = [
        {"name": "a"},
        {"name": "b", "inputSchema": "odd"},
        {"name": "c", "title": None, "inputSchema": {}},
        {"x": 1},
        7,
    ]
    bad = light(*(word for tool in wrong for word in ("--define", json.dumps(tool))))
    async with run_mesh(document({"bad": bad, "good": light()})) as mesh:
        for client, model in ((Legacy(mesh.server), legacy_types), (Modern(mesh.server), modern_types)):
            listed = await client.request("tools/list", {})
            # As the SDK's clients do, who refuse the whole listing for one definition.
            tools = model.ListToolsResult.model_validate(listed, by_name=False).tools
            assert [tool.name for tool in tools] == ["bad_echo", "bad_a", "bad_c", "good_echo"]
            assert listed["tools"][1] == {"name": "bad_a", "inputSchema": {"type": "object"}}
            assert await client.says("bad_a")
            with pytest.raises(RpcError, match="Unknown tool: bad_b"):
                await client.says("bad_b")
        said = mesh.journal.of("tool.mended", "tool.left_out")
        assert {(entry["event"], entry["upstream"], *entry["names"]) for entry in said} == {
            ("tool.mended", "bad", "a"),
            ("tool.mended", "bad", "c"),
            ("tool.left_out", "bad", "b"),
            ("tool.left_out", "bad", "?"),
        }


async def test_invariant_6_who_waits_for_a_slow_upstream_keeps_nobody_else_waiting(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"s": light("--silent"), "g": light()}), settle=False) as mesh:
        client = Legacy(mesh.server)
        waiting = asyncio.create_task(client.request("resources/read", {"uri": "x://s/x"}))
        await eventually(lambda: mesh.mesh.status()["g"]["state"] == "up")
        assert "pid" in await client.says("g_echo")
        assert not waiting.done()
        waiting.cancel()


# 7


async def test_invariant_7_after_the_drain_timeout_nothing_of_the_old_generation_is_alive(run_mesh: RunMesh) -> None:
    timeouts, soon_over = {"shutdown": "300ms"}, {"drain_timeout": "50ms"}
    text = document({"a": light("--stubborn", timeouts=timeouts), "b": light(session="isolated")}, reload=soon_over)
    async with run_mesh(text) as mesh:
        clients = [Legacy(mesh.server), Legacy(mesh.server)]
        # What is known not to ask may be used by several at once.
        await clients[0].call("a_echo")
        calls = [asyncio.create_task(client.call("a_echo", 1, hold=True)) for client in clients]
        calls += [asyncio.create_task(client.call("b_echo", 2, hold=True)) for client in clients]
        for client in clients:
            await client.heard.until(PROGRESS, 2)
        old = {*commands()}
        assert len(old) == 4
        await mesh.edit(document({"a": light("--label", "new")}, reload=soon_over))
        for call in calls:
            with pytest.raises(RpcError):
                await call
        await eventually(lambda: not old & commands().keys())
        assert (await clients[0].says("a_echo"))["label"] == "new"
        await eventually(lambda: not any(task.get_name().startswith("retire") for task in asyncio.all_tasks()))


async def test_invariant_7_after_the_exit_nothing_is_alive(run_mesh: RunMesh) -> None:
    """That no task and no file is left, every test of a mesh checks at its end."""
    timeouts = {"shutdown": "300ms"}
    upstreams = {
        "stubborn": light("--stubborn", timeouts=timeouts),
        "silent": light("--silent", timeouts=timeouts),
        "dead": light("--dies", "x"),
        "isolated": light(session="isolated"),
        "real": {"command": command("stubborn")[0], "args": command("stubborn")[1:], "timeouts": timeouts}
        | {"cwd": str(ROOT)},
    }
    async with run_mesh(document(upstreams), settle=False) as mesh:
        client = Legacy(mesh.server)
        await eventually(lambda: mesh.mesh.status()["real"]["state"] == "up")
        for name in ("stubborn", "isolated"):
            await client.call(f"{name}_echo")
        calls = [asyncio.create_task(client.call(f"{name}_echo", 1, hold=True)) for name in ("stubborn", "isolated")]
        await client.heard.until(PROGRESS, 2)
        asking = asyncio.create_task(client.call("isolated_echo", ask=[[ELICIT]], tag="x"))
        await client.asked.until("elicitation/create")
        await asking
    for call in calls:
        with pytest.raises(RpcError):
            await within(call)
    assert children() == {}


# 8

SECRET = "correct horse battery staple"


async def test_invariant_8_a_secret_of_the_config_appears_nowhere(
    run_mesh: RunMesh, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", SECRET)
    (tmp_path / "secret").write_text(SECRET)
    told = [MESSAGE, {"level": "error", "data": f"it is {SECRET}"}]
    told_by_file = f"${{file:{tmp_path / 'secret'}}}"
    upstreams = {
        "env": light(env={"KEY": "${A_SECRET}"}),
        "file": light("--label", "x", env={"KEY": told_by_file}),
        "dies": light("--dies", "${A_SECRET}", env={"KEY": "${A_SECRET}"}),
        "url": {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer ${A_SECRET}"}},
    }
    # As the log of a mesh that is served.
    monkeypatch.setattr(logs._State, "scrub", str)
    structlog.configure(processors=[logs._scrubbed, journal])
    async with run_mesh(document(upstreams)) as mesh:
        logs.conceal(mesh.mesh.scrub)
        legacy, modern = Legacy(mesh.server), Modern(mesh.server)
        texts: list[Any] = []
        for client in (legacy, modern):
            for name in ("env", "file"):
                with pytest.raises(RpcError) as refused:
                    await client.call(f"{name}_echo", error={"code": -1, "message": SECRET, "data": {"why": [SECRET]}})
                texts.append([refused.value.message, decoded(refused.value.data)])
                # On its own account, while two are calling: to the log.
                calls = [
                    asyncio.create_task(one.call(f"{name}_echo", say=SECRET, notify=[told])) for one in (legacy, modern)
                ]
                await asyncio.gather(*calls)
                with pytest.raises(RpcError) as lost:
                    await client.call(f"{name}_echo", say=SECRET, exit=1)
                texts.append([lost.value.message, decoded(lost.value.data)])

                async def is_back(name: str = name) -> bool:
                    # A call may still meet the process that has ended, and then says so: that counts, too.
                    try:
                        await asyncio.gather(*(one.call(f"{name}_echo", say=SECRET) for one in (legacy, modern)))
                    except RpcError as error:
                        texts.append([error.message, decoded(error.data)])
                        return False
                    return mesh.mesh.status()[name]["state"] == "up"

                await eventually(is_back)
            texts.append(await view(client))
        for bad in ("upstreams: {a: {url: '${A_SECRET}'}}", "upstreams: {a: {command: x, cwd: ['${A_SECRET}']}}"):
            await mesh.edit(bad)
        await mesh.edit(document({"url": upstreams["url"], "dies": upstreams["dies"]}))
        texts += [mesh.mesh.status(), repr(mesh.mesh.config), repr(mesh.server), mesh.journal.all]
        assert mesh.journal.of("upstream.stderr")
        for text in texts:
            assert SECRET not in json.dumps(text, default=str)
