"""One request crosses one link, whatever the eras on either side; here the link's answers are made up, one by one."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meshproxy.catalog.catalog import Mount
from meshproxy.eras.bridge import Bridge
from meshproxy.eras.translate import ServerSignature
from meshproxy.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_CLIENT_CAPABILITY,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_VERSION,
    URL_ELICITATION_REQUIRED,
    RpcError,
)
from meshproxy.relay.call import Call, Lease
from meshproxy.relay.handler import finish
from meshproxy.wire.codec import Raw
from meshproxy.wire.mending import mend
from meshproxy.wire.messages import Answer, encode_error, encode_result, parse_answer
from meshproxy.wire.protocol import EXTENSION_TASKS, META_SERVER, Era
from tests.kit.clients import ABLE, ELICIT, SAMPLED, Client, Context, Legacy, Modern, decoded, parsed, visitor
from tests.kit.handlers import Quiet
from tests.kit.waiting import DEADLINE
from tests.kit.wires import Wire

pytestmark = pytest.mark.anyio

NONE: dict[str, Any] = {"nothing": "was resumed"}
MESH = {"name": "mesh", "version": "1"}
STAMPED = {"resultType": "complete", "_meta": {META_SERVER: MESH}}
LINK = {"type": "resource_link", "uri": "x://y", "name": "y"}
HERE = {**LINK, "uri": "x://ns/y"}


class Crossing:
    """A client on one side, a wire on the other."""

    def __init__(
        self, client: type[Client], era: Era, *, method: str = "tools/call", answer: Any = None, **settings: Any
    ) -> None:
        self.client = client(Quiet(), **settings)
        self.wire = Wire(era)
        self.wire.answers[method] = {"content": []} if answer is None else answer
        self.bridge = Bridge(ServerSignature(MESH))
        self.method = method
        self.released = 0

    def call(self, params: dict[str, Any]) -> Call:
        call = Call(Context(self.client, self.client.caller(), 7, {}), self.method, params)
        call.mount = Mount("up", "ns")
        call.lease = Lease(self.wire, given=self._release)
        return call

    async def carry(self, **params: Any) -> Any:
        given = parsed({"name": "t", "arguments": {"a": 1}} | params)
        before = dict(given)
        try:
            async with asyncio.timeout(DEADLINE):
                return decoded(await finish(self.call(given), lambda call: self.bridge.carry(call, self.wire)))
        finally:
            assert given == before

    async def resume(self, asked: Any, answers: Any, **params: Any) -> Any:
        """None if the state is none of a parked call."""
        params = {"name": "t", "arguments": {"a": 1}, "requestState": asked["requestState"]} | params

        def resume(call: Call) -> None:
            if not self.bridge.resumes(call):
                call.end(NONE)

        async with asyncio.timeout(DEADLINE):
            result = await finish(self.call(parsed({**params, "inputResponses": answers})), resume)
        return None if result is NONE else result

    def _release(self) -> None:
        self.released += 1

    async def refusal(self, **params: Any) -> RpcError:
        with pytest.raises(RpcError) as refused:
            await self.carry(**params)
        return refused.value


async def test_between_legacy_sides_a_result_stays_as_it_is_but_for_its_links() -> None:
    plain = Raw(b'{"content": [1.0], "x" : null}')
    crossing = Crossing(Legacy, Era.LEGACY, answer=plain)
    result = await finish(crossing.call({"name": "t"}), lambda call: crossing.bridge.carry(call, crossing.wire))
    assert bytes(result) == bytes(plain)
    crossing.wire.answers["tools/call"] = {"content": [LINK], "_meta": {META_SERVER: {}}}
    assert (await crossing.carry())["content"] == [HERE]


async def test_a_legacy_result_is_stamped_for_a_modern_client() -> None:
    crossing = Crossing(Modern, Era.LEGACY, answer={"content": [LINK], "_meta": {"k": 1, META_SERVER: {"name": "up"}}})
    assert await crossing.carry() == {"content": [HERE], "resultType": "complete", "_meta": {"k": 1, META_SERVER: MESH}}
    read = Crossing(Modern, Era.LEGACY, method="resources/read", answer={"contents": [{"uri": "x://y"}]})
    assert await read.carry() == STAMPED | {"contents": [{"uri": "x://ns/y"}], "ttlMs": 0, "cacheScope": "private"}


async def test_a_modern_result_is_stamped_anew_for_a_modern_client_and_keeps_its_hints() -> None:
    answer = {
        "contents": [],
        "resultType": "complete",
        "ttlMs": 5,
        "cacheScope": "public",
        "_meta": {META_SERVER: {"name": "up"}},
    }
    crossing = Crossing(Modern, Era.MODERN, method="resources/read", answer=answer)
    assert await crossing.carry() == answer | {"_meta": {META_SERVER: MESH}}


async def test_a_modern_result_loses_its_era_for_a_legacy_client() -> None:
    answer = {
        "content": [LINK],
        "structuredContent": [1],
        "resultType": "complete",
        "ttlMs": 5,
        "_meta": {META_SERVER: {}},
    }
    crossing = Crossing(Legacy, Era.MODERN, answer=answer)
    assert await crossing.carry() == {"content": [HERE]}


@pytest.mark.parametrize("client", [Legacy, Modern])
async def test_a_result_of_a_type_that_the_client_does_not_know_is_an_error(client: type[Client]) -> None:
    crossing = Crossing(client, Era.MODERN, answer={"resultType": "new"})
    assert (await crossing.refusal()).code == INTERNAL_ERROR
    crossing = Crossing(client, Era.MODERN, answer={"resultType": "task", "taskId": "1"})
    assert (await crossing.refusal()).code == INTERNAL_ERROR


async def test_a_task_reaches_a_client_that_declared_it() -> None:
    task = {"resultType": "task", "taskId": "1", "status": "working"}
    crossing = Crossing(Modern, Era.MODERN, answer=task, capabilities={"extensions": {EXTENSION_TASKS: {}}})
    assert await crossing.carry() == task | {"_meta": {META_SERVER: MESH}}


@pytest.mark.parametrize("client", [Legacy, Modern])
@pytest.mark.parametrize("era", [*Era])
@pytest.mark.parametrize("answer", [Raw(b"[]"), Raw(b"3"), Raw(b"null"), Raw(b'"x"')])
async def test_a_result_that_is_no_object_is_the_upstreams_fault(client: type[Client], era: Era, answer: Raw) -> None:
    assert (await Crossing(client, era, answer=answer).refusal()).code == INTERNAL_ERROR


# What a modern upstream asks


def asking(state: Any = "its own", **more: Any) -> dict[str, Any]:
    question = {"method": ELICIT[0], "params": ELICIT[1]}
    return {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": state, **more}


async def test_between_modern_sides_a_question_passes_and_its_state_is_sealed_to_the_caller() -> None:
    for state in ("its own", {"any": [1.0]}, None, 3, ""):
        crossing = Crossing(Modern, Era.MODERN, answer=asking(state))
        asked = await crossing.carry()
        assert asked["inputRequests"] == asking()["inputRequests"]
        assert isinstance(asked["requestState"], str)
        assert "ttlMs" not in asked
        retry = {"requestState": asked["requestState"], "inputResponses": {"q": {"action": "accept"}}}
        crossing.wire.answers["tools/call"] = {"content": [], "resultType": "complete"}
        await crossing.carry(**retry)
        sent = crossing.wire.of("tools/call")[1]
        assert sent["requestState"] == state
        assert sent["inputResponses"] == {"q": {"action": "accept"}}

        # For another call, or another client, it is worth nothing.
        for changed in ({"arguments": {"a": 2}}, {"name": "u"}, {"requestState": "made up"}):
            assert (await crossing.refusal(**retry | changed)).code == INVALID_PARAMS
        crossing.client.visitor = visitor("somebody else")
        assert (await crossing.refusal(**retry)).code == INVALID_PARAMS
        assert len(crossing.wire.sent) == 2


async def test_a_question_without_a_state_has_none_here_either() -> None:
    answer = asking()
    del answer["requestState"]
    asked = await Crossing(Modern, Era.MODERN, answer=answer).carry()
    assert "requestState" not in asked


async def test_links_in_what_is_asked_and_answered_are_in_the_names_of_whoever_reads_them() -> None:
    sampling = {"method": "sampling/createMessage", "params": {"messages": [{"role": "user", "content": LINK}]}}
    crossing = Crossing(Modern, Era.MODERN, answer=asking() | {"inputRequests": {"s": sampling}})
    asked = await crossing.carry()
    assert asked["inputRequests"]["s"]["params"]["messages"][0]["content"] == HERE
    crossing.wire.answers["tools/call"] = {"content": []}
    await crossing.carry(requestState=asked["requestState"], inputResponses={"s": SAMPLED | {"content": HERE}})
    assert crossing.wire.of("tools/call")[1]["inputResponses"]["s"]["content"] == LINK


async def test_a_legacy_client_is_asked_and_the_call_made_again() -> None:
    answers = iter([asking(), {"content": [LINK], "resultType": "complete"}])
    crossing = Crossing(Legacy, Era.MODERN, answer=lambda *_: next(answers))
    assert await crossing.carry() == {"content": [HERE]}
    first, second = crossing.wire.of("tools/call")
    assert second == first | {
        "inputResponses": {"q": {"action": "accept", "content": {"answer": "What is it?"}}},
        "requestState": "its own",
    }


# What a legacy upstream asks


async def question_then(call: Any, result: Any) -> Any:
    """An upstream that asks in the middle of its call."""
    method, params = ELICIT
    answered = await call.on_request(method, params)
    return result if result is not None else {"content": [answered]}


async def test_a_modern_client_comes_back_with_the_answer_of_a_parked_call() -> None:
    crossing = Crossing(Modern, Era.LEGACY, answer=lambda _params, call: question_then(call, None))
    asked = await crossing.carry()
    assert asked["resultType"] == "input_required"
    # The link is lent for as long as the call runs.
    assert crossing.released == 0
    (key,) = asked["inputRequests"]
    done = decoded(await crossing.resume(asked, {key: {"action": "accept"}}))
    assert done == STAMPED | {"content": [{"action": "accept"}]}
    assert crossing.released == 1
    assert len(crossing.wire.sent) == 1


async def test_a_state_that_is_not_parked_here_is_for_somebody_else_to_refuse() -> None:
    crossing = Crossing(Modern, Era.LEGACY)
    assert await crossing.resume({"requestState": "x"}, {}) is None
    error = await crossing.refusal(requestState="x")
    assert error.code == INVALID_PARAMS
    assert crossing.wire.sent == []


async def test_a_retry_without_a_state_is_a_new_call_that_knows_nothing_of_answers() -> None:
    crossing = Crossing(Modern, Era.LEGACY)
    await crossing.carry(inputResponses={"x": {}})
    assert crossing.wire.of("tools/call") == [{"name": "t", "arguments": {"a": 1}}]


async def test_a_client_that_cannot_be_asked_is_not_parked() -> None:
    crossing = Crossing(Modern, Era.LEGACY, capabilities={}, answer=lambda _params, call: question_then(call, None))
    assert (await crossing.refusal()).code == -32601
    assert len(crossing.bridge.parking) == 0
    # Whoever begins a request is told its end, and gives back the lease by itself.
    assert crossing.released == 0


async def test_a_call_that_is_parked_ends_with_the_lot() -> None:
    crossing = Crossing(Modern, Era.LEGACY, answer=lambda _params, call: question_then(call, None))
    await crossing.carry()
    await crossing.bridge.parking.aclose()
    assert crossing.released == 1


# Errors


NOT_FOUND = RpcError(RESOURCE_NOT_FOUND, "no such resource", {"uri": "x://y", "k": 1})


@pytest.mark.parametrize("era", [*Era])
@pytest.mark.parametrize(
    ("client", "error", "code", "data"),
    [
        (Legacy, NOT_FOUND, RESOURCE_NOT_FOUND, {"uri": "x://ns/y", "k": 1}),
        (Modern, NOT_FOUND, INVALID_PARAMS, {"uri": "x://ns/y", "k": 1}),
        (Legacy, RpcError(-5, "m", {"k": 1}), -5, {"k": 1}),
        (Modern, RpcError(-5, "m", [1]), -5, [1]),
        (Modern, RpcError(MISSING_CLIENT_CAPABILITY, "m", {"r": 1}), MISSING_CLIENT_CAPABILITY, {"r": 1}),
        (Modern, RpcError(HEADER_MISMATCH, "m"), INTERNAL_ERROR, None),
        (Legacy, RpcError(UNSUPPORTED_VERSION, "m"), INTERNAL_ERROR, None),
    ],
)
async def test_an_error_is_told_as_its_callers_era_spells_it(
    era: Era, client: type[Client], error: RpcError, code: int, data: Any
) -> None:
    for capabilities in (ABLE, {}):
        told = await Crossing(client, era, answer=error, capabilities=capabilities).refusal()
        assert (told.code, decoded(told.data)) == (code, data)
        assert error.message in told.message


async def test_an_error_that_ends_a_parked_call_is_told_the_same_way() -> None:
    async def fails(_params: Any, call: Any) -> Any:
        await call.on_request(*ELICIT)
        return NOT_FOUND

    crossing = Crossing(Modern, Era.LEGACY, answer=fails)
    asked = await crossing.carry()
    with pytest.raises(RpcError) as told:
        await crossing.resume(asked, {key: {} for key in asked["inputRequests"]})
    assert (told.value.code, decoded(told.value.data)) == (INVALID_PARAMS, {"uri": "x://ns/y", "k": 1})


PAGE = {"mode": "url", "message": "Go there", "url": "https://x/", "elicitationId": "e"}
GO = RpcError(URL_ELICITATION_REQUIRED, "Go there first", {"elicitations": [PAGE, "odd"]})


async def test_a_page_that_must_be_visited_first_is_a_question_to_a_modern_client() -> None:
    crossing = Crossing(Modern, Era.LEGACY, answer=GO)
    asked = await crossing.carry()
    assert "requestState" not in asked
    (question,) = asked["inputRequests"].values()
    assert question == {
        "method": "elicitation/create",
        "params": {"mode": "url", "message": "Go there", "url": "https://x/"},
    }
    # The retry is a call of its own.
    crossing.wire.answers["tools/call"] = {"content": []}
    assert await crossing.carry(
        inputResponses={key: {"action": "accept"} for key in asked["inputRequests"]}
    ) == STAMPED | {"content": []}


async def test_a_page_after_a_question_is_another_question() -> None:
    async def asks_then_sends(_params: Any, call: Any) -> Any:
        await call.on_request(*ELICIT)
        return GO

    crossing = Crossing(Modern, Era.LEGACY, answer=asks_then_sends)
    asked = await crossing.carry()
    again = decoded(await crossing.resume(asked, {key: {} for key in asked["inputRequests"]}))
    assert [one["params"]["url"] for one in again["inputRequests"].values()] == ["https://x/"]


@pytest.mark.parametrize("elicitations", [[], None, "odd", ["odd"], {}])
async def test_pages_that_are_none_are_an_error(elicitations: Any) -> None:
    error = RpcError(URL_ELICITATION_REQUIRED, "Go there first", {"elicitations": elicitations})
    assert (await Crossing(Modern, Era.LEGACY, answer=error).refusal()).code == INTERNAL_ERROR


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {}}, {"elicitation": {"form": {}}}, {"roots": {}}])
async def test_a_client_that_cannot_be_shown_a_page_gets_an_error_that_its_era_has(capabilities: Any) -> None:
    error = await Crossing(Modern, Era.LEGACY, answer=GO, capabilities=capabilities).refusal()
    assert (error.code, error.message) == (INTERNAL_ERROR, "Go there first")


async def test_a_legacy_client_is_sent_to_the_page_itself() -> None:
    error = await Crossing(Legacy, Era.LEGACY, answer=GO).refusal()
    assert error.code == URL_ELICITATION_REQUIRED
    assert decoded(error.data) == {"elicitations": [PAGE, "odd"]}


@pytest.mark.parametrize("client", [Legacy, Modern])
async def test_an_answer_that_cannot_be_understood_ends_its_call(client: type[Client]) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    crossing = Crossing(client, Era.MODERN, answer=Raw(b'{"content":[],"resultType":%b}' % deep))
    with pytest.raises((RpcError, ValueError)):
        await crossing.carry()


PIECES = st.lists(
    st.sampled_from(
        [
            b'{"content":[]}',
            b'{"content":[{"type":"text","text":"a"}]}',
            b'{"content":[{"type":"resource_link","uri":"x://y","name":"y"}]}',
            b'"id":77',
            b'"\\u0069d":77',
            b'"result":{"content":[]}',
            b'"result":{"content":[],"vendor":"\\ud800"}',
            b'"error":null',
            b'"error":{"code":1,"message":""}',
            b'"vendor":1E400',
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b" ",
            b"\r\n\r\n",
            b"\n",
            b'"',
            b"\\",
            b"\xff",
            b"\xc0\xa2",
            b"\0",
            b"\xef\xbb\xbf",
        ]
    ),
    max_size=6,
).map(b"".join)


def members_of(answer: bytes) -> list[tuple[str, Any]]:
    """The members of an answer's envelope, repeated ones too, as a client's decoder comes by them."""
    pairs: list[tuple[str, Any]] = json.loads(answer, object_pairs_hook=lambda pairs: pairs)
    return pairs


@pytest.mark.parametrize("method", ["tools/call", "resources/read", "completion/complete"])
@pytest.mark.parametrize("client", [Legacy, Modern])
@pytest.mark.parametrize("era", list(Era))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(rest=PIECES)
def test_no_byte_of_an_answer_leaves_the_place_of_its_result(
    rest: bytes, era: Era, client: type[Client], method: str
) -> None:
    data = b'{"jsonrpc":"2.0","id":5,"result":{"content":[]}' + rest + b"}"
    try:
        answer = parse_answer(data, lambda _: True)
    except RpcError as error:
        try:
            (answer, *_) = mend(data, error).messages
        except RpcError:
            return
    asking = client(Quiet())
    context = Context(asking, asking.caller(), None, {})
    call = Call(context, method, {})
    call.mount, call.era = Mount("up", "ns"), era
    bridge = Bridge(ServerSignature(MESH))
    try:
        sent = (
            encode_result(5, bridge.publish(call, answer.outcome))
            if isinstance(answer, Answer) and isinstance(answer.outcome, Raw)
            else b""
        )
    except RpcError as error:
        sent = encode_error(5, error)
    assert not sent or members_of(sent)[:2] == [("jsonrpc", "2.0"), ("id", 5)]
    assert not sent or len(members_of(sent)) == 3
