"""Deadlines of many requests on one timer."""

import asyncio

import pytest
from meshproxy.http.deadlines import Deadlines
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio


async def test_what_is_due_first_expires_first_whatever_was_added_first() -> None:
    expired: asyncio.Queue[str] = asyncio.Queue()
    deadlines: Deadlines[str] = Deadlines(expired.put_nowait)
    for key, seconds in (("last", 0.06), ("never", 3600.0), ("first", 0.01), ("second", 0.03)):
        deadlines.add(key, seconds)
    async with asyncio.timeout(DEADLINE):
        assert [await expired.get() for _ in range(3)] == ["first", "second", "last"]
    deadlines.clear()


async def test_what_has_ended_does_not_expire() -> None:
    expired: asyncio.Queue[str] = asyncio.Queue()
    deadlines: Deadlines[str] = Deadlines(expired.put_nowait)
    deadlines.add("ended", 0.01)
    deadlines.add("left", 0.02)
    deadlines.discard("ended")
    deadlines.discard("unknown")
    async with asyncio.timeout(DEADLINE):
        assert await expired.get() == "left"
    assert expired.empty()


async def test_one_that_expires_may_add_another() -> None:
    expired = asyncio.Event()
    deadlines: Deadlines[int] = Deadlines(lambda key: expired.set() if key else deadlines.add(1, 0.01))
    deadlines.add(0, 0.01)
    async with asyncio.timeout(DEADLINE):
        await expired.wait()


async def test_nothing_is_left_when_it_is_cleared() -> None:
    deadlines: Deadlines[int] = Deadlines(lambda _: None)
    deadlines.clear()
    deadlines.add(0, 3600.0)
    deadlines.clear()
    assert deadlines._timer is None
