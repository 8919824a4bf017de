"""Calls to an upstream with limits: who goes, who waits and who is told to come again, whatever the eras. Over wires whose answers the test decides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproxy.config.units import Rate
from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.guard.guard import Guard
from meshproxy.guard.rules import Rules
from meshproxy.links.call import Call
from meshproxy.relay.call import Call as RelayCall
from meshproxy.relay.principal import Principal, Visitor
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.supervision import backoff
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.codec import opened
from meshproxy.wire.protocol import Era
from tests.kit.clients import ELICIT, Client, Context, Legacy, Modern
from tests.kit.journal import Journal
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.wires import Wire, WireEndpoint

pytestmark = pytest.mark.anyio

ANSWER = {"content": [{"type": "text", "text": "done"}]}
TOOLS = [
    {"name": "t", "inputSchema": {"type": "object"}},
    {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {"name": "put", "inputSchema": {"type": "object"}, "annotations": {"idempotentHint": True}},
]


class Desk:
    """The upstream: each call waits until it is let go, by the name that its client gave it; `begun` are those that came, in order."""

    def __init__(self, era: Era = Era.LEGACY) -> None:
        self.begun: list[str] = []
        self.answers: dict[str, asyncio.Future[Any]] = {}
        self.failing: list[Exception] = []
        listed = {
            "tools__list": {"tools": TOOLS},
            "resources__list": {"resources": [{"uri": "file:///a", "name": "a"}]},
            "prompts__list": {"prompts": [{"name": "p"}]},
            "resources__templates__list": {"resourceTemplates": []},
        }
        answers: dict[str, Any] = {"tools__call": self.called, "resources__read": self.read, "prompts__get": self.read}
        # The second is there for when the first is lost.
        self.wire, self.spare = (Wire(era, **answers, **listed) for _ in range(2))

    async def called(self, params: dict[str, Any], _call: Call | None) -> Any:
        name = (opened(params.get("arguments")) or {}).get("name", "")
        self.begun.append(name)
        if self.failing:
            raise self.failing.pop(0)
        if not name:
            return ANSWER
        self.answers[name] = asyncio.get_running_loop().create_future()
        return await self.answers[name]

    async def read(self, params: dict[str, Any], _call: Call | None) -> Any:
        self.begun.append(opened(params.get("uri")) or opened(params.get("name")))
        if self.failing:
            raise self.failing.pop(0)
        return {"contents": [], "messages": []}

    def answer(self, name: str) -> None:
        self.answers.pop(name).set_result(ANSWER)

    async def has(self, *names: str) -> None:
        """Wait until exactly these calls have come."""
        await eventually(lambda: len(self.begun) >= len(names))
        assert self.begun == list(names)


@contextlib.asynccontextmanager
async def guarded(era: Era = Era.LEGACY, **rules: Any) -> AsyncIterator[tuple[FastMCP, ProxyProvider, Desk]]:
    desk = Desk(era)
    server = FastMCP()
    provider = ProxyProvider(
        ProxyClient(WireEndpoint(desk.wire, desk.spare)),
        name="up",
        session="shared",
        call_timeout=60,
        rules=Rules(**rules),
    )
    server.add_provider(provider)
    try:
        server.start()
        await provider.settled()
        yield server, provider, desk
    finally:
        async with asyncio.timeout(DEADLINE):
            await server.aclose()


def begin(client: Client, *names: str) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(client.call("t", name=name)) for name in names]


async def turn() -> None:
    """Let everything happen that can without waiting for anybody."""
    for _ in range(20):
        await asyncio.sleep(0)


async def refused(awaitable: Any) -> RpcError:
    with pytest.raises(RpcError) as raised:
        await awaitable
    return raised.value


async def probing(client: Client, desk: Desk) -> asyncio.Task[Any]:
    """The first call that reaches the upstream again: the breaker refuses those before it, and this is its probe."""
    begun = len(desk.begun)
    while True:
        (call,) = begin(client, "probe")
        await eventually(lambda call=call: call.done() or len(desk.begun) > begun)
        if len(desk.begun) > begun:
            return call
        await refused(call)


# Concurrency and the queue


async def test_calls_beyond_the_bound_wait_and_one_goes_for_each_that_ends() -> None:
    async with guarded(concurrency=2) as (server, provider, desk):
        client = Legacy(server)
        tasks = begin(client, "a", "b", "c", "d")
        await desk.has("a", "b")
        await turn()
        assert desk.begun == ["a", "b"]
        assert provider.status()["queued"] == 2
        desk.answer("b")
        await desk.has("a", "b", "c")
        desk.answer("a")
        await desk.has("a", "b", "c", "d")
        for name in "cd":
            desk.answer(name)
        assert [len(result["content"]) for result in await asyncio.gather(*tasks)] == [1] * 4
        assert (provider.status()["queued"], provider.status()["calls"]) == (0, 0)


@pytest.mark.parametrize("era", list(Era))
async def test_fairness_one_client_with_200_slow_calls_delays_another_ones_by_at_most_one_slot_and_other_upstreams_not_at_all(
    era: Era,
) -> None:
    async with guarded(era, concurrency=8) as (server, _, desk), guarded() as (elsewhere, _, other_desk):
        greedy, modest = Legacy(server), Legacy(server)
        names = [f"g{number}" for number in range(200)]
        tasks = begin(greedy, *names)
        await eventually(lambda: len(desk.begun) == 8)
        tasks += begin(modest, "first")
        await turn()
        assert "first" not in desk.begun
        tasks += begin(Legacy(elsewhere), "elsewhere")
        await other_desk.has("elsewhere")
        other_desk.answer("elsewhere")
        desk.answer("g3")
        await eventually(lambda: len(desk.begun) == 9)
        assert desk.begun[-1] == "first"
        desk.answer("first")
        while not all(task.done() for task in tasks):
            for name in list(desk.answers):
                desk.answer(name)
            await turn()
        assert sorted(desk.begun) == sorted([*names, "first"])


async def test_a_principal_has_one_share_whatever_it_sends_and_callers_without_a_session_go_by_their_name() -> None:
    async with guarded(Era.MODERN, concurrency=1) as (server, _, desk):
        one, other = Modern(server), Modern(server)
        one.visitor, other.visitor = (Visitor(Principal("key", name)) for name in ("one", "other"))
        tasks = begin(one, "1", "2", "3")
        await desk.has("1")
        tasks += begin(other, "x")
        await turn()
        desk.answer("1")
        await desk.has("1", "x")
        desk.answer("x")
        await desk.has("1", "x", "2")
        desk.answer("2")
        await desk.has("1", "x", "2", "3")
        desk.answer("3")
        await asyncio.gather(*tasks)
    caller, again, nameless = (Modern(server).caller() for _ in range(3))
    caller.client = again.client = {"name": "agent", "version": "1"}
    assert caller.party == again.party != nameless.party
    assert Legacy(server).caller().party != Legacy(server).caller().party


async def test_whoever_finds_the_queue_full_is_told_at_once_which_limit_it_is_and_when_to_come_again() -> None:
    async with guarded(concurrency=1, queue=1) as (server, _, desk):
        client = Legacy(server)
        tasks = begin(client, "a", "b")
        await desk.has("a")
        error = await refused(client.call("t", name="c"))
        assert error.code == -32603
        assert "'up' is busy: 1 calls are in flight, and 1 wait (limits.concurrency, limits.queue)" in error.message
        assert error.data == {
            "upstream": "up",
            "reason": "1 calls are in flight, and 1 wait",
            "retryable": True,
            "limit": "limits.concurrency, limits.queue",
            "retryAfter": 1,
        }
        desk.answer("a")
        await desk.has("a", "b")
        desk.answer("b")
        await asyncio.gather(*tasks)
        assert (await client.call("t"))["content"]


async def test_a_call_whose_turn_does_not_come_in_time_is_told_so_and_takes_no_slot() -> None:
    async with guarded(concurrency=1, queue_wait=0.05) as (server, provider, desk):
        client = Legacy(server)
        tasks = begin(client, "a")
        await desk.has("a")
        error = await refused(client.call("t", name="b"))
        assert "the turn of this one has not come within 0.05 s" in error.message
        assert error.data["limit"] == "limits.concurrency, limits.queue_wait"
        assert provider.status()["queued"] == 0
        desk.answer("a")
        await asyncio.gather(*tasks)
        assert desk.begun == ["a"]


async def test_a_queued_call_that_is_cancelled_gives_up_its_place_and_nothing_of_it_is_sent() -> None:
    async with guarded(concurrency=1, queue=1) as (server, provider, desk):
        client = Legacy(server)
        first, second = begin(client, "a", "b")
        await desk.has("a")
        second.cancel()
        await asyncio.wait({second})
        assert provider.status()["queued"] == 0
        (third,) = begin(client, "c")
        await turn()
        desk.answer("a")
        await desk.has("a", "c")
        desk.answer("c")
        await asyncio.gather(first, third)
        assert provider.status()["calls"] == 0


async def test_a_call_that_is_cancelled_when_it_has_its_slot_and_has_not_gone_yet_hands_it_on() -> None:
    guard = Guard("up", Rules(concurrency=1), lambda: None)
    client = Legacy(FastMCP())
    gone: list[str] = []
    ended: list[Any] = []
    calls = [RelayCall(Context(client, client.caller(), None, {}), name, {}) for name in "abc"]
    for call in calls:
        call.then(lambda call, outcome: ended.append((call.method, type(outcome))))
        guard.admit(call, lambda call: gone.append(call.method))
    assert gone == ["a"]
    calls[0].end({})
    calls[1].cancel()
    calls[1].cancel()
    assert ended == [("a", dict), ("b", asyncio.CancelledError)]
    await turn()
    assert gone == ["a", "c"]
    calls[2].end({})
    assert guard.status() == {"queued": 0}
    guard.admit(calls[1], lambda call: gone.append(call.method))
    assert gone == ["a", "c", "b"]


async def test_a_running_call_that_is_cancelled_frees_its_slot() -> None:
    async with guarded(concurrency=1) as (server, _, desk):
        client = Legacy(server)
        first, second = begin(client, "a", "b")
        await desk.has("a")
        first.cancel()
        await desk.has("a", "b")
        desk.answer("b")
        await second


async def test_an_upstream_that_is_removed_ends_who_waits_for_it() -> None:
    async with guarded(concurrency=1, queue_wait=0.05) as (server, provider, desk):
        tasks = begin(Legacy(server), "a", "b")
        await desk.has("a")
        await provider.retire(0.2)
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, RpcError) for error in errors), errors
        assert provider.status()["calls"] == 0


# What waits for its client


async def test_a_call_that_waits_for_its_own_user_keeps_its_slot_and_the_answer_needs_none() -> None:
    """A retry that brings the answer of a parked call takes that call up again: it is not one more, or nobody could ever answer."""
    desk = Desk()
    asked = asyncio.Event()

    async def asking(_params: dict[str, Any], call: Call | None) -> Any:
        assert call is not None
        desk.begun.append("asks")
        asked.set()
        answer = await call.on_request(*ELICIT)  # type: ignore[arg-type]  # a method and its parameters
        return {"content": [{"type": "text", "text": opened(answer["action"])}]}

    desk.wire.answers["tools/call"] = asking
    server = FastMCP()
    provider = ProxyProvider(
        ProxyClient(WireEndpoint(desk.wire, desk.spare)),
        name="up",
        session="shared",
        rules=Rules(concurrency=1, queue_wait=0.05),
    )
    server.add_provider(provider)
    async with server:
        await provider.settled()
        client, other = Modern(server), Modern(server)
        questions = await client.request("tools/call", {"name": "t", "arguments": {}})
        assert questions["resultType"] == "input_required"
        # Its request has ended, and the upstream's call runs on.
        error = await refused(other.request("tools/call", {"name": "t", "arguments": {}}))
        assert "limits.queue_wait" in error.message
        answers = await client.responses(questions)
        result = await client.request("tools/call", {"name": "t", "arguments": {}, **answers})
        assert result["content"][0]["text"] == "accept"
        # The slot is free again.
        assert (await other.call("t"))["content"][0]["text"] == "accept"


async def test_a_client_that_calls_again_before_it_answers_is_told_so_when_the_wait_is_over_and_can_answer_then() -> (
    None
):
    desk = Desk()

    async def asking(params: dict[str, Any], call: Call | None) -> Any:
        assert call is not None
        answer = await call.on_request(*ELICIT)  # type: ignore[arg-type]  # a method and its parameters
        return {"content": [{"type": "text", "text": opened(answer["content"])["answer"]}]}

    desk.wire.answers["tools/call"] = asking
    server = FastMCP()
    provider = ProxyProvider(
        ProxyClient(WireEndpoint(desk.wire, desk.spare)),
        name="up",
        session="shared",
        rules=Rules(concurrency=1, queue_wait=0.05),
    )
    server.add_provider(provider)

    async def calls_again(_params: Any) -> dict[str, Any]:
        error = await refused(client.call("t"))
        return {"action": "accept", "content": {"answer": error.data["limit"]}}

    client = Legacy(server, answers={"elicitation/create": calls_again})
    async with server:
        await provider.settled()
        result = await client.call("t")
        assert result["content"][0]["text"] == "limits.concurrency, limits.queue_wait"


# Rate


async def test_more_calls_than_the_rate_are_told_when_the_next_may_begin() -> None:
    async with guarded(rate=Rate(2, 3600.0)) as (server, _, desk):
        client = Legacy(server)
        for _ in range(2):
            assert (await client.call("t"))["content"]
        error = await refused(client.call("t"))
        assert "is busy: it takes 2/h calls and has had them (limits.rate)" in error.message
        assert 1790 <= error.data["retryAfter"] <= 1800
        assert len(desk.begun) == 2
        # What is no call of the upstream's is free.
        assert await client.names() == ["t", "look", "put"]


# The breaker


async def test_after_so_many_failures_calls_fail_at_once_until_one_has_tried(journal: Journal) -> None:
    async with guarded(failures=2, pause=0.3) as (server, provider, desk):
        client = Legacy(server)
        desk.failing = [AnswerLost("up", "the pipe broke"), AnswerLost("up", "the pipe broke")]
        for _ in range(2):
            assert "the pipe broke" in (await refused(client.call("t"))).message
        assert provider.status()["breaker"] == "open"
        error = await refused(client.call("t"))
        assert (
            "its calls failed, and it is left in peace for a while; the last one: the pipe broke (breaker)"
            in error.message
        )
        assert error.data["retryAfter"] == 1
        assert len(desk.begun) == 2
        probe = await probing(client, desk)
        others = begin(client, "b", "c")
        assert desk.begun == ["", "", "probe"]
        assert provider.status()["breaker"] == "half open"
        for other in others:
            await refused(other)
        desk.answer("probe")
        await probe
        assert provider.status()["breaker"] == "closed"
        assert (await client.call("t"))["content"]
        events = journal.of("upstream.left_in_peace", "upstream.called_again")
        assert [event["event"] for event in events] == ["upstream.left_in_peace", "upstream.called_again"]


@pytest.mark.parametrize(
    "outcome",
    [
        RpcError(-32603, "a tool's own"),
        RpcError(-32602, "the client's mistake"),
        {"content": [], "isError": True},
    ],
)
async def test_what_a_tool_or_a_client_does_wrong_is_no_failure_of_the_upstream(outcome: Any) -> None:
    async with guarded(failures=1) as (server, provider, desk):
        desk.wire.answers["tools/call"] = outcome
        client = Legacy(server)
        for _ in range(3):
            with contextlib.suppress(RpcError):
                await client.call("t")
        assert provider.status()["breaker"] == "closed"


async def test_a_probe_that_its_client_gives_up_leaves_the_trial_to_the_next() -> None:
    async with guarded(failures=1, pause=0.01) as (server, provider, desk):
        client = Legacy(server)
        desk.failing = [AnswerLost("up", "the pipe broke")]
        await refused(client.call("t"))
        probe = await probing(client, desk)
        assert desk.begun == ["", "probe"]
        probe.cancel()
        await asyncio.wait({probe})
        assert provider.status()["breaker"] == "open"
        assert (await client.call("t"))["content"]
        assert provider.status()["breaker"] == "closed"


async def test_who_waits_when_it_opens_is_told_so_when_the_turn_comes() -> None:
    async with guarded(failures=1, concurrency=1) as (server, provider, desk):
        client = Legacy(server)
        first, second = begin(client, "a", "b")
        await desk.has("a")
        desk.answers.pop("a").set_exception(AnswerLost("up", "the pipe broke"))
        await refused(first)
        assert "left in peace" in (await refused(second)).message
        assert desk.begun == ["a"]
        assert provider.status()["queued"] == 0


# Repeating


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats come without a pause, and so does the next connection."""
    monkeypatch.setattr(backoff, "BACKOFF", (0.01, 0.01))
    monkeypatch.setattr("meshproxy.guard.guard.pause", lambda _number, _chance: 0.0)


READS = [
    ("resources/read", {"uri": "file:///a"}),
    ("prompts/get", {"name": "p"}),
]


@pytest.mark.parametrize("error", [AnswerLost, UpstreamUnavailable])
@pytest.mark.parametrize(("method", "params"), READS)
async def test_a_read_whose_answer_is_lost_is_repeated_and_nobody_notices(
    method: str, params: dict[str, Any], error: type[Exception], at_once: None
) -> None:
    async with guarded() as (server, _, desk):
        desk.failing = [error("up", "the pipe broke")]  # type: ignore[call-arg]  # two of ours
        assert await Legacy(server).request(method, params)
        assert len(desk.begun) == 2


async def test_a_read_is_repeated_as_often_as_the_key_says_and_then_the_error_is_told(at_once: None) -> None:
    for times in (0, 1, 3):
        async with guarded(reads=times) as (server, _, desk):
            desk.failing = [AnswerLost("up", f"the pipe broke {number}") for number in range(5)]
            error = await refused(Legacy(server).request(*READS[0]))
            assert f"the pipe broke {times}" in error.message
            assert len(desk.begun) == 1 + times


@pytest.mark.parametrize(
    ("tool", "times", "calls"), [("t", 2, 1), ("look", 2, 3), ("put", 2, 3), ("look", 0, 1), ("put", 0, 1)]
)
async def test_a_tool_is_repeated_only_if_it_and_the_config_say_so(
    tool: str, times: int, calls: int, at_once: None
) -> None:
    async with guarded(idempotent_tools=times) as (server, _, desk):
        desk.failing = [AnswerLost("up", "the pipe broke")] * 2
        with contextlib.suppress(RpcError):
            await Legacy(server).call(tool)
        assert len(desk.begun) == calls


async def test_a_call_that_is_cancelled_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshproxy.guard.guard.pause", lambda _number, _chance: 30.0)
    async with guarded() as (server, provider, desk):
        client = Legacy(server)
        desk.failing = [AnswerLost("up", "the pipe broke")]
        reading = asyncio.create_task(client.request(*READS[0]))
        await desk.has("file:///a")
        await turn()
        assert not reading.done()
        reading.cancel()
        await asyncio.wait({reading})
        await eventually(lambda: provider.status()["calls"] == 0)
        assert len(desk.begun) == 1


async def test_what_its_client_has_been_asked_or_told_of_is_not_repeated(at_once: None) -> None:
    async with guarded() as (server, _, desk):
        begun = 0

        async def tells(_params: dict[str, Any], call: Call | None) -> Any:
            nonlocal begun
            begun += 1
            assert call is not None
            call.on_notification("notifications/progress", {"progressToken": 1, "progress": 1})
            raise AnswerLost("up", "the pipe broke")

        desk.wire.answers["resources/read"] = tells
        await refused(Legacy(server).request(*READS[0], token="t"))
        assert begun == 1


async def test_a_repeat_needs_a_token_too_and_keeps_the_slot_and_the_breaker_hears_of_it_once(at_once: None) -> None:
    async with guarded(concurrency=1, rate=Rate(1, 3600.0), failures=1) as (server, provider, desk):
        desk.failing = [AnswerLost("up", "the pipe broke")]
        assert "the pipe broke" in (await refused(Legacy(server).request(*READS[0]))).message
        assert len(desk.begun) == 1
        assert provider.status()["breaker"] == "open"


# Edits


async def test_an_edit_holds_at_once_and_hurts_neither_who_runs_nor_who_waits() -> None:
    async with guarded(concurrency=1) as (server, provider, desk):
        client = Legacy(server)
        tasks = begin(client, "a", "b", "c", "d", "e")
        await desk.has("a")
        provider.limit(Rules(concurrency=3))
        await desk.has("a", "b", "c")
        provider.limit(Rules(concurrency=1, queue=0))
        desk.answer("a")
        desk.answer("b")
        await turn()
        assert desk.begun == ["a", "b", "c"]
        await refused(client.call("t", name="f"))
        desk.answer("c")
        await desk.has("a", "b", "c", "d")
        provider.limit(Rules())
        await desk.has("a", "b", "c", "d", "e")
        for name in "de":
            desk.answer(name)
        await asyncio.gather(*tasks)
        assert "queued" not in provider.status()


async def test_calls_from_before_there_was_a_bound_count_until_they_end() -> None:
    async with guarded() as (server, provider, desk):
        client = Legacy(server)
        tasks = begin(client, "a", "b", "c")
        await desk.has("a", "b", "c")
        provider.limit(Rules(concurrency=2))
        tasks += begin(client, "d")
        await turn()
        desk.answer("a")
        await turn()
        assert desk.begun == ["a", "b", "c"]
        desk.answer("b")
        await desk.has("a", "b", "c", "d")
        for name in "cd":
            desk.answer(name)
        await asyncio.gather(*tasks)
        for _ in range(3):
            assert (await client.call("t"))["content"]


async def test_a_breaker_that_is_turned_off_lets_everybody_through() -> None:
    async with guarded(failures=1, pause=1000.0) as (server, provider, desk):
        client = Legacy(server)
        desk.failing = [AnswerLost("up", "the pipe broke")]
        await refused(client.call("t"))
        await refused(client.call("t"))
        provider.limit(Rules(failures=5, pause=1000.0))
        await refused(client.call("t"))
        provider.limit(Rules())
        assert (await client.call("t"))["content"]
        assert "breaker" not in provider.status()
