"""Each downstream session has one link of its own, opened on first use and closed with it."""

import asyncio
from typing import Any

import pytest
from meshproxy.errors import UpstreamUnavailable
from meshproxy.relay.downstream import Downstream
from meshproxy.upstream.sessions import Sessions
from tests.kit.clients import Legacy
from tests.kit.handlers import Quiet
from tests.kit.waiting import DEADLINE
from tests.kit.wires import Wire

pytestmark = pytest.mark.anyio


class Opener:
    """Opens wires, as soon as it is let through."""

    def __init__(self) -> None:
        self.made: list[Wire] = []
        self.begun = 0
        self.cancelled = 0
        self.entered, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def __call__(self, _downstream: Downstream) -> Wire:
        self.begun += 1
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        self.made.append(Wire())
        return self.made[-1]


def session() -> Downstream:
    return Legacy(Quiet()).session


async def obtain(sessions: Sessions, downstream: Downstream) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await sessions.obtain(downstream)


async def test_a_link_is_opened_once_and_found_from_then_on() -> None:
    opener = Opener()
    sessions, first, second = Sessions("up", opener), session(), session()
    assert sessions.get(first.key) is None
    link = await obtain(sessions, first)
    assert await obtain(sessions, first) is link is sessions.get(first.key)
    other = await obtain(sessions, second)
    assert other is not link
    assert dict(sessions) == {first.key: link, second.key: other}
    await sessions.aclose()
    assert len(sessions) == 0
    assert not any(wire.is_open for wire in opener.made)


async def test_two_calls_at_once_share_the_opening_and_the_leaving_of_one_does_not_spoil_it() -> None:
    opener = Opener()
    opener.gate.clear()
    sessions, downstream = Sessions("up", opener), session()
    leaving, staying = (asyncio.create_task(obtain(sessions, downstream)) for _ in range(2))
    await opener.entered.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    opener.gate.set()
    assert await staying is opener.made[0]
    assert opener.begun == 1
    await sessions.aclose()


async def test_an_opening_that_fails_fails_for_all_who_wait_and_is_tried_again_by_the_next() -> None:
    opener = Opener()
    opener.failure = UpstreamUnavailable("up", "refused")
    sessions, downstream = Sessions("up", opener), session()
    outcomes = await asyncio.gather(*(obtain(sessions, downstream) for _ in range(2)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["up: refused"] * 2
    assert opener.begun == 1
    opener.failure = None
    assert (await obtain(sessions, downstream)).is_open
    await sessions.aclose()


async def test_an_opening_that_fails_when_nobody_waits_any_more_is_not_left_unretrieved() -> None:
    opener = Opener()
    opener.gate.clear()
    sessions, downstream = Sessions("up", opener), session()
    waiting = asyncio.create_task(obtain(sessions, downstream))
    await opener.entered.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    opener.failure = UpstreamUnavailable("up", "refused")
    opener.gate.set()
    while sessions._opening:
        await asyncio.sleep(0)


async def test_a_session_that_ends_takes_its_link_along() -> None:
    opener = Opener()
    sessions, downstream = Sessions("up", opener), session()
    link = await obtain(sessions, downstream)
    downstream.close()
    assert sessions.get(downstream.key) is None
    await sessions.aclose()
    assert not link.is_open
    assert not sessions._forget


async def test_a_session_that_ends_while_its_link_is_opened_ends_that_too() -> None:
    opener = Opener()
    opener.gate.clear()
    sessions, downstream = Sessions("up", opener), session()
    waiting = [asyncio.create_task(obtain(sessions, downstream)) for _ in range(2)]
    await opener.entered.wait()
    downstream.close()
    for one in waiting:
        # Its request was not cancelled, so it is not told so.
        with pytest.raises(UpstreamUnavailable):
            await one
    assert opener.cancelled == 1
    assert not sessions._forget
    assert not sessions._opening


async def test_a_session_that_is_gone_already_opens_nothing() -> None:
    opener = Opener()
    sessions, downstream = Sessions("up", opener), session()
    downstream.close()
    with pytest.raises(UpstreamUnavailable):
        await obtain(sessions, downstream)
    assert not [wire for wire in opener.made if wire.is_open]
    assert not sessions._forget
    assert len(sessions) == 0


async def test_closing_all_ends_openings_and_tells_those_who_wait() -> None:
    opener = Opener()
    sessions, first, second = Sessions("up", opener), session(), session()
    link = await obtain(sessions, first)
    opener.gate.clear()
    opener.entered.clear()
    waiting = asyncio.create_task(obtain(sessions, second))
    await opener.entered.wait()
    async with asyncio.timeout(DEADLINE):
        await sessions.aclose()
    with pytest.raises(UpstreamUnavailable, match="session was closed"):
        await waiting
    assert not link.is_open
    assert opener.cancelled == 1


async def test_a_link_that_was_lost_is_opened_anew() -> None:
    opener = Opener()
    sessions, downstream = Sessions("up", opener), session()
    link = await obtain(sessions, downstream)
    link.close("it died")
    assert sessions.get(downstream.key) is None
    again = await obtain(sessions, downstream)
    assert again is not link
    assert again.is_open
    downstream.close()
    await sessions.aclose()
    assert not again.is_open


async def test_discarding_what_is_not_there_does_nothing() -> None:
    sessions = Sessions("up", Opener())
    sessions.discard("nobody")
    await sessions.aclose()
