"""What an upstream goes through is visible, said once, and true: health, loops, draining, and when it is tried again."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from meshproxy.errors import RpcError, UpstreamUnavailable
from meshproxy.supervision import agenda, backoff, health
from meshproxy.supervision.states import State
from meshproxy.wire.protocol import Era
from tests.kit.journal import Journal
from tests.kit.waiting import DEADLINE
from tests.kit.wires import Gate, Wire
from tests.supervision.test_supervisor import QUIET, kept, listing, pauses, tools

__all__ = ["pauses"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def checked_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "CHECK", 0.01)
    monkeypatch.setattr(agenda, "RELIST", (0.01, 0.01))
    monkeypatch.setattr(health, "PATIENCE", 0.05)


def silent(_params: Any, _call: Any) -> Any:
    return asyncio.Event().wait()


# Health


@pytest.mark.parametrize(("era", "ping"), [(Era.LEGACY, "ping"), (Era.MODERN, "server/discover")])
async def test_one_that_answers_pings_and_no_lists_is_degraded_until_it_lists_again(
    era: Era, ping: str, checked_soon: None, journal: Journal
) -> None:
    wire = Wire(era, QUIET, tools__list={"tools": [{"name": "a"}]})
    async with kept(wire, list_timeout=0.05) as upstream:
        await upstream.becomes(State.UP)
        wire.answers["tools/list"] = silent
        await upstream.becomes(State.DEGRADED)
        assert upstream.supervisor.condition.reason == (
            "it answers, and lists nothing: tools could not be listed: did not list its tools within 0.05 s"
        )
        assert wire.of(ping)
        # What it offered stays, and so does the link.
        assert tools(upstream) == ["a"]
        assert upstream.supervisor.open_link() is wire
        wire.answers["tools/list"] = {"tools": [{"name": "a"}]}
        await upstream.becomes(State.UP)
    assert len(journal.of("upstream.degraded")) == 1


async def test_a_ping_that_is_refused_is_an_answer(checked_soon: None) -> None:
    wire = Wire(capabilities=QUIET, tools__list={"tools": []}, ping=RpcError(-32601, "what is that?"))
    async with kept(wire, list_timeout=0.05) as upstream:
        await upstream.becomes(State.UP)
        wire.answers["tools/list"] = silent
        await upstream.becomes(State.DEGRADED)
        assert upstream.supervisor.open_link() is wire


async def test_one_that_answers_nothing_any_more_is_opened_anew(checked_soon: None) -> None:
    first, second = Wire(capabilities=QUIET, tools__list={"tools": []}), listing("b")
    async with kept(first, second, list_timeout=0.05) as upstream:
        await upstream.becomes(State.UP)
        first.answers |= {"tools/list": silent, "ping": silent}
        await upstream.becomes(State.BACKING_OFF)
        assert "it answers neither lists nor pings" in upstream.supervisor.condition.reason
        await upstream.until(lambda: tools(upstream) == ["b"])
        assert not first.is_open


async def test_one_that_answers_nothing_while_calls_are_under_way_is_left_to_answer_them(checked_soon: None) -> None:
    """A server of one thread answers nothing else while it works."""
    wire = Wire(capabilities=QUIET, tools__list={"tools": []})
    async with kept(wire, list_timeout=0.05) as upstream:
        upstream.calls = 1
        await upstream.becomes(State.UP)
        wire.answers |= {"tools/list": silent, "ping": silent}
        await upstream.becomes(State.DEGRADED)
        assert "calls are under way" in upstream.supervisor.condition.reason
        await wire.until("ping", 2)
        assert upstream.supervisor.open_link() is wire
        upstream.calls = 0
        await upstream.becomes(State.BACKING_OFF)


async def test_one_that_has_nothing_to_list_is_not_asked_for_it(checked_soon: None) -> None:
    wire = Wire(capabilities={})
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        count = len(wire.sent)
        await upstream.until(lambda: upstream.looks >= 0)
        await asyncio.sleep(0)
        assert len(wire.sent) == count


async def test_a_call_without_an_answer_has_the_link_looked_at_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "DOUBT", 0.0)
    wire = listing("a")
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        upstream.supervisor.doubt(listing("another"))
        upstream.supervisor.doubt(wire)
        await wire.until("tools/list", 2)
        assert upstream.supervisor.state is State.UP


async def test_a_link_that_is_lost_while_it_is_looked_at_is_opened_anew(checked_soon: None) -> None:
    gate = Gate()
    first, second = listing("a"), listing("b")
    async with kept(first, second) as upstream:
        await upstream.becomes(State.UP)
        first.answers["tools/list"] = gate
        await gate.entered.wait()
        first.close("it died")
        upstream.supervisor.lose(first, "it died")
        await upstream.until(lambda: tools(upstream) == ["b"])


# Again and again


async def test_one_that_ends_soon_after_each_start_is_said_to_and_is_not_started_at_once(
    pauses: list[float], journal: Journal
) -> None:
    wires = [listing("a") for _ in range(5)]
    async with kept(*wires) as upstream:
        for number, wire in enumerate(wires):
            await upstream.until(lambda link=wire: upstream.supervisor.open_link() is link)  # type: ignore[misc]
            await upstream.becomes(State.UP)
            wire.close("the process exited with status 1")
            upstream.supervisor.lose(wire, "the process exited with status 1")
            await upstream.until(lambda count=number: len(journal.of("upstream.down")) == count + 1)  # type: ignore[misc]
        assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    reasons = [line["reason"] for line in journal.of("upstream.down")]
    again = "it ends again and again soon after it has come up: the process exited with status 1"
    assert reasons == ["the process exited with status 1"] * 2 + [again] * 3


async def test_what_is_said_over_another_link_does_not_cut_the_pause_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BACKOFF", (3600.0, 3600.0))
    async with kept(UpstreamUnavailable("up", "it refuses")) as upstream:
        await upstream.becomes(State.BACKING_OFF)
        await asyncio.sleep(0)
        upstream.supervisor.list_soon(listing("another"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert upstream.supervisor.state is State.BACKING_OFF


async def test_what_the_upstream_asks_for_is_the_least_and_no_need_is_reason_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backoff, "IMPATIENCE", -1.0)
    busy = UpstreamUnavailable("up", "too many requests")
    busy.retry_after = 120.0
    async with kept(busy) as upstream:
        await upstream.becomes(State.BACKING_OFF)
        await asyncio.sleep(0)
        with pytest.raises(UpstreamUnavailable, match="too many requests"):
            await upstream.supervisor.obtain_link()
        for _ in range(5):
            await asyncio.sleep(0)
        status = upstream.supervisor.status()
        since, again = (datetime.fromisoformat(status[key]) for key in ("since", "next_attempt"))
        assert 119 < (again - since).total_seconds() < 120 + DEADLINE
        assert (status["state"], status["phase"], status["failures"]) == ("down", "backing off", 1)


# Visible


async def test_the_status_says_since_when_and_what_it_means_for_a_caller(checked_soon: None) -> None:
    wire = listing("a")
    async with kept(wire, list_timeout=0.05) as upstream:
        status = upstream.supervisor.status()
        assert (status["state"], status["phase"]) == ("starting", "starting")
        await upstream.becomes(State.UP)
        status = upstream.supervisor.status()
        assert (status["state"], status["phase"], status["tools"]) == ("up", "up", 1)
        assert status.keys().isdisjoint({"reason", "next_attempt", "failures"})
        wire.answers["tools/list"] = silent
        await upstream.becomes(State.DEGRADED)
        later = upstream.supervisor.status()
        assert (later["state"], later["phase"]) == ("up", "degraded")
        assert datetime.fromisoformat(later["since"]) >= datetime.fromisoformat(status["since"])


async def test_each_change_is_one_line(journal: Journal, pauses: list[float]) -> None:
    first, failure = listing("a"), UpstreamUnavailable("up", "it died")
    async with kept(first, failure, failure, listing("a"), lazy=True) as upstream:
        await upstream.supervisor.obtain_link()
        first.close("it died")
        upstream.supervisor.lose(first, "it died")
        await upstream.until(lambda: len(journal.of("upstream.up")) == 2)
    lines = [line["event"] for line in journal.all if line["event"].startswith("upstream.")]
    assert lines == ["upstream.starting", "upstream.up", "upstream.down", "upstream.up", "upstream.stopped"]


# The end


async def test_one_that_is_taken_out_of_the_mesh_keeps_its_link_and_opens_no_other(journal: Journal) -> None:
    wire = listing("a")
    async with kept(wire, listing("b")) as upstream:
        await upstream.becomes(State.UP)
        upstream.supervisor.retire()
        assert upstream.supervisor.state is State.DRAINING
        assert upstream.supervisor.open_link() is wire
        wire.close("it died")
        upstream.supervisor.lose(wire, "it died")
        task = upstream.supervisor._task
        assert task is not None
        async with asyncio.timeout(DEADLINE):
            await task
        assert upstream.supervisor.state is State.DRAINING
        with pytest.raises(UpstreamUnavailable):
            await upstream.supervisor.obtain_link()


async def test_one_that_is_taken_out_while_it_starts_still_starts_for_who_waits() -> None:
    gate = Gate({"tools": []})
    wire = Wire(capabilities=QUIET, tools__list=gate)
    async with kept(wire) as upstream:
        waiting = asyncio.create_task(upstream.supervisor.obtain_link())
        await gate.entered.wait()
        upstream.supervisor.retire()
        gate.open.set()
        async with asyncio.timeout(DEADLINE):
            assert await waiting is wire
        assert upstream.supervisor.state is State.DRAINING
