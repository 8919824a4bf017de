"""A modern upstream answers with questions: the legacy client is asked, and the call is made again with its answers."""

import asyncio
from typing import Any

import pytest
from meshproxy.catalog.catalog import Mount
from meshproxy.eras import driver
from meshproxy.eras.driver import drive
from meshproxy.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError
from meshproxy.relay.call import Call
from meshproxy.wire.codec import Raw, dumps, shallow
from tests.kit.clients import ELICIT, ROOTS, SAMPLE, SAMPLED, Context, Legacy, decoded
from tests.kit.handlers import Quiet
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio


def question(method: str, params: Any) -> Any:
    return {"method": method, "params": params}


def asks(state: Any = None, **questions: Any) -> Any:
    result: dict[str, Any] = {"resultType": "input_required"}
    if questions:
        result["inputRequests"] = {key: question(*asked) for key, asked in questions.items()}
    return result if state is None else {**result, "requestState": state}


class Upstream:
    """Answers each attempt with the next of its results, and keeps the attempts."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.attempts: list[Any] = []

    async def __call__(self, params: dict[str, Any]) -> dict[str, Any]:
        self.attempts.append(decoded(params))
        result = self.results.pop(0)
        # As it comes from the wire.
        return shallow(dumps(result))


async def from_first(call: Call, params: dict[str, Any], attempt: Any) -> Any:
    """Drive a call from its first attempt on."""
    return await drive(call, params, attempt, await attempt(params))


def calling(client: Legacy, namespace: str = "") -> Call:
    context = Context(client, client.caller(), None, {})
    call = Call(context, "tools/call", {})
    call.mount = Mount("up", namespace)
    return call


async def driven(client: Legacy, upstream: Upstream, params: dict[str, Any] | None = None) -> Any:
    async with asyncio.timeout(DEADLINE):
        return decoded(await from_first(calling(client), params or {"name": "t"}, upstream))


async def test_a_complete_result_is_returned_at_once() -> None:
    for complete in ({"content": []}, {"resultType": "complete"}, {"resultType": "task"}):
        upstream = Upstream(complete)
        assert await driven(Legacy(Quiet()), upstream) == complete
        assert upstream.attempts == [{"name": "t"}]


async def test_all_three_kinds_of_question_are_asked_at_once_and_answered_in_one_retry() -> None:
    client, all_asked = Legacy(Quiet()), asyncio.Event()

    async def when_all_are_asked(_params: Any) -> Any:
        if len(client.asked.all) == 3:
            all_asked.set()
        await all_asked.wait()
        return {"action": "accept"}

    client.answers["elicitation/create"] = client.answers["roots/list"] = when_all_are_asked
    client.answers["sampling/createMessage"] = when_all_are_asked
    upstream = Upstream(asks(e=ELICIT, s=SAMPLE, r=ROOTS), {"done": 1})
    assert await driven(client, upstream) == {"done": 1}
    assert sorted(client.asked.methods()) == ["elicitation/create", "roots/list", "sampling/createMessage"]
    assert upstream.attempts[1] == {"name": "t", "inputResponses": {key: {"action": "accept"} for key in "esr"}}


async def test_each_round_sends_its_own_answers_and_the_last_state() -> None:
    client = Legacy(Quiet())
    upstream = Upstream(asks("one", a=ELICIT), asks({"two": [1.0]}, b=SAMPLE), asks(c=ROOTS), {"done": 1})
    params = {"name": "t", "arguments": Raw(b'{"x": 1.0}')}
    assert await driven(client, upstream, params) == {"done": 1}
    first, second, third, fourth = upstream.attempts
    assert first == {"name": "t", "arguments": {"x": 1.0}}
    assert second == first | {
        "inputResponses": {"a": {"action": "accept", "content": {"answer": "What is it?"}}},
        "requestState": "one",
    }
    assert third == first | {"inputResponses": {"b": SAMPLED}, "requestState": {"two": [1.0]}}
    assert fourth == first | {"inputResponses": {"c": {"roots": [{"uri": "file:///here"}]}}}


async def test_a_state_without_a_question_is_a_wish_to_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_PAUSES", (0.0,))
    upstream = Upstream(asks("one"), asks("two"), {"done": 1})
    assert await driven(Legacy(Quiet()), upstream) == {"done": 1}
    assert upstream.attempts[1:] == [{"name": "t", "requestState": state} for state in ("one", "two")]


@pytest.mark.parametrize("refuse", ["no capability", "error"])
async def test_a_client_that_refuses_a_form_has_cancelled_it(refuse: str) -> None:
    client = Legacy(Quiet(), capabilities={"elicitation": {}} if refuse == "error" else {})
    del client.answers["elicitation/create"]
    upstream = Upstream(asks(e=ELICIT), {"done": 1})
    await driven(client, upstream)
    assert upstream.attempts[1]["inputResponses"] == {"e": {"action": "cancel"}}


async def test_a_client_that_refuses_another_question_ends_the_call_and_is_asked_nothing_more() -> None:
    client, withdrawn = Legacy(Quiet()), asyncio.Event()

    async def never(_params: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()

    client.answers["elicitation/create"] = never
    del client.answers["sampling/createMessage"]
    upstream = Upstream(asks(e=ELICIT, s=SAMPLE))
    with pytest.raises(RpcError) as refused:
        await driven(client, upstream)
    assert refused.value.code == METHOD_NOT_FOUND
    async with asyncio.timeout(DEADLINE):
        await withdrawn.wait()
    assert len(upstream.attempts) == 1


@pytest.mark.parametrize(
    "asked", [question("tools/call", {}), question("", {}), {}, 3, {"method": {}}, {"method": None}]
)
async def test_a_question_that_the_protocol_does_not_have_ends_the_call(asked: Any) -> None:
    client = Legacy(Quiet())
    upstream = Upstream({"resultType": "input_required", "inputRequests": {"x": asked}})
    with pytest.raises(RpcError, match="unknown input") as refused:
        await driven(client, upstream)
    assert refused.value.code == INTERNAL_ERROR
    assert client.asked.all == []


async def test_an_upstream_that_only_asks_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MAX_ROUNDS", 3)
    upstream = Upstream(*[asks(e=ELICIT)] * 3, {"done": 1})
    assert await driven(Legacy(Quiet()), upstream) == {"done": 1}
    upstream = Upstream(*[asks(e=ELICIT)] * 4)
    with pytest.raises(RpcError, match="3 times without a result"):
        await driven(Legacy(Quiet()), upstream)
    assert len(upstream.attempts) == 4


async def test_an_error_of_the_upstream_ends_the_call() -> None:
    async def fails(_params: Any) -> Any:
        raise RpcError(-7, "no")

    with pytest.raises(RpcError, match="no"):
        await from_first(calling(Legacy(Quiet())), {"name": "t"}, fails)


async def test_a_url_gets_the_id_that_the_legacy_era_requires() -> None:
    client = Legacy(Quiet())
    url = ["elicitation/create", {"mode": "url", "url": "https://x/", "message": "m"}]
    with_id = [url[0], {**url[1], "elicitationId": "mine"}]  # type: ignore[dict-item]
    await driven(client, Upstream(asks(a=url), asks(b=with_id), {}))
    first, second = client.asked.of("elicitation/create")
    assert first.pop("elicitationId")
    assert first == url[1]
    assert second["elicitationId"] == "mine"


async def test_links_in_questions_and_answers_are_in_the_names_of_whoever_reads_them() -> None:
    client = Legacy(Quiet())
    link = {"type": "resource_link", "uri": "x://y", "name": "y"}
    back = {"role": "assistant", "model": "m", "content": {**link, "uri": "x://up/y"}}
    client.answers["sampling/createMessage"] = lambda _params: back
    sampling = ["sampling/createMessage", {"messages": [{"role": "user", "content": link}], "maxTokens": 1}]
    upstream = Upstream(asks(s=sampling), {})
    await from_first(calling(client, "up"), {"name": "t"}, upstream)
    (asked,) = client.asked.of("sampling/createMessage")
    assert asked["messages"][0]["content"]["uri"] == "x://up/y"
    assert upstream.attempts[1]["inputResponses"]["s"]["content"]["uri"] == "x://y"


async def test_a_call_that_is_cancelled_asks_no_more() -> None:
    client, withdrawn = Legacy(Quiet()), asyncio.Event()

    async def never(_params: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            withdrawn.set()

    client.answers["elicitation/create"] = never
    running = asyncio.create_task(driven(client, Upstream(asks(e=ELICIT))))
    await client.asked.until("elicitation/create")
    running.cancel()
    async with asyncio.timeout(DEADLINE):
        await withdrawn.wait()
    with pytest.raises(asyncio.CancelledError):
        await running
