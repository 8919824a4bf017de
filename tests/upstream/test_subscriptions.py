"""Who waits for updates of a resource hears of them, and the upstream is told no more than it must be."""

import asyncio
from typing import Any

import pytest
from meshproxy.errors import RpcError, UpstreamUnavailable
from meshproxy.links import listen_stream
from meshproxy.links.listen_stream import ACKNOWLEDGED, ListenStream
from meshproxy.upstream.subscriptions import Subscriptions
from meshproxy.wire.protocol import Era
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.wires import Gate, Wire

pytestmark = pytest.mark.anyio

NOTHING_TO_LIST = {"resources": {"subscribe": True}}


class Holder:
    """Somebody who subscribes, and what it hears."""

    def __init__(self, subscriptions: Subscriptions, key: str) -> None:
        self.subscriptions = subscriptions
        self.key = key
        self.heard: list[str] = []

    async def subscribe(self, link: Wire, uri: str, *, is_own: bool = False) -> None:
        sink = lambda updated, _params: self.heard.append(updated)  # noqa: E731  # one line of glue
        async with asyncio.timeout(DEADLINE):
            await self.subscriptions.subscribe(link, self.key, uri, sink, is_own=is_own)

    async def unsubscribe(self, uri: str, *, own: Wire | None = None, control: Wire | None = None) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.subscriptions.unsubscribe(self.key, uri, own=own, control=control)


def holders(subscriptions: Subscriptions, count: int = 2) -> list[Holder]:
    return [Holder(subscriptions, f"holder {n}") for n in range(count)]


def updated(subscriptions: Subscriptions, uri: str, holder: str | None = None) -> None:
    subscriptions.deliver(holder, uri, {"uri": uri})


async def test_all_who_share_a_link_share_one_subscription_for_each_resource() -> None:
    subscriptions, control = Subscriptions(), Wire()
    first, second = holders(subscriptions)
    assert not subscriptions
    for holder in (first, second, first):
        await holder.subscribe(control, "x://y")
    await second.subscribe(control, "x://z")
    assert subscriptions
    assert control.sent == [("resources/subscribe", {"uri": "x://y"}), ("resources/subscribe", {"uri": "x://z"})]
    updated(subscriptions, "x://y")
    updated(subscriptions, "x://z")
    updated(subscriptions, "x://else")
    assert (first.heard, second.heard) == (["x://y"], ["x://y", "x://z"])

    control.sent.clear()
    await first.unsubscribe("x://y", control=control)
    await first.unsubscribe("x://y", control=control)
    await first.unsubscribe("x://z", control=control)
    assert control.sent == []
    await second.unsubscribe("x://y", control=control)
    assert control.sent == [("resources/unsubscribe", {"uri": "x://y"})]
    updated(subscriptions, "x://y")
    assert first.heard == ["x://y"]


async def test_a_session_with_a_link_of_its_own_subscribes_over_it() -> None:
    subscriptions, control = Subscriptions(), Wire()
    first, second = holders(subscriptions)
    links = [Wire(), Wire()]
    for holder, link in zip((first, second), links, strict=True):
        await holder.subscribe(link, "x://y", is_own=True)
    updated(subscriptions, "x://y", first.key)
    updated(subscriptions, "x://y", "somebody else")
    updated(subscriptions, "x://y")
    assert (first.heard, second.heard) == (["x://y"], [])
    await first.unsubscribe("x://y", own=links[0], control=control)
    assert [method for method, _ in links[0].sent] == ["resources/subscribe", "resources/unsubscribe"]
    assert control.sent == []


async def test_a_subscription_ends_where_it_was_made_even_if_its_holder_has_a_link_of_its_own_by_now() -> None:
    subscriptions, control, own = Subscriptions(), Wire(), Wire()
    (holder,) = holders(subscriptions, 1)
    await holder.subscribe(control, "x://y")
    await holder.unsubscribe("x://y", own=own, control=control)
    assert control.of("resources/unsubscribe") == [{"uri": "x://y"}]
    assert own.sent == []
    assert not subscriptions


async def test_a_subscription_ends_even_while_there_is_no_link() -> None:
    subscriptions = Subscriptions()
    first, second = holders(subscriptions)
    await first.subscribe(Wire(), "x://y")
    await second.subscribe(Wire(), "x://y", is_own=True)
    await first.unsubscribe("x://y")
    await second.unsubscribe("x://y")
    assert not subscriptions


async def test_a_subscription_that_is_refused_is_none() -> None:
    subscriptions, control = Subscriptions(), Wire(resources__subscribe=RpcError(-32002, "no such resource"))
    first, second = holders(subscriptions)
    with pytest.raises(RpcError, match="no such resource"):
        await first.subscribe(control, "x://y")
    with pytest.raises(RpcError):
        await second.subscribe(control, "x://y", is_own=True)
    updated(subscriptions, "x://y")
    updated(subscriptions, "x://y", second.key)
    assert first.heard == second.heard == []
    assert not subscriptions


async def test_two_who_subscribe_at_once_wait_for_the_same_answer() -> None:
    gate = Gate(RpcError(-1, "no"))
    subscriptions, control = Subscriptions(), Wire(resources__subscribe=gate)
    both = [asyncio.create_task(holder.subscribe(control, "x://y")) for holder in holders(subscriptions)]
    await gate.entered.wait()
    gate.open.set()
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RpcError, RpcError]
    assert len(control.sent) == 1
    assert not subscriptions


async def test_the_first_ones_leaving_does_not_spoil_it_for_the_second() -> None:
    gate = Gate()
    subscriptions, control = Subscriptions(), Wire(resources__subscribe=gate)
    first, second = holders(subscriptions)
    leaving = asyncio.create_task(first.subscribe(control, "x://y"))
    await gate.entered.wait()
    staying = asyncio.create_task(second.subscribe(control, "x://y"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.open.set()
    await staying
    updated(subscriptions, "x://y")
    assert (first.heard, second.heard) == ([], ["x://y"])


@pytest.mark.parametrize(
    ("subscribed", "part", "is_part"),
    [
        ("x://y", "x://y/z", True),
        ("x://y/", "x://y/z", True),
        ("x://y", "x://yz", False),
        ("x://y/z", "x://y", False),
    ],
)
async def test_an_update_of_a_part_is_an_update(subscribed: str, part: str, *, is_part: bool) -> None:
    subscriptions = Subscriptions()
    shared, own = holders(subscriptions)
    await shared.subscribe(Wire(), subscribed)
    await own.subscribe(Wire(), subscribed, is_own=True)
    updated(subscriptions, part)
    updated(subscriptions, part, own.key)
    assert shared.heard == own.heard == ([part] if is_part else [])


async def test_one_update_is_told_once_however_many_subscriptions_cover_it() -> None:
    subscriptions = Subscriptions()
    shared, own = holders(subscriptions)
    for uri in ("x://y", "x://y/z"):
        await shared.subscribe(Wire(), uri)
        await own.subscribe(Wire(), uri, is_own=True)
    updated(subscriptions, "x://y/z")
    updated(subscriptions, "x://y/z", own.key)
    assert shared.heard == own.heard == ["x://y/z"]


async def test_who_is_gone_is_forgotten_and_the_upstream_told_what_nobody_wants() -> None:
    subscriptions, control = Subscriptions(), Wire()
    first, second = holders(subscriptions)
    for uri in ("x://1", "x://2", "x://3"):
        await first.subscribe(control, uri)
    await second.subscribe(control, "x://2")
    await first.subscribe(Wire(), "x://4", is_own=True)
    unwanted = subscriptions.drop(first.key)
    assert unwanted == ("x://1", "x://3")
    # Somebody comes for one of them in between.
    await second.subscribe(control, "x://3")
    await subscriptions.trim(control, unwanted)
    assert control.of("resources/unsubscribe") == [{"uri": "x://1"}]
    updated(subscriptions, "x://1")
    assert first.heard == []


async def test_a_new_link_is_told_it_all_again_and_what_it_refuses_costs_only_itself() -> None:
    subscriptions, old = Subscriptions(), Wire()
    first, own = holders(subscriptions)
    for uri in ("x://1", "x://gone", "x://3"):
        await first.subscribe(old, uri)
        await own.subscribe(old, uri, is_own=True)

    def answer(params: Any, _call: Any) -> Any:
        return RpcError(-32002, "it is gone") if params["uri"] == "x://gone" else {}

    control, session = Wire(resources__subscribe=answer), Wire(resources__subscribe=answer)
    await subscriptions.open(control, lambda *_: None)
    await subscriptions.replay(session, own.key)
    for link in (control, session):
        assert [params["uri"] for params in link.of("resources/subscribe")] == ["x://1", "x://gone", "x://3"]
    updated(subscriptions, "x://3")
    updated(subscriptions, "x://3", own.key)
    assert first.heard == own.heard == ["x://3"]


async def test_a_link_that_is_lost_while_it_is_told_is_lost() -> None:
    subscriptions = Subscriptions()
    await holders(subscriptions)[0].subscribe(Wire(), "x://1")
    lost = Wire()
    lost.close("it died")
    with pytest.raises(UpstreamUnavailable):
        await subscriptions.open(lost, lambda *_: None)


async def test_who_subscribes_while_a_new_link_is_told_is_not_forgotten() -> None:
    gate = Gate()
    subscriptions = Subscriptions()
    first, second = holders(subscriptions)
    await first.subscribe(Wire(), "x://1")
    control = Wire(resources__subscribe=gate)
    opening = asyncio.create_task(subscriptions.open(control, lambda *_: None))
    await gate.entered.wait()
    joining = asyncio.create_task(second.subscribe(control, "x://2"))
    await control.until("resources/subscribe", 2)
    gate.open.set()
    await asyncio.gather(opening, joining)
    updated(subscriptions, "x://2")
    assert second.heard == ["x://2"]


# Over the stream of a modern upstream


class Streams:
    """The listen streams of a modern upstream: each is acknowledged when it opens, or refused."""

    def __init__(self, **capabilities: Any) -> None:
        self.open: list[dict[str, Any]] = []
        self.calls: list[Any] = []
        self.most = 0
        self.refusal: RpcError | None = None
        self.is_silent = False
        self.ends: list[asyncio.Event] = []
        self.link = Wire(Era.MODERN, capabilities or None, subscriptions__listen=self.listen)

    async def listen(self, params: dict[str, Any], call: Any) -> Any:
        if self.refusal is not None:
            return self.refusal
        end = asyncio.Event()
        self.open.append(params["notifications"])
        self.calls.append(call)
        self.ends.append(end)
        self.most = max(self.most, len(self.open))
        try:
            if not self.is_silent:
                call.on_notification(ACKNOWLEDGED, {"notifications": params["notifications"]})
            await end.wait()
        finally:
            self.open.remove(params["notifications"])
        return {"resultType": "complete"}

    @property
    def uris(self) -> list[list[str]]:
        return [wanted.get("resourceSubscriptions", []) for wanted in self.open]


async def test_a_modern_upstream_has_one_stream_that_says_all_that_is_wanted() -> None:
    streams, subscriptions, told = Streams(), Subscriptions(), []
    await subscriptions.open(streams.link, lambda method, params: told.append((method, params)))
    assert streams.open == [{"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}]
    first, second = holders(subscriptions)
    await first.subscribe(streams.link, "x://1")
    await second.subscribe(streams.link, "x://1")
    await second.subscribe(streams.link, "x://2")
    assert streams.uris == [["x://1", "x://2"]]
    assert streams.link.of("resources/subscribe") == []
    # The next one was there before the last one was closed, so that nothing was missed.
    assert streams.most == 2
    streams.calls[-1].on_notification("notifications/resources/updated", {"uri": "x://1"})
    assert told == [("notifications/resources/updated", {"uri": "x://1"})]

    await second.unsubscribe("x://1", control=streams.link)
    await second.unsubscribe("x://2", control=streams.link)
    assert streams.uris == [["x://1"]]
    await subscriptions.aclose()
    assert streams.open == []


async def test_while_streams_are_exchanged_an_update_is_told_once() -> None:
    # The next stream says all that the last one says from its acknowledgement on, and the last one goes on until it is closed.
    streams, subscriptions, told = Streams(), Subscriptions(), []
    await subscriptions.open(streams.link, lambda _, params: told.append(params["uri"]))
    first, second = holders(subscriptions)
    await first.subscribe(streams.link, "x://1")
    await second.subscribe(streams.link, "x://2")
    last, acknowledged = streams.calls[-1], asyncio.Event()
    told_by = streams.listen

    async def listen(params: dict[str, Any], call: Any) -> Any:
        for uri in ("x://1", "x://2"):
            last.on_notification("notifications/resources/updated", {"uri": uri})
        listening = asyncio.ensure_future(told_by(params, call))
        await asyncio.sleep(0)
        for heard_by in (last, call):
            heard_by.on_notification("notifications/resources/updated", {"uri": "x://1"})
        acknowledged.set()
        return await listening

    streams.link.answers["subscriptions/listen"] = listen
    await second.unsubscribe("x://2", control=streams.link)
    assert acknowledged.is_set()
    assert told == ["x://1", "x://2", "x://1"]
    await subscriptions.aclose()


async def test_an_upstream_without_anything_to_hear_has_no_stream() -> None:
    streams, subscriptions = Streams(**NOTHING_TO_LIST), Subscriptions()
    await subscriptions.open(streams.link, lambda *_: None)
    (holder,) = holders(subscriptions, 1)
    assert streams.open == []
    await holder.subscribe(streams.link, "x://1")
    assert streams.open == [{"resourceSubscriptions": ["x://1"]}]
    await holder.unsubscribe("x://1", control=streams.link)
    assert streams.open == []


async def test_a_modern_upstream_that_refuses_to_be_listened_to_is_used_all_the_same() -> None:
    streams, subscriptions = Streams(), Subscriptions()
    streams.refusal = RpcError(-32601, "Method not found")
    await subscriptions.open(streams.link, lambda *_: None)
    (holder,) = holders(subscriptions, 1)
    with pytest.raises(RpcError, match="Method not found"):
        await holder.subscribe(streams.link, "x://1")
    assert not subscriptions
    await subscriptions.aclose()


async def test_what_was_heard_is_heard_still_if_more_is_refused() -> None:
    streams, subscriptions = Streams(), Subscriptions()
    await subscriptions.open(streams.link, lambda *_: None)
    first, second = holders(subscriptions)
    await first.subscribe(streams.link, "x://1")
    streams.refusal = RpcError(-1, "too many")
    with pytest.raises(RpcError, match="too many"):
        await second.subscribe(streams.link, "x://2")
    assert streams.uris == [["x://1"]]
    streams.refusal = None
    await second.subscribe(streams.link, "x://3")
    assert streams.uris == [["x://1", "x://3"]]
    await subscriptions.aclose()
    assert streams.open == []


async def test_streams_that_are_exchanged_at_once_end_in_one() -> None:
    streams, subscriptions = Streams(), Subscriptions()
    await subscriptions.open(streams.link, lambda *_: None)
    many = holders(subscriptions, 5)
    await asyncio.gather(*(holder.subscribe(streams.link, f"x://{holder.key}") for holder in many))
    assert [sorted(uris) for uris in streams.uris] == [[f"x://holder {n}" for n in range(5)]]
    await asyncio.gather(*(holder.unsubscribe(f"x://{holder.key}", control=streams.link) for holder in many))
    assert streams.uris == [[]]
    await subscriptions.aclose()
    assert streams.open == []


async def test_a_stream_that_ends_is_opened_again_and_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_stream, "REOPEN_PAUSE", 0.0)
    streams, told = Streams(tools={"listChanged": True}, prompts={}), asyncio.Queue[str]()
    ear = ListenStream(streams.link, lambda method, _params: told.put_nowait(method))
    await ear.hear(["x://1"])
    for number in range(1, 3):
        streams.ends[-1].set()
        await streams.link.until("subscriptions/listen", number + 1)
        async with asyncio.timeout(DEADLINE):
            assert await told.get() == "notifications/tools/list_changed"
        assert streams.uris == [["x://1"]]
    assert told.empty()
    await ear.aclose()
    assert streams.open == []


async def test_a_stream_is_opened_again_after_a_refusal_that_followed_an_agreement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listen_stream, "REOPEN_PAUSE", 0.0)
    streams = Streams()
    ear = ListenStream(streams.link, lambda *_: None)
    await ear.hear(())
    streams.refusal = RpcError(-1, "not now")
    streams.ends[-1].set()
    await streams.link.until("subscriptions/listen", 3)
    streams.refusal = None
    await eventually(lambda: len(streams.open) == 1)
    await ear.aclose()


async def test_an_upstream_that_never_agrees_keeps_nobody_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_stream, "ACKNOWLEDGE_TIMEOUT", 0.01)
    streams = Streams()
    streams.is_silent = True
    ear = ListenStream(streams.link, lambda *_: None)
    async with asyncio.timeout(DEADLINE):
        await ear.hear(())
    await ear.aclose()
    assert streams.open == []


async def test_an_upstream_that_ends_a_stream_without_a_word_is_not_listened_to() -> None:
    mute = Wire(Era.MODERN, subscriptions__listen={"resultType": "complete"})
    ear = ListenStream(mute, lambda *_: None)
    async with asyncio.timeout(1):
        await ear.hear(())
    assert len(mute.sent) == 1
    await ear.aclose()


async def test_a_stream_of_which_the_opening_is_cancelled_leaves_nothing() -> None:
    streams = Streams()
    streams.is_silent = True
    ear = ListenStream(streams.link, lambda *_: None)
    hearing = asyncio.create_task(ear.hear(()))
    await streams.link.until("subscriptions/listen")
    hearing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hearing
    assert streams.open == []
    await ear.aclose()


async def test_a_stream_is_nobodys_call_and_is_asked_nothing() -> None:
    streams = Streams()
    ear = ListenStream(streams.link, lambda *_: None)
    await ear.hear(())
    (call,) = streams.calls
    assert (call.owner, call.timeout, call.wants_progress) == (None, None, False)
    with pytest.raises(RpcError):
        await call.on_request("roots/list", {})
    await ear.aclose()
