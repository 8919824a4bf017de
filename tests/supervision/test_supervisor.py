"""The control link of an upstream is kept up: opened, listed, watched, and opened again with growing pauses when it is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from meshproxy.errors import RpcError, UpstreamUnavailable
from meshproxy.kinds import Kind
from meshproxy.links.link import Link
from meshproxy.supervision import agenda, backoff
from meshproxy.supervision import attempts as attempting
from meshproxy.supervision import pace as pacing
from meshproxy.supervision import supervisor as supervising
from meshproxy.supervision.states import State
from meshproxy.supervision.supervisor import Supervisor
from tests.kit.journal import Journal
from tests.kit.waiting import DEADLINE, Changes, eventually
from tests.kit.wires import ALL, Gate, Wire

pytestmark = pytest.mark.anyio

QUIET = {"tools": {}}


class Upstream:
    """What a supervisor keeps: each connection is the next of `wires`, or fails as it says."""

    def __init__(self, *wires: Wire | Exception, **options: Any) -> None:
        self.wires = list(wires)
        self.opened: list[Link] = []
        self.closings = 0
        self.calls = 0
        self.looks = 0
        self.events: list[State] = []
        self._changes = Changes()
        self.on_opened: Callable[[], Any] | None = None
        settings: dict[str, Any] = {
            "lazy": False,
            "list_timeout": 5.0,
            "idle_timeout": None,
            "cache_ttl": None,
            "scrub": str,
        }
        self.supervisor = Supervisor(
            "up", self._connect, self._opened, self._closing, self._in_use, **settings | options
        )
        self.supervisor.condition.on_change(self._on_change)

    async def _connect(self) -> Wire:
        made = self.wires.pop(0) if self.wires else Wire(capabilities=QUIET, tools__list={"tools": []})
        if isinstance(made, Exception):
            raise made
        return made

    async def _opened(self, link: Link) -> None:
        if self.on_opened is not None:
            await self.on_opened()
        self.opened.append(link)

    async def _closing(self) -> None:
        self.closings += 1

    def _in_use(self) -> bool:
        self.looks += 1
        self._changes.made()
        return self.calls > 0

    def _on_change(self) -> None:
        self.events.append(self.supervisor.state)
        self._changes.made()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something is so, looking after each change."""
        await self._changes.until(condition, lambda: self.events)

    async def becomes(self, state: State) -> None:
        await self.until(lambda: self.supervisor.state is state)


def listing(*tools: str, capabilities: Any = QUIET) -> Wire:
    return Wire(capabilities=capabilities, tools__list={"tools": [{"name": tool} for tool in tools]})


def tools(upstream: Upstream) -> list[str]:
    catalog = upstream.supervisor.catalog
    return [str(tool["name"]) for tool in catalog[Kind.TOOL]] if catalog else []


@contextlib.asynccontextmanager
async def kept(*wires: Wire | Exception, start: bool = True, **options: Any) -> AsyncIterator[Upstream]:
    upstream = Upstream(*wires, **options)
    if start:
        upstream.supervisor.start()
    try:
        yield upstream
    finally:
        async with asyncio.timeout(DEADLINE):
            await upstream.supervisor.aclose()
        assert upstream.supervisor.state is State.STOPPED
        assert upstream.supervisor.link is None


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before the attempts to connect again, which take no time."""
    waited: list[float] = []
    wait = attempting.wait

    async def at_once(event: asyncio.Event, timeout: float | None) -> None:
        if timeout is not None and timeout < 40:
            waited.append(round(timeout, 1))
            await asyncio.sleep(0)
        else:
            await wait(event, timeout)

    monkeypatch.setattr(attempting, "wait", at_once)
    monkeypatch.setattr(supervising, "wait", at_once)
    monkeypatch.setattr(attempting.random, "random", lambda: 1.0)
    monkeypatch.setattr(agenda, "CHECK", 3600.0)
    return waited


async def test_an_upstream_is_connected_to_listed_and_up() -> None:
    wire = listing("a")
    async with kept(wire) as upstream:
        assert upstream.supervisor.state is State.STARTING
        await upstream.supervisor.settled()
        assert upstream.supervisor.state is State.UP
        assert tools(upstream) == ["a"]
        assert upstream.supervisor.open_link() is wire is upstream.opened[0]
        assert wire.listens == 1
        assert upstream.supervisor.seconds > 0
        upstream.supervisor.start()
        assert await upstream.supervisor.obtain_link() is wire
    assert not wire.is_open


async def test_what_changes_while_it_is_listed_for_the_first_time_is_heard() -> None:
    """Who listens only once it has listed never hears of a change in between: nothing says it a second time."""
    names = ["a"]

    def changing(_: Any, __: Any) -> dict[str, Any]:
        listed = {"tools": [{"name": name} for name in names]}
        if len(names) == 1:
            names.append("b")
            # It tells who is listening and subscribed.
            if wire.listens and wire in upstream.opened:
                upstream.supervisor.list_soon()
        return listed

    wire = Wire(capabilities=QUIET, tools__list=changing)
    async with kept(wire) as upstream:
        await upstream.until(lambda: tools(upstream) == ["a", "b"])


async def test_who_needs_it_waits_for_a_start_that_is_under_way_and_for_no_longer() -> None:
    gate = Gate({"tools": []})
    async with kept(Wire(capabilities=QUIET, tools__list=gate)) as upstream:
        await gate.entered.wait()
        waiting = asyncio.create_task(upstream.supervisor.settled())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.open.set()
        async with asyncio.timeout(DEADLINE):
            await waiting


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (UpstreamUnavailable("up", "it refuses"), "it refuses"),
        (RpcError(-1, "go away"), "go away"),
        (ValueError("a factory's own"), "a factory's own"),
    ],
)
async def test_an_upstream_that_cannot_be_connected_to_is_down_with_its_reason(
    failure: Exception, reason: str, pauses: list[float]
) -> None:
    async with kept(failure, failure, listing("a")) as upstream:
        await upstream.becomes(State.BACKING_OFF)
        assert reason in upstream.supervisor.condition.reason
        with pytest.raises(UpstreamUnavailable, match=reason):
            await upstream.supervisor.obtain_link()
        await upstream.becomes(State.UP)
        assert upstream.supervisor.condition.reason == ""


async def test_an_upstream_whose_listing_fails_is_down_and_its_link_closed(pauses: list[float]) -> None:
    broken = Wire(capabilities=QUIET, tools__list=RpcError(-1, "it broke"))
    async with kept(broken, listing("a")) as upstream:
        await upstream.becomes(State.BACKING_OFF)
        assert upstream.supervisor.condition.reason == "it broke"
        await upstream.becomes(State.UP)
        assert not broken.is_open


async def test_attempts_to_connect_again_come_with_growing_pauses(pauses: list[float]) -> None:
    failures = [UpstreamUnavailable("up", "refused") for _ in range(8)]
    async with kept(*failures) as upstream:
        await upstream.becomes(State.UP)
        assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
        # One reason is one piece of news.
        assert upstream.events == [State.BACKING_OFF, State.UP]


async def test_an_upstream_that_is_down_for_days_is_tried_on(pauses: list[float]) -> None:
    failures = [UpstreamUnavailable("up", "refused") for _ in range(2000)]
    async with kept(*failures) as upstream:
        await upstream.becomes(State.UP)
        assert pauses[-1] == 30


async def test_pauses_are_drawn_so_that_not_everybody_comes_at_once(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    chances = iter([0.2, 0.7, 0.5])
    monkeypatch.setattr(attempting.random, "random", lambda: next(chances))
    async with kept(*[UpstreamUnavailable("up", "refused")] * 3) as upstream:
        await upstream.becomes(State.UP)
    assert pauses == [0.1, 0.7, 1.0]


async def test_a_link_that_is_lost_is_opened_again(pauses: list[float]) -> None:
    first, second = listing("a"), listing("b")
    async with kept(first, second) as upstream:
        await upstream.becomes(State.UP)
        first.close("it died")
        upstream.supervisor.lose(first, "it died")
        assert upstream.supervisor.open_link() is None
        await upstream.becomes(State.BACKING_OFF)
        assert upstream.supervisor.condition.reason == "it died"
        # What it offered stays known.
        assert tools(upstream) == ["a"]
        await upstream.until(lambda: tools(upstream) == ["b"])
        assert upstream.supervisor.open_link() is second
        assert pauses == [0.5]


async def test_a_link_that_held_for_a_while_is_opened_again_at_once(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "STABLE", -1.0)
    first, second = listing("a"), listing("b")
    async with kept(first, second) as upstream:
        await upstream.becomes(State.UP)
        first.close("it died")
        upstream.supervisor.lose(first, "it died")
        await upstream.until(lambda: tools(upstream) == ["b"])
        assert pauses == [0.0]


async def test_the_loss_of_another_link_is_not_its_own() -> None:
    wire = listing("a")
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        upstream.supervisor.lose(Wire(), "somebody else's")
        await asyncio.sleep(0)
        assert upstream.supervisor.open_link() is wire


async def test_secrets_are_no_part_of_a_reason(pauses: list[float]) -> None:
    def scrub(text: str) -> str:
        return text.replace("secret", "***")

    async with kept(UpstreamUnavailable("up", "the secret is out"), scrub=scrub) as upstream:
        await upstream.becomes(State.BACKING_OFF)
        assert upstream.supervisor.condition.reason == "the *** is out"


# Lazy and idle


async def test_a_lazy_one_is_connected_to_at_first_use() -> None:
    wire = listing("a")
    async with kept(wire, lazy=True) as upstream:
        await asyncio.sleep(0)
        assert upstream.supervisor.state is State.IDLE
        await upstream.supervisor.settled()
        async with asyncio.timeout(DEADLINE):
            assert await upstream.supervisor.obtain_link() is wire
        assert upstream.supervisor.state is State.UP


async def test_one_that_was_never_started_starts_when_it_is_needed() -> None:
    wire = listing("a")
    async with kept(wire, start=False) as upstream:
        async with asyncio.timeout(DEADLINE):
            assert await upstream.supervisor.obtain_link() is wire


async def test_an_unused_link_is_closed_and_opened_again_when_it_is_needed() -> None:
    first, second = listing("a"), listing("b")
    async with kept(first, second, idle_timeout=0.01) as upstream:
        await upstream.becomes(State.IDLE)
        assert tools(upstream) == ["a"]
        async with asyncio.timeout(DEADLINE):
            assert await upstream.supervisor.obtain_link() is second
        assert not first.is_open
        assert tools(upstream) == ["b"]


async def test_a_link_that_is_in_use_is_not_closed() -> None:
    wire = listing("a")
    async with kept(wire, idle_timeout=0.01) as upstream:
        upstream.calls = 1
        await upstream.until(lambda: upstream.looks > 5)
        assert upstream.supervisor.state is State.UP
        upstream.calls = 0
        await upstream.becomes(State.IDLE)


async def test_who_comes_while_an_unused_link_is_closed_gets_the_next_one() -> None:
    first, second = listing("a"), listing("b")
    closing, go_on = asyncio.Event(), asyncio.Event()

    async def close_slowly() -> None:
        closing.set()
        await go_on.wait()

    async with kept(first, second, idle_timeout=0.01) as upstream:
        upstream.supervisor._closing = close_slowly
        async with asyncio.timeout(DEADLINE):
            await closing.wait()
        assert upstream.supervisor.open_link() is None
        waiting = asyncio.create_task(upstream.supervisor.obtain_link())
        await asyncio.sleep(0)
        go_on.set()
        async with asyncio.timeout(DEADLINE):
            assert await waiting is second
        upstream.calls = 1


# Listing again


async def test_a_listing_that_changed_is_read_again_and_its_news_handed_on() -> None:
    wire = listing("a", capabilities={"tools": {"listChanged": True}})
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        wire.answers["tools/list"] = {"tools": [{"name": "b"}]}
        for _ in range(3):
            upstream.supervisor.list_soon()
        await upstream.until(lambda: tools(upstream) == ["b"])
        # What is said several times in a row is read once.
        assert len(wire.of("tools/list")) == 2
        assert upstream.events == [State.UP, State.UP]
        assert upstream.supervisor.open_link() is wire


async def test_what_changes_while_it_is_read_is_read_once_more() -> None:
    wire = listing("a", capabilities={"tools": {"listChanged": True}})
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        gate = Gate({"tools": [{"name": "b"}]})
        wire.answers["tools/list"] = gate
        upstream.supervisor.list_soon()
        await gate.entered.wait()
        wire.answers["tools/list"] = {"tools": [{"name": "c"}]}
        upstream.supervisor.list_soon()
        gate.open.set()
        await upstream.until(lambda: tools(upstream) == ["c"])


async def test_what_is_said_to_have_changed_and_has_not_is_no_news() -> None:
    wire = listing("a", capabilities={"tools": {"listChanged": True}})
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        upstream.supervisor.list_soon()
        await wire.until("tools/list", 2)
        wire.answers["tools/list"] = {"tools": [{"name": "b"}]}
        upstream.supervisor.list_soon()
        await upstream.until(lambda: tools(upstream) == ["b"])
        assert upstream.events == [State.UP, State.UP]


async def test_an_upstream_that_says_so_at_each_listing_is_listed_ever_more_seldom_and_loses_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "GATHER", 0.001)
    monkeypatch.setattr(pacing, "IDLE_TALK", 0.064)
    wire = listing("a", capabilities={"tools": {"listChanged": True}})
    async with kept(wire, scrub=str) as upstream:
        await upstream.becomes(State.UP)

        def lists(_params: Any, _call: Any) -> Any:
            upstream.supervisor.list_soon()
            return {"tools": [{"name": name} for name in names]}

        names, wire.answers["tools/list"] = ["a"], lists
        upstream.supervisor.list_soon()
        await eventually(lambda: upstream.supervisor.listings.agenda.pace.is_idle_talk)
        assert len(wire.of("tools/list")) <= 9
        assert len(journal.of("upstream.listed_seldom")) == 1
        names.append("b")
        await upstream.until(lambda: tools(upstream) == ["a", "b"])
        upstream.supervisor.lose(wire, "it died")
        await upstream.becomes(State.BACKING_OFF)


async def test_a_listing_that_fails_later_costs_nothing() -> None:
    wire = listing("a", capabilities={"tools": {"listChanged": True}})
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        wire.answers["tools/list"] = RpcError(-1, "not now")
        upstream.supervisor.list_soon()
        await wire.until("tools/list", 2)
        wire.answers["tools/list"] = {"tools": [{"name": "b"}]}
        await asyncio.sleep(0)
        assert upstream.supervisor.state is State.UP
        assert tools(upstream) == ["a"]
        upstream.supervisor.list_soon()
        await upstream.until(lambda: tools(upstream) == ["b"])


BOTH = {"tools": {"listChanged": True}, "prompts": {"listChanged": True}}
BROKEN = RpcError(-32603, "the secret store is shut")


def half(**answers: Any) -> Wire:
    """One whose tools can be listed, and whose prompts cannot."""
    return Wire(capabilities=BOTH, **{"tools__list": {"tools": [{"name": "a"}]}, "prompts__list": BROKEN, **answers})


@pytest.fixture
def relisted_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "RELIST", (0.01, 0.01))


async def test_one_whose_prompts_cannot_be_listed_is_degraded_with_its_tools_and_one_warning(
    journal: Journal, relisted_soon: None
) -> None:
    wire = half()
    async with kept(wire, scrub=lambda text: text.replace("secret", "***")) as upstream:
        await upstream.becomes(State.DEGRADED)
        assert tools(upstream) == ["a"]
        assert upstream.supervisor.condition.reason == "prompts could not be listed: the *** store is shut"
        await wire.until("prompts/list", 4)
        (warning,) = journal.of("upstream.listing_failed")
        assert (warning["level"], warning["upstream"], warning["kinds"]) == ("warning", "up", ["prompts"])
        assert warning["reason"] == upstream.supervisor.condition.reason
        # The same again is no news.
        assert upstream.events == [State.DEGRADED]

        wire.answers["prompts/list"] = {"prompts": [{"name": "p"}]}
        await upstream.until(lambda: not upstream.supervisor.condition.reason)
        assert upstream.events == [State.DEGRADED, State.UP]
        assert upstream.supervisor.catalog is not None
        assert upstream.supervisor.catalog[Kind.PROMPT] == ({"name": "p"},)
        count = len(wire.sent)
        upstream.supervisor.list_soon()
        await wire.until("tools/list", len(wire.of("tools/list")) + 1)
        assert len(wire.sent) == count + 2


async def test_what_cannot_be_listed_is_tried_again_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "RELIST", (10.0, 30.0))
    wire = half()
    async with kept(wire) as upstream:
        await upstream.becomes(State.DEGRADED)
        for count, pause in enumerate((10, 20, 30, 30), 1):
            await wire.until("prompts/list", count)
            await eventually(lambda expected=pause: upstream.supervisor.listings.agenda.relist == expected)  # type: ignore[misc]
            upstream.supervisor.list_soon()


async def test_what_cannot_be_listed_over_the_next_link_stays_as_it_was(pauses: list[float], journal: Journal) -> None:
    first, second = half(prompts__list={"prompts": [{"name": "p"}]}), half()
    async with kept(first, second) as upstream:
        await upstream.becomes(State.UP)
        first.close("it died")
        upstream.supervisor.lose(first, "it died")
        await upstream.until(lambda: upstream.supervisor.open_link() is second)
        await upstream.becomes(State.DEGRADED)
        assert upstream.supervisor.catalog is not None
        assert upstream.supervisor.catalog[Kind.PROMPT] == ({"name": "p"},)
        assert "prompts could not be listed" in upstream.supervisor.condition.reason
        second.close("it died too")
        with pytest.raises(UpstreamUnavailable, match="it is not connected"):
            await upstream.supervisor.obtain_link()


async def test_one_of_which_nothing_can_be_listed_any_more_is_listed_again_too(
    journal: Journal, relisted_soon: None
) -> None:
    wire = listing("a", capabilities={"tools": {"listChanged": True}})
    async with kept(wire) as upstream:
        await upstream.becomes(State.UP)
        wire.answers["tools/list"] = BROKEN
        upstream.supervisor.list_soon()
        await wire.until("tools/list", 4)
        assert upstream.supervisor.state is State.DEGRADED
        assert "it answers, and lists nothing" in upstream.supervisor.condition.reason
        assert "tools could not be listed" in upstream.supervisor.condition.reason
        assert tools(upstream) == ["a"]
        assert len(journal.of("upstream.listing_failed")) == 1
        wire.answers["tools/list"] = {"tools": [{"name": "b"}]}
        await upstream.until(lambda: tools(upstream) == ["b"])


async def test_one_that_would_not_say_is_listed_now_and_then() -> None:
    wire = listing("a")
    async with kept(wire, cache_ttl=0.01) as upstream:
        await upstream.becomes(State.UP)
        await wire.until("tools/list", 3)
        # The same again is no news.
        assert upstream.events == [State.UP]
        wire.answers["tools/list"] = {"tools": [{"name": "b"}]}
        await upstream.until(lambda: tools(upstream) == ["b"])
        assert upstream.events == [State.UP, State.UP]


async def test_one_that_would_not_say_is_listed_now_and_then_however_soon_it_might_be_idle() -> None:
    wire = listing("a")
    async with kept(wire, cache_ttl=0.05, idle_timeout=0.01) as upstream:
        upstream.calls = 1
        await upstream.becomes(State.UP)
        await wire.until("tools/list", 3)
        assert upstream.supervisor.state is State.UP


@pytest.mark.parametrize("capabilities", [ALL, {}])
async def test_one_that_says_what_changes_is_not_listed_without_need(capabilities: Any) -> None:
    wire = Wire(
        capabilities=capabilities,
        tools__list={"tools": []},
        prompts__list={"prompts": []},
        resources__list={"resources": []},
        resources__templates__list={"resourceTemplates": []},
    )
    async with kept(wire, cache_ttl=0.001, idle_timeout=0.002) as upstream:
        upstream.calls = 1
        await upstream.becomes(State.UP)
        count = len(wire.sent)
        await upstream.until(lambda: upstream.looks > 5)
        assert len(wire.sent) == count


# The end


async def test_closing_in_the_middle_of_connecting_leaves_nothing() -> None:
    connecting, cancelled = asyncio.Event(), asyncio.Event()

    async def never() -> Link:
        connecting.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with kept(start=False) as upstream:
        upstream.supervisor._connect = never
        upstream.supervisor.start()
        await connecting.wait()
        waiting = asyncio.create_task(upstream.supervisor.obtain_link())
        await asyncio.sleep(0)
    assert cancelled.is_set()
    with pytest.raises(UpstreamUnavailable):
        await waiting


async def test_closing_in_the_middle_of_listing_closes_the_link() -> None:
    gate = Gate()
    wire = Wire(capabilities=QUIET, tools__list=gate)
    async with kept(wire):
        await gate.entered.wait()
    assert gate.cancelled.is_set()
    assert not wire.is_open


async def test_one_that_is_closed_stays_closed() -> None:
    async with kept(listing("a")) as upstream:
        await upstream.becomes(State.UP)
        await upstream.supervisor.aclose()
        upstream.supervisor.start()
        await upstream.supervisor.aclose()
        with pytest.raises(UpstreamUnavailable):
            await upstream.supervisor.obtain_link()
        assert upstream.supervisor.state is State.STOPPED


async def test_an_upstream_that_never_takes_what_it_is_told_again_is_given_up(pauses: list[float]) -> None:
    """Subscriptions, for one: they are made again over a new link."""
    async with kept(listing("a"), listing("b"), start=False, list_timeout=0.05) as upstream:
        upstream.on_opened = asyncio.Event().wait
        upstream.supervisor.start()
        await upstream.becomes(State.BACKING_OFF)
        assert "did not" in upstream.supervisor.condition.reason
        upstream.on_opened = None
        await upstream.becomes(State.UP)


async def test_a_session_that_has_expired_is_replaced_at_once_and_who_needs_it_waits_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervising, "RENEWABLE", -1.0)
    gate = Gate({"tools": []})
    first, second = listing("a"), Wire(capabilities=QUIET, tools__list=gate)
    async with kept(first, second) as upstream:
        await upstream.becomes(State.UP)
        first.has_expired = True
        first.close("the session has expired")
        upstream.supervisor.lose(first, "the session has expired")
        waiting = asyncio.create_task(upstream.supervisor.obtain_link())
        await gate.entered.wait()
        assert not waiting.done()
        gate.open.set()
        async with asyncio.timeout(DEADLINE):
            assert await waiting is second
        assert State.BACKING_OFF not in upstream.events


async def test_a_session_that_expires_as_soon_as_it_is_opened_is_an_upstream_that_is_down(pauses: list[float]) -> None:
    first = listing("a")
    async with kept(first, listing("a")) as upstream:
        await upstream.becomes(State.UP)
        first.has_expired = True
        upstream.supervisor.lose(first, "the session has expired")
        first.close("the session has expired")
        with pytest.raises(UpstreamUnavailable, match="the session has expired"):
            await upstream.supervisor.obtain_link()
        await upstream.becomes(State.BACKING_OFF)
        await upstream.becomes(State.UP)


async def test_who_needs_an_upstream_that_is_down_lets_it_try_again_before_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF", (3600.0, 3600.0))
    monkeypatch.setattr(backoff, "IMPATIENCE", -1.0)
    async with kept(UpstreamUnavailable("up", "it refuses"), listing("a")) as upstream:
        await upstream.becomes(State.BACKING_OFF)
        # So that it has begun to wait.
        await asyncio.sleep(0)
        with pytest.raises(UpstreamUnavailable, match="it refuses"):
            await upstream.supervisor.obtain_link()
        await upstream.becomes(State.UP)


async def test_a_defect_while_it_is_watched_costs_an_upstream_its_link_and_no_more(pauses: list[float]) -> None:
    first = listing("a")
    async with kept(first, listing("b")) as upstream:
        await upstream.becomes(State.UP)
        first.answers["tools/list"] = ZeroDivisionError
        upstream.supervisor.list_soon()
        await upstream.becomes(State.BACKING_OFF)
        await upstream.becomes(State.UP)
        assert tools(upstream) == ["b"]
