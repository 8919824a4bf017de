"""A link that is lent to one call carries no other until it is given back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproxy.errors import UpstreamUnavailable
from meshproxy.upstream import exclusive
from meshproxy.upstream.exclusive import Exclusive
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.wires import Wire

pytestmark = pytest.mark.anyio


class Lending:
    """A pool of wires; the control link is free as long as it says so."""

    def __init__(self, patience: float | None = DEADLINE) -> None:
        self.control: Wire | None = Wire()
        self.made: list[Wire] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.pool = Exclusive("up", self._open, patience)

    async def _open(self, _shown: Any) -> Wire:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.made.append(Wire())
        return self.made[-1]

    async def take(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await self.pool.take(lambda: self.control)

    def give(self, link: Any) -> None:
        self.pool.give(link, self.control)


@pytest.fixture
async def lending() -> AsyncIterator[Lending]:
    made = Lending()
    yield made
    await made.pool.aclose()
    assert len(made.pool) == 0
    assert not [wire for wire in made.made if wire.is_open]


async def test_the_control_link_is_the_first_then_spare_ones_then_new_ones(lending: Lending) -> None:
    control = await lending.take()
    assert control is lending.control
    second, third = await lending.take(), await lending.take()
    assert lending.made == [second, third]
    lending.give(second)
    assert await lending.take() is second
    lending.give(control)
    assert await lending.take() is control
    assert len(lending.made) == 2


async def test_a_link_that_was_lost_is_not_lent_again(lending: Lending) -> None:
    lending.control = None
    first = await lending.take()
    first.close("it died")
    lending.give(first)
    second = await lending.take()
    lending.give(second)
    second.close("it died, too")
    assert await lending.take() not in (first, second)


async def test_giving_back_twice_or_what_was_never_lent_is_nothing(lending: Lending) -> None:
    lending.control = None
    link = await lending.take()
    for _ in range(2):
        lending.give(link)
    lending.give(Wire())
    assert len(lending.pool) == 1


async def test_who_comes_when_all_are_lent_waits_for_the_first_that_is_given_back(
    lending: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusive, "MOST", 2)
    lending.control = None
    links = [await lending.take(), await lending.take()]
    waiting = [asyncio.create_task(lending.take()) for _ in range(3)]
    await asyncio.sleep(0)
    # What is freed for somebody who leaves is for the next one.
    waiting[0].cancel()
    lending.give(links[1])
    assert await waiting[1] is links[1]
    lending.give(links[1])
    waiting[2].cancel()
    await asyncio.wait(waiting)
    lending.give(links[0])
    assert {await lending.take(), await lending.take()} == set(links)


async def test_who_waits_too_long_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "MOST", 1)
    lending = Lending(patience=0.02)
    lending.control = None
    await lending.take()
    with pytest.raises(UpstreamUnavailable, match="all its 1 connections are busy"):
        await lending.take()
    await lending.pool.aclose()


async def test_a_link_that_cannot_be_opened_leaves_its_place_to_the_next(
    lending: Lending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusive, "MOST", 1)
    lending.control = None
    lending.gate.clear()
    lending.failure = UpstreamUnavailable("up", "refused")
    first, second = asyncio.create_task(lending.take()), asyncio.create_task(lending.take())
    await asyncio.sleep(0)
    lending.gate.set()
    with pytest.raises(UpstreamUnavailable, match="refused"):
        await first
    with pytest.raises(UpstreamUnavailable, match="refused"):
        await second


async def test_what_nobody_takes_again_is_closed(lending: Lending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "KEEP", 0.01)
    lending.control = None
    kept, unused = await lending.take(), await lending.take()
    lending.give(unused)
    await eventually(lambda: not unused.is_open)
    assert kept.is_open
    lending.give(kept)
    await lending.pool.trim()
    assert not kept.is_open


async def test_closing_closes_what_is_lent_too(lending: Lending) -> None:
    lending.control = None
    link = await lending.take()
    await lending.pool.aclose()
    assert not link.is_open
    lending.give(link)
    assert len(lending.pool) == 0
