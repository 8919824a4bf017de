"""A tool that needs a task is called by clients that know nothing of tasks: each outcome, in every pairing, over every transport."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from meshproxy.eras import required_task
from meshproxy.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, AnswerLost, RpcError
from meshproxy.kinds import Kind
from meshproxy.links.target import Command
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.codec import Raw, opened
from meshproxy.wire.protocol import META_RELATED_TASK, Era
from tests.kit.clients import ABLE, ELICIT, SAMPLE, SAMPLED, Client, Json, Legacy, Modern
from tests.kit.places import ROOT
from tests.kit.running import Running, command
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.wires import Wire, WireEndpoint
from tests.servers.tasks import kit

pytestmark = pytest.mark.anyio

PROGRESS = "notifications/progress"
FOREVER = 3_600_000
"""Milliseconds between two looks at a task that nobody waits for in a test."""


@contextlib.asynccontextmanager
async def meshed(client: ProxyClient, **options: Any) -> AsyncIterator[tuple[FastMCP, ProxyProvider]]:
    """The server of tasks behind the mesh."""
    server = FastMCP()
    provider = ProxyProvider(client, **options)
    server.add_provider(provider, "up")
    async with asyncio.timeout(DEADLINE):
        try:
            server.start()
            await provider.settled()
            yield server, provider
        finally:
            await server.aclose()


def over(transport: str, shared_server: Callable[..., Running]) -> ProxyClient:
    if transport == "http":
        return ProxyClient(shared_server("tasks", era="legacy").url, name="up")
    if transport == "stdio":
        program, *arguments = command("tasks", "--era", "legacy")
        return ProxyClient(Command(program, arguments, cwd=str(ROOT)), name="up")
    client = ProxyClient(kit().server(), name="up")
    # Asked in the modern way first, the SDK's server would be of that era.
    client.endpoint.known.era = Era.LEGACY
    return client


@pytest.fixture(params=["memory", "http"])
def upstream(request: pytest.FixtureRequest, shared_server: Callable[..., Running]) -> ProxyClient:
    return over(request.param, shared_server)


@pytest.fixture(params=["memory", "http", "stdio"])
def anywhere(request: pytest.FixtureRequest, shared_server: Callable[..., Running]) -> ProxyClient:
    """The same, and by a pipe, where starting takes its time."""
    return over(request.param, shared_server)


@pytest.fixture(params=[Legacy, Modern])
def era(request: pytest.FixtureRequest) -> type[Client]:
    return request.param  # type: ignore[no-any-return]


async def made(client: Client, task: str) -> list[str]:
    """The requests that the server had about a task."""
    return list((await client.says("up_requests", task=task))["requests"])


async def refusal(client: Client, **arguments: Any) -> RpcError:
    with pytest.raises(RpcError) as refused:
        await client.call("up_work", **arguments)
    return refused.value


# Outcomes


async def test_a_tool_that_needs_a_task_is_an_ordinary_tool(anywhere: ProxyClient, era: type[Client]) -> None:
    async with meshed(anywhere, call_timeout=17.5) as (server, _):
        client = era(server)
        listed = {tool["name"]: tool for tool in (await client.request("tools/list"))["tools"]}
        assert "execution" not in listed["up_work"]
        result = await client.call("up_work")
        # The task has lived for as long as the call might have.
        assert result["structuredContent"] | {"looks": 0} == {"answers": [], "looks": 0, "ttl": 17500}
        assert META_RELATED_TASK not in json.dumps(result)
        assert result["content"][1]["uri"] == "tasks://up/report"
        assert json.loads((await client.call("up_may"))["content"][0]["text"]) is None


async def test_the_looks_at_a_task_find_its_end_where_its_server_says_nothing(
    upstream: ProxyClient, era: type[Client]
) -> None:
    async with meshed(upstream) as (server, _):
        plan = [
            ["looked", 2],
            ["become", "a status of a later day"],
            ["looked", 1],
            ["become", "working"],
            ["looked", 1],
        ]
        said = await era(server).says("up_work", plan=plan, notes=False)
        assert said["looks"] >= 4


async def test_a_server_that_says_how_a_task_is_need_not_be_looked_at(upstream: ProxyClient, era: type[Client]) -> None:
    async with meshed(upstream) as (server, _):
        client = era(server)
        plan = [["become", "working", "half of it"], ["ask", *ELICIT]]
        said = await client.says("up_work", 1, id=f"quiet {era.__name__}", plan=plan, interval=FOREVER)
        assert said["looks"] == 0
        assert await made(client, f"quiet {era.__name__}") == ["tasks/result"]


@pytest.mark.parametrize("status", ["failed", "completed"])
async def test_a_tool_that_failed_says_so_itself(upstream: ProxyClient, era: type[Client], status: str) -> None:
    async with meshed(upstream) as (server, _):
        failure = {"content": [{"type": "text", "text": "broken"}], "isError": True}
        result = await era(server).call("up_work", plan=[["end", status, failure, "it broke"]])
        assert failure.items() <= result.items()


@pytest.mark.parametrize(
    ("status", "error", "words", "message"),
    [
        ("completed", {"code": -5, "message": "no", "data": [1]}, "all is well", "no"),
        ("failed", {"code": -5, "message": "no", "data": [1]}, None, "no"),
        ("failed", {"code": -5, "message": "no: it broke", "data": [1]}, "it broke", "no: it broke"),
        ("failed", {"code": -32602, "message": "no", "data": [1]}, "it broke", "no (it broke)"),
        ("cancelled", {"code": -5, "message": "no"}, "by hand", "no (the task was cancelled: by hand)"),
        ("cancelled", {"code": -5, "message": "no"}, None, "no (the task was cancelled)"),
        ("failed", {}, "it broke", "has no result stored (it broke)"),
    ],
)
async def test_a_call_that_failed_is_the_error_that_it_was(
    shared_server: Callable[..., Running],
    era: type[Client],
    status: str,
    error: Json,
    words: str | None,
    message: str,
) -> None:
    async with meshed(over("memory", shared_server)) as (server, _):
        plan = [["end", status, error, *([words] if words else [])]]
        refused = await refusal(era(server), plan=plan)
        assert refused.message.endswith(message)
        assert refused.code == error.get("code", INTERNAL_ERROR)
        assert opened(refused.data) == error.get("data")


async def test_a_task_that_is_gone_is_a_lost_answer(upstream: ProxyClient, era: type[Client]) -> None:
    async with meshed(upstream) as (server, _):
        refused = await refusal(era(server), plan=[["looked", 1], ["forget"]])
        assert refused.code == INTERNAL_ERROR
        assert "its task cannot be followed: Failed to retrieve task: Task not found" in refused.message
        assert refused.data["retryable"] is False


async def test_a_call_that_takes_too_long_is_called_off(
    upstream: ProxyClient, era: type[Client], tmp_path: Path
) -> None:
    async with meshed(upstream, call_timeout=0.3) as (server, _):
        client = era(server)
        name = f"slow {tmp_path.name}"
        refused = await refusal(client, id=name, plan=[["hold", str(tmp_path / "m")]], interval=FOREVER)
        assert "no answer within 0.3 s" in refused.message
        await eventually(lambda: _has_ended(client, name))


async def _has_ended(client: Client, name: str) -> bool:
    return (await made(client, name))[-1:] == ["tasks/cancel"]


async def test_a_client_that_leaves_cancels_the_task(anywhere: ProxyClient, era: type[Client], tmp_path: Path) -> None:
    async with meshed(anywhere) as (server, _):
        client = era(server)
        name, marker = f"left {tmp_path.name}", tmp_path / "m"
        running = asyncio.create_task(client.call("up_work", id=name, plan=[["hold", str(marker)]], interval=FOREVER))
        await eventually(marker.with_name("m.started").exists)
        running.cancel()
        await eventually(lambda: _has_ended(client, name))


async def test_a_client_that_leaves_before_the_task_is_made_cancels_it_too(
    upstream: ProxyClient, era: type[Client], tmp_path: Path
) -> None:
    async with meshed(upstream) as (server, _):
        client = era(server)
        name, marker = f"early {tmp_path.name}", tmp_path / "m"
        running = asyncio.create_task(client.call("up_work", id=name, until=str(marker), plan=[["hold", str(marker)]]))
        await eventually(marker.with_name("m.making").exists)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        marker.with_name("m.made").touch()
        await eventually(lambda: _has_ended(client, name))


async def test_an_upstream_that_dies_loses_the_answer_at_once(
    shared_server: Callable[..., Running], era: type[Client]
) -> None:
    async with meshed(over("stdio", shared_server)) as (server, _):
        refused = await refusal(era(server), plan=[["die"]], interval=FOREVER)
        assert "was lost: the process exited with status 3" in refused.message
        assert refused.data == {"upstream": "up", "reason": refused.data["reason"], "retryable": False}


async def test_a_call_that_its_server_refuses_before_there_is_a_task_is_refused(
    upstream: ProxyClient, era: type[Client]
) -> None:
    async with meshed(upstream) as (server, _):
        client = era(server)
        failure = {"content": [{"type": "text", "text": "bad arguments"}], "isError": True, "task": {"taskId": "1"}}
        result = await client.call("up_work", instead=failure)
        assert failure.items() <= result.items()
        assert (await refusal(client, instead={"task": {"status": "working"}})).message.endswith("a task without an id")


# Questions, progress and log lines


@pytest.mark.parametrize("way", ["result", "aside"])
async def test_what_a_task_asks_is_answered(anywhere: ProxyClient, era: type[Client], way: str) -> None:
    async with meshed(anywhere) as (server, _):
        client = era(server)
        said = await client.says("up_work", plan=[["ask", *ELICIT], ["ask", *SAMPLE], ["ask", *ELICIT]], way=way)
        form, sampled, again = said["answers"]
        assert (
            form.pop("_meta").keys() == sampled.pop("_meta").keys() == again.pop("_meta").keys() == {META_RELATED_TASK}
        )
        assert form == again == {"action": "accept", "content": {"answer": "What is it?"}}
        assert sampled == SAMPLED
        assert client.asked.methods() == [ELICIT[0], SAMPLE[0], ELICIT[0]]
        assert META_RELATED_TASK not in json.dumps(client.asked.all)


@pytest.mark.parametrize("way", ["result", "aside"])
async def test_a_task_of_a_client_that_cannot_be_asked_is_told_so(
    upstream: ProxyClient, era: type[Client], way: str
) -> None:
    async with meshed(upstream) as (server, _):
        said = await era(server, {}).says("up_work", plan=[["ask", *ELICIT]], way=way)
        assert said["answers"] == [{"refused": METHOD_NOT_FOUND}]


async def test_a_server_that_gives_no_result_before_the_end_may_ask_aside(
    upstream: ProxyClient, era: type[Client]
) -> None:
    async with meshed(upstream) as (server, _):
        client = era(server)
        plan = [["ask", *ELICIT], ["looked", 1], ["ask", *ELICIT]]
        said = await client.says("up_work", plan=plan, way="aside", blocks=False)
        assert len(said["answers"]) == 2


async def test_what_many_tasks_ask_on_one_connection_reaches_each_its_own_client(anywhere: ProxyClient) -> None:
    async with meshed(anywhere, session="shared") as (server, _):

        async def one(era: type[Client], number: int, way: str) -> None:
            client = era(server, ABLE, {"elicitation/create": lambda _: {"action": "accept", "content": {"n": number}}})
            plan = [["log", str(number)], ["looked", 1], ["progress", number + 1], ["ask", *ELICIT], ["ask", *ELICIT]]
            client.log_level = "debug"
            said = await client.says("up_work", number, plan=plan, way=way)
            assert [answer["content"] for answer in said["answers"]] == [{"n": number}] * 2
            assert len(client.asked.all) == 2
            assert {told["progressToken"] for told in client.heard.of(PROGRESS)} == {number}
            assert {told["data"] for told in client.heard.of("notifications/message")} <= {str(number)}

        async with asyncio.TaskGroup() as clients:
            for number in range(12):
                era, way = (Legacy, Modern)[number % 2], ("result", "aside")[number % 3 == 0]
                clients.create_task(one(era, number, way))


async def test_what_a_task_says_that_nobody_waits_for_any_more_is_for_nobody(
    upstream: ProxyClient, era: type[Client], tmp_path: Path
) -> None:
    async with meshed(upstream, session="shared") as (server, _):
        client, other = era(server), era(server)
        name, first, second, third = f"stubborn {tmp_path.name}", tmp_path / "1", tmp_path / "2", tmp_path / "3"
        plan = [["hold", str(first)], ["log", "I go on"], ["ask", *ELICIT], ["hold", str(second)]]
        leaving = asyncio.create_task(client.call("up_work", 1, id=name, plan=plan, way="aside", heeds=False))
        await eventually(first.with_name("1.started").exists)
        other.log_level = "debug"
        # The only call on the connection, to which what is said could only belong if it did not say whose it is.
        waiting = asyncio.create_task(other.call("up_work", 2, plan=[["hold", str(third)]]))
        await eventually(third.with_name("3.started").exists)
        leaving.cancel()
        await eventually(lambda: _has_ended(client, name))
        first.with_name("1.go").touch()
        await eventually(second.with_name("2.started").exists)
        third.with_name("3.go").touch()
        await waiting
        assert other.asked.all == client.asked.all == []
        assert other.heard.of("notifications/message") == []
        second.with_name("2.go").touch()


async def test_a_task_with_the_name_of_another_one_costs_its_own_call_alone(
    upstream: ProxyClient, era: type[Client], tmp_path: Path
) -> None:
    async with meshed(upstream, session="shared") as (server, _):
        name, marker = f"twice {tmp_path.name}", tmp_path / "m"
        first = asyncio.create_task(era(server).says("up_work", id=name, plan=[["hold", str(marker)]]))
        await eventually(marker.with_name("m.started").exists)
        client = era(server)
        refused = await refusal(client, id=name, instead={"task": {"taskId": name, "status": "working"}})
        assert refused.message.endswith("a task with the id of another one")
        marker.with_name("m.go").touch()
        assert (await first)["answers"] == []
        assert "tasks/cancel" not in await made(client, name)


async def test_what_is_malformed_in_what_a_server_says_of_a_task_costs_nobody_the_result(era: type[Client]) -> None:
    deep = Raw(b"[" * 900 + b"]" * 900)
    looks = iter(
        [
            {"status": 1, "pollInterval": 10**400},
            {"status": deep, "statusMessage": deep, "pollInterval": deep},
            Raw(b"[]"),
            {"status": "completed"},
        ]
    )
    capabilities = {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}
    wire = Wire(
        capabilities=capabilities,
        tools__list={
            "tools": [{"name": "t", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}}]
        },
        tools__call={"task": {"taskId": "1", "pollInterval": -1}},
        tasks__get=lambda _params, _call: next(looks),
        tasks__result={"content": [], "_meta": {META_RELATED_TASK: {"taskId": "1"}, "kept": 1}},
    )
    async with meshed(ProxyClient(WireEndpoint(wire), name="up"), session="shared") as (server, _):
        result = await era(server).call("up_t")
        assert result["_meta"]["kept"] == 1
        assert META_RELATED_TASK not in result["_meta"]
        (sent,) = wire.of("tools/call")
        assert sent["task"] == {"ttl": 300_000}
        assert wire.of("tasks/get") == [{"taskId": "1"}] * 4


async def test_a_look_that_is_lost_is_repeated_and_three_in_a_row_are_a_lost_answer(
    era: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(required_task, "INTERVAL", (0.001, 0.001, 1.0))
    lost = [AnswerLost("up", "it fell"), RpcError(INTERNAL_ERROR, "try later")]
    looks = iter([*lost, {"status": "working"}, *lost, {"status": "input_required"}, *lost, lost[0]])

    def look(_params: Json, _call: object) -> object:
        outcome = next(looks)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    wire = Wire(
        capabilities={"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}},
        tools__list={
            "tools": [{"name": "t", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}}]
        },
        tools__call={"task": {"taskId": "1"}},
        tasks__get=look,
        tasks__result=RpcError(-32600, "not yet"),
    )
    async with meshed(ProxyClient(WireEndpoint(wire), name="up"), session="shared") as (server, _):
        with pytest.raises(RpcError, match="was lost: it fell") as refused:
            await era(server).call("up_t")
        assert refused.value.data["retryable"] is False
        assert len(wire.of("tasks/result")) == 1
        # There is no tasks/cancel for a server that does not have it.
        assert wire.of("tasks/cancel") == []


async def test_progress_is_told_for_as_long_as_the_task_lives_and_so_is_how_it_is(
    upstream: ProxyClient, era: type[Client]
) -> None:
    async with meshed(upstream) as (server, _):
        client = era(server)
        plan = [
            # Over HTTP what is said at once may overtake the answer that names the task, and then what need not wait for that comes first.
            ["looked", 1],
            ["become", "working", "first"],
            ["become", "working", "second"],
            ["progress", 0],
            ["progress", 0.5],
            ["become", "working", "second"],
            ["become", "working", "third"],
            ["progress", 1],
            ["looked", 1],
        ]
        await client.call("up_work", "t", plan=plan)
        told = [(one["progress"], one.get("message"), one["progressToken"]) for one in client.heard.of(PROGRESS)]
        assert told == [
            (0.001, "first", "t"),
            (0.002, "second", "t"),
            (0.003, None, "t"),
            (0.5, None, "t"),
            (0.501, "third", "t"),
            (1, None, "t"),
        ]
        assert META_RELATED_TASK not in json.dumps(client.heard.all)
        client.heard.clear()
        await client.call("up_work", plan=plan)
        assert client.heard.of(PROGRESS) == []


async def test_log_lines_of_a_task_are_those_of_its_call(upstream: ProxyClient, era: type[Client]) -> None:
    async with meshed(upstream, session="shared") as (server, _):
        client, other = era(server), Legacy(server)
        client.log_level = "debug"
        await client.call("up_work", plan=[["log", "a line"], ["looked", 1]])
        (line,) = client.heard.of("notifications/message")
        assert line["data"] == "a line"
        assert META_RELATED_TASK not in json.dumps(line)
        assert other.heard.of("notifications/message") == []


# Without a client


async def test_a_component_runs_its_task_by_itself(upstream: ProxyClient) -> None:
    async with meshed(upstream) as (_, provider):
        (work,) = [tool for tool in await provider.components(Kind.TOOL) if tool.origin == "work"]
        result = await work.run({"plan": [["ask", *ELICIT], ["log", "a line"]]})  # type: ignore[attr-defined]
        assert result["structuredContent"]["answers"] == [{"refused": METHOD_NOT_FOUND}]
