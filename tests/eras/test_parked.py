"""A legacy upstream asks in the middle of a call; the modern caller answers with its next request, once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from meshproxy.eras import parked
from meshproxy.eras.parked import ParkingLot
from meshproxy.eras.seal import Sealer
from meshproxy.errors import INVALID_PARAMS, AnswerLost, RpcError
from meshproxy.relay.downstream import RequestContext
from meshproxy.wire.codec import Raw, dumps
from tests.kit.clients import Context, Modern, decoded, visitor
from tests.kit.handlers import Nobody
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

BINDING = b"the call"
FORM = {"method": "elicitation/create", "params": {"message": "Name?"}}
ACCEPTED = {"action": "accept", "content": {"name": "Ada"}}


class Caller:
    """A modern client of a lot: it calls and comes back, with a request for each."""

    def __init__(self, lot: ParkingLot, token: int | None = None, **settings: Any) -> None:
        self.lot = lot
        self.client = Modern(Nobody(), **settings)
        self.token = token

    def context(self) -> Context:
        return Context(self.client, self.client.caller(), self.token, {})

    async def run(self, start: Callable[[RequestContext], Awaitable[Any]], binding: bytes = BINDING) -> Any:
        async with asyncio.timeout(DEADLINE):
            return decoded(await self.lot.run(self.context(), binding, start))

    async def resume(self, asked: Any, answers: Any = ACCEPTED, binding: bytes = BINDING) -> Any:
        """Come back with one answer for everything that was asked, or with what `answers` says by key."""
        if answers is ACCEPTED:
            answers = dict.fromkeys(asked["inputRequests"], ACCEPTED)
        async with asyncio.timeout(DEADLINE):
            return decoded(await self.lot.resume(self.context(), binding, asked["requestState"], answers))

    async def is_refused(self, asked: Any, answers: Any = ACCEPTED, binding: bytes = BINDING) -> None:
        with pytest.raises(RpcError) as error:
            await self.resume(asked, answers, binding)
        assert error.value.code == INVALID_PARAMS


async def one_question(attended: RequestContext) -> Any:
    return {"answers": [await attended.send_raw_request(FORM["method"], FORM["params"])]}


async def two_rounds(attended: RequestContext) -> Any:
    both = await asyncio.gather(*(attended.send_raw_request(FORM["method"], {"message": m}) for m in ("a", "b")))
    last = await attended.send_raw_request("roots/list", None)
    return {"answers": [*both, last]}


class Holding:
    """A call that waits until it is let go, or cancelled; and asks first if it is told so."""

    def __init__(self, *, asks: bool = True) -> None:
        self.asks = asks
        self.begun, self.go, self.cancelled, self.asked = (asyncio.Event() for _ in range(4))
        self.refused: Exception | None = None
        self.question: asyncio.Task[Any] | None = None

    async def __call__(self, attended: RequestContext) -> Any:
        self.attended = attended
        # The question is the link's own task, as with a real upstream.
        if self.asks:
            self.question = asyncio.create_task(self.ask(attended))
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {"done": True}

    async def ask(self, attended: RequestContext) -> Any:
        try:
            return await attended.send_raw_request(FORM["method"], FORM["params"])
        except RpcError as error:
            self.refused = error
            return None


@pytest.fixture
async def lot() -> Any:
    made = ParkingLot(Sealer())
    yield made
    async with asyncio.timeout(DEADLINE):
        await made.aclose()
    assert len(made) == 0


async def test_a_call_that_asks_nothing_ends_as_it_would(lot: ParkingLot) -> None:
    async def start(_attended: RequestContext) -> Any:
        return Raw(b'{"done": true}')

    assert await Caller(lot).run(start) == {"done": True}
    assert len(lot) == 0


async def test_a_question_ends_the_request_and_its_answer_takes_the_call_up_again(lot: ParkingLot) -> None:
    caller = Caller(lot)
    asked = await caller.run(one_question)
    assert asked["resultType"] == "input_required"
    assert list(asked["inputRequests"].values()) == [FORM]
    assert len(lot) == 1
    assert await caller.resume(asked) == {"answers": [ACCEPTED]}
    assert len(lot) == 0


async def test_answers_keep_their_spelling(lot: ParkingLot) -> None:
    seen: list[bytes] = []

    async def start(attended: RequestContext) -> Any:
        seen.append(dumps(await attended.send_raw_request("elicitation/create", {"message": "x"})))
        return {}

    caller = Caller(lot)
    asked = await caller.run(start)
    (key,) = asked["inputRequests"]
    await caller.resume(asked, Raw(b'{"%b": {"action":"accept","content":{"n":1.0e5}}}' % key.encode()))
    assert seen == [b'{"action":"accept","content":{"n":1.0e5}}']


async def test_what_is_asked_at_once_is_one_round_and_what_comes_later_is_another(lot: ParkingLot) -> None:
    caller = Caller(lot)
    first = await caller.run(two_rounds)
    assert [asked["params"]["message"] for asked in first["inputRequests"].values()] == ["a", "b"]
    second = await caller.resume(first)
    assert list(second["inputRequests"].values()) == [{"method": "roots/list"}]
    assert not first["inputRequests"].keys() & second["inputRequests"].keys()
    assert await caller.resume(second) == {"answers": [ACCEPTED] * 3}


async def test_a_missing_answer_is_asked_for_again_and_one_to_no_question_is_ignored(lot: ParkingLot) -> None:
    caller = Caller(lot)
    first = await caller.run(two_rounds)
    a, b = first["inputRequests"]
    again = await caller.resume(first, {b: ACCEPTED, "other": {}})
    assert list(again["inputRequests"]) == [a]
    once_more = await caller.resume(again, None)
    assert once_more["inputRequests"] == again["inputRequests"]
    # What was answered once is not answered anew.
    later = await caller.resume(once_more, {a: {"action": "decline"}, b: {"action": "cancel"}})
    done = await caller.resume(later)
    assert done["answers"][:2] == [{"action": "decline"}, ACCEPTED]


async def test_a_state_is_good_for_one_retry(lot: ParkingLot) -> None:
    caller = Caller(lot)
    asked = await caller.run(two_rounds)
    later = await caller.resume(asked)
    await caller.is_refused(asked)
    await caller.resume(later)
    await caller.is_refused(later)


async def test_of_two_retries_at_once_one_is_refused(lot: ParkingLot) -> None:
    caller = Caller(lot)
    asked = await caller.run(one_question)
    outcomes = await asyncio.gather(caller.resume(asked), caller.resume(asked), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {dict, RpcError}


async def test_a_state_that_was_changed_or_is_of_another_call_is_refused_and_spoils_nothing(lot: ParkingLot) -> None:
    caller = Caller(lot)
    asked = await caller.run(one_question)
    state = asked["requestState"]
    for wrong in (state[:-4] + "AAAA", "", "x" * 40, None, 3, {}):
        await caller.is_refused({**asked, "requestState": wrong})
    await caller.is_refused(asked, binding=b"another call")
    await Caller(ParkingLot(Sealer())).is_refused(asked)
    assert await caller.resume(asked) == {"answers": [ACCEPTED]}


@pytest.mark.parametrize("answers", [[], "text", 3, {"input-1": "text"}, {"input-1": None}, {"other": []}])
def test_answers_of_the_wrong_shape_are_refused_and_the_state_stays_good(answers: Any, anyio_backend: str) -> None:
    async def check() -> None:
        lot = ParkingLot(Sealer())
        caller = Caller(lot)
        asked = await caller.run(one_question)
        for form in (answers, Raw(dumps(answers))):
            await caller.is_refused(asked, form)
        assert await caller.resume(asked) == {"answers": [ACCEPTED]}

    asyncio.run(check())


async def test_holds_says_whether_a_state_is_of_a_call_that_waits_here(lot: ParkingLot) -> None:
    caller = Caller(lot)
    asked = await caller.run(one_question)
    assert lot.holds(asked["requestState"], BINDING)
    assert not lot.holds(asked["requestState"], b"other")
    assert not lot.holds("x", BINDING)
    await caller.resume(asked)
    assert not lot.holds(asked["requestState"], BINDING)


async def test_a_call_that_nobody_comes_back_for_is_cancelled_when_its_state_expires() -> None:
    lot = ParkingLot(Sealer(ttl=0.05))
    caller, call = Caller(lot), Holding()
    asked = await caller.run(call)
    async with asyncio.timeout(DEADLINE):
        await call.cancelled.wait()
        # Its question ends too, so that the upstream does not wait for it any more.
        assert call.question is not None
        await call.question
    assert call.refused is not None
    assert len(lot) == 0
    await caller.is_refused(asked)


async def test_coming_back_in_time_stops_the_clock() -> None:
    lot = ParkingLot(Sealer(ttl=1.5))
    caller, call = Caller(lot), Holding()
    asked = await caller.run(call)
    resumed = asyncio.create_task(caller.resume(asked))
    assert call.question is not None
    async with asyncio.timeout(DEADLINE):
        assert await call.question == ACCEPTED
    parked_call = call.attended
    assert parked_call._expiry.cancelled()  # type: ignore[attr-defined]
    call.go.set()
    assert await resumed == {"done": True}
    await lot.aclose()


async def test_a_client_that_leaves_while_it_waits_cancels_the_call(lot: ParkingLot) -> None:
    call = Holding(asks=False)
    waiting = asyncio.create_task(Caller(lot).run(call))
    await call.begun.wait()
    waiting.cancel()
    async with asyncio.timeout(DEADLINE):
        await call.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(lot) == 0


async def test_a_client_that_leaves_after_it_came_back_cancels_the_call(lot: ParkingLot) -> None:
    caller, call = Caller(lot), Holding()
    asked = await caller.run(call)
    waiting = asyncio.create_task(caller.resume(asked))
    assert call.question is not None
    await call.question
    waiting.cancel()
    async with asyncio.timeout(DEADLINE):
        await call.cancelled.wait()
    assert len(lot) == 0


async def test_closing_the_lot_cancels_what_is_parked_and_ends_its_questions(lot: ParkingLot) -> None:
    calls = [Holding(), Holding()]
    caller = Caller(lot)
    asked = [await caller.run(call) for call in calls]
    await lot.aclose()
    for call in calls:
        assert call.cancelled.is_set()
        assert call.question is not None
        async with asyncio.timeout(DEADLINE):
            await call.question
        assert call.refused is not None
    for state in asked:
        await caller.is_refused(state)


async def test_what_an_upstream_says_goes_to_the_request_that_attends_now(lot: ParkingLot) -> None:
    first, second = Caller(lot, token=1), Caller(lot, token=2)
    call = Holding()
    asked = await first.run(call)
    attended = call.attended
    # Nobody attends: there is no stream to say it on.
    assert attended.progress_token is None
    attended.notify("notifications/progress", {"progress": 1})
    resumed = asyncio.create_task(second.resume(asked))
    assert call.question is not None
    await call.question
    assert attended.progress_token == 2
    assert attended.can_send_request
    attended.notify("notifications/progress", {"progress": 2})
    call.go.set()
    await resumed
    assert first.client.heard.all == []
    assert second.client.heard.of("notifications/progress") == [{"progress": 2}]
    assert not attended.can_send_request


async def test_a_call_asks_what_the_request_that_attends_now_says_it_can_answer(lot: ParkingLot) -> None:
    first, second = Caller(lot, capabilities={"elicitation": {}}), Caller(lot, capabilities={"roots": {}})
    call = Holding()
    asked = await first.run(call)
    assert call.attended.downstream.capabilities == {"elicitation": {}}
    resumed = asyncio.create_task(second.resume(asked))
    assert call.question is not None
    await call.question
    assert call.attended.downstream.capabilities == {"roots": {}}
    call.go.set()
    await resumed


async def test_a_call_that_fails_fails_the_request_that_attends(lot: ParkingLot) -> None:
    async def start(attended: RequestContext) -> Any:
        await attended.send_raw_request(FORM["method"], FORM["params"])
        raise RpcError(-5, "it failed")

    caller = Caller(lot)
    asked = await caller.run(start)
    with pytest.raises(RpcError, match="it failed"):
        await caller.resume(asked)

    async def fails_at_once(_attended: RequestContext) -> Any:
        raise AnswerLost("a", "it died")

    with pytest.raises(AnswerLost):
        await caller.run(fails_at_once)


async def test_a_call_that_ended_while_it_was_parked_gives_its_end_to_the_retry(lot: ParkingLot) -> None:
    """An upstream may give up its question."""
    caller, call = Caller(lot), Holding()
    asked = await caller.run(call)
    call.go.set()
    assert await caller.resume(asked) == {"done": True}
    assert call.question is not None
    call.question.cancel()


async def test_an_upstream_that_dies_while_its_call_is_parked_leaves_nothing(lot: ParkingLot) -> None:
    call = Holding()

    async def dies(attended: RequestContext) -> Any:
        await call(attended)
        raise AnswerLost("a", "it died")

    caller = Caller(lot)
    await caller.run(dies)
    call.go.set()
    # Nobody comes back for the error: it is not left unretrieved.
    await lot.aclose()


async def test_the_id_of_a_url_elicitation_does_not_reach_the_modern_era(lot: ParkingLot) -> None:
    url = {"mode": "url", "url": "https://x", "message": "m", "elicitationId": "e"}

    async def start(attended: RequestContext) -> Any:
        return await attended.send_raw_request("elicitation/create", url)

    caller = Caller(lot)
    asked = await caller.run(start)
    (question,) = asked["inputRequests"].values()
    assert question["params"] == {"mode": "url", "url": "https://x", "message": "m"}
    await caller.resume(asked)


async def test_a_principal_may_have_so_many_calls_parked_and_no_more(
    lot: ParkingLot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked, "MAX_PARKED", 2)
    ada, bob = Caller(lot), Caller(lot)
    ada.client.visitor, bob.client.visitor = visitor("Ada"), visitor("Bob")
    asked = [await ada.run(one_question) for _ in range(2)]
    with pytest.raises(RpcError, match="too many calls of yours"):
        await ada.run(one_question)
    await bob.run(one_question)
    await ada.resume(asked[0])
    await ada.run(one_question)
