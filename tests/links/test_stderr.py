"""What programs write to standard error: the end of it is kept, within its bound, and a flood costs nobody else much."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.links.stderr import LINES, Stderr
from meshproxy.links.usage import usage
from tests.kit.links import call, connect, scripted
from tests.kit.processes import nothing_left
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


@given(st.lists(st.text(max_size=40)), st.integers(0, 200), st.integers(0, 200))
def test_what_is_kept_is_the_end_of_it_in_whole_lines_within_the_bound(lines, bound, later):
    kept = Stderr(lambda _: None, bound=bound)
    for line in lines:
        kept.take(line)
    for size in (bound, later):
        kept.keep(size)
        found = kept.lines
        bytes_of = [len(line.encode("utf-8", "replace")) + 1 for line in lines]
        assert found == lines[len(lines) - len(found) :]
        assert sum(bytes_of[len(lines) - len(found) :]) <= size
    # And no more is left out than has to be.
    smaller = min(bound, later)
    if len(found) < len(lines):
        assert sum(bytes_of[len(lines) - len(found) - 1 :]) > smaller


def test_of_a_flood_a_part_is_told_and_that_it_is_one_is_told_once(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    told, floods = [], []
    stderr = Stderr(told.append, lambda: floods.append(now))
    for number in range(10 * LINES):
        stderr.take(str(number))
    assert (len(told), floods) == (LINES, [100.0])
    now = 101.0
    stderr.take("afterwards")
    assert told[-1] == "afterwards"
    assert stderr.lines[-1] == "afterwards"


async def test_a_flood_is_read_and_calls_go_on():
    told = []
    async with nothing_left():
        endpoint = scripted(stderr=told.append)
        link = await connect(endpoint)
        await call(link, "say", words="x" * 99 + "\n" + ("y" * 99 + "\n") * 100_000)
        await eventually(lambda: sum(map(len, endpoint.stderr.lines)) > 60_000)
        assert len(told) < 100_000
        assert len(endpoint.stderr.lines) <= 640
        endpoint.keep_stderr(1000)
        assert endpoint.stderr.lines == ["y" * 99] * 10
        await link.aclose()
    # It outlives the process, whose end it may explain.
    assert len(endpoint.stderr.lines) == 10


async def test_the_reason_of_an_end_has_what_was_said_last_however_much_it_was():
    async with nothing_left():
        endpoint = scripted()
        link = await connect(endpoint)
        with pytest.raises(Exception, match=r"its last words: one \| two \| three"):
            await call(link, "exit", status=1, words="x\n" * 5000 + "one\ntwo\nthree\n")
        await link.aclose()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="this system does not tell")  # noqa: PTH110
async def test_what_a_command_costs_can_be_told_with_what_it_has_started(tmp_path):
    async with nothing_left():
        one, other = await connect(scripted()), await connect(scripted())
        alone = usage()
        assert alone.keys() == {one.process.pid, other.process.pid}
        assert [cost.processes for cost in alone.values()] == [1, 1]
        assert all(cost.memory > 1_000_000 and cost.cpu >= 0 for cost in alone.values())
        busy = asyncio.create_task(call(one, "shell", script="setsid --wait sh -c 'while :; do :; done'"))
        await eventually(lambda: usage()[one.process.pid].processes >= 3 and usage()[one.process.pid].cpu > 0.2)
        assert usage()[other.process.pid].processes == 1
        assert usage()[one.process.pid].memory > alone[one.process.pid].memory
        await one.abandon()
        await other.aclose()
        await asyncio.wait([busy])
        assert busy.exception()
    assert usage() == {}
