"""So many upstreams start at once and no more, whoever is waited for first, and one that hangs holds nobody up for long."""

import asyncio
import contextlib

import pytest
from meshproxy.supervision import starts as module
from meshproxy.supervision.starts import Place, Starts, Urgency
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio


class Start:
    """A start that takes until it is let go."""

    def __init__(self, place: Place, urgency: Urgency = Urgency.USUAL) -> None:
        self.place = place
        self.place.urgency = urgency
        self.goes = asyncio.Event()
        self.is_going = False
        self.task = asyncio.create_task(self._start())

    async def _start(self) -> None:
        async with self.place.turn():
            self.is_going = True
            await self.goes.wait()

    async def end(self) -> None:
        self.goes.set()
        async with asyncio.timeout(DEADLINE):
            await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_start_at_once_and_the_others_in_their_order() -> None:
    starts = Starts(programs=2, connections=1)
    those = [Start(starts.place(is_program=True)) for _ in range(5)]
    other = Start(starts.place(is_program=False))
    await settle()
    assert [one.is_going for one in those] == [True, True, False, False, False]
    # What is no program has places of its own.
    assert other.is_going
    await those[1].end()
    await settle()
    assert [one.is_going for one in those] == [True, True, True, False, False]
    for one in (other, *those):
        await one.end()


async def test_one_that_is_waited_for_comes_first_then_one_that_is_required() -> None:
    starts = Starts(programs=1)
    first = Start(starts.place(is_program=True))
    await settle()
    usual, required, awaited = (
        Start(starts.place(is_program=True), urgency) for urgency in (Urgency.USUAL, Urgency.REQUIRED, Urgency.USUAL)
    )
    await settle()
    awaited.place.hurry()
    first.place.hurry()
    for before, after in ((first, awaited), (awaited, required), (required, usual)):
        assert not after.is_going
        await before.end()
        await settle()
        assert after.is_going
    await usual.end()
    # Nobody starts there now.
    usual.place.hurry()


async def test_one_that_hangs_holds_up_the_others_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD", 0.01)
    starts = Starts(programs=1)
    hanging = [Start(starts.place(is_program=True)) for _ in range(3)]
    last = Start(starts.place(is_program=True))
    last.goes.set()
    async with asyncio.timeout(DEADLINE):
        await last.task
    for one in hanging:
        assert one.is_going
        await one.end()
    # Each has given its place back once.
    assert starts.place(is_program=True)._lane._free == 1


@pytest.mark.parametrize("is_granted", [False, True])
async def test_one_that_is_given_up_leaves_its_place_to_others(*, is_granted: bool) -> None:
    starts = Starts(programs=1)
    first = Start(starts.place(is_program=True))
    await settle()
    second, third = Start(starts.place(is_program=True)), Start(starts.place(is_program=True))
    await settle()
    given_up = first if is_granted else second
    given_up.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await given_up.task
    if not is_granted:
        await first.end()
    await settle()
    assert (second if is_granted else third).is_going
    for one in {second, third} - {given_up}:
        await one.end()
    assert starts.place(is_program=True)._lane._free == 1


async def test_one_that_is_given_up_in_the_moment_of_its_turn_gives_it_back() -> None:
    starts = Starts(programs=1)
    first = Start(starts.place(is_program=True))
    await settle()
    second = Start(starts.place(is_program=True))
    await settle()
    first.goes.set()
    await first.task
    second.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second.task
    third = Start(starts.place(is_program=True))
    await settle()
    assert third.is_going
    await third.end()
