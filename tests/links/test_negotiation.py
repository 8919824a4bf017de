"""Finding the era: over a connection whose answers the test decides, and with servers of the SDK."""

import asyncio
from typing import Any

import pytest
from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.links import negotiation
from meshproxy.links.faults import Faults
from meshproxy.links.memory import MemoryEndpoint
from meshproxy.links.negotiation import EraRefusedError, RefusedError, negotiate
from meshproxy.links.stdio import StdioEndpoint
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.wire.codec import Raw, dumps
from meshproxy.wire.protocol import Era
from tests.kit.links import Calls, call, connect
from tests.kit.places import ROOT
from tests.kit.processes import nothing_left
from tests.kit.running import command
from tests.kit.waiting import DEADLINE
from tests.servers import basic

pytestmark = pytest.mark.anyio

MODERN = {"supportedVersions": ["2027-01-01", "2026-07-28"], "capabilities": {"tools": {}}}
LEGACY = {"protocolVersion": "2025-06-18", "capabilities": {}}
NO = RpcError(-32601, "Method not found")


class Peer:
    """Answers with what it was made with: a result, an error, or nothing, forever."""

    def __init__(self, discover: Any, initialize: Any) -> None:
        self.answers = {"discover": discover, "initialize": initialize}
        self.asked: list[str] = []
        self.given_up: list[str] = []

    async def discover(self, version: str) -> Raw:
        assert version == "2026-07-28"
        return await self._answer("discover")

    async def initialize(self) -> Raw:
        return await self._answer("initialize")

    async def _answer(self, method: str) -> Raw:
        self.asked.append(method)
        answer = self.answers[method]
        try:
            if isinstance(answer, asyncio.Future):
                answer = await answer
        except asyncio.CancelledError:
            self.given_up.append(method)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Raw) else Raw(dumps(answer))


def never() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(negotiation, "HEAD_START", 0.02)


async def test_a_good_answer_to_the_probe_needs_no_handshake():
    peer = Peer(MODERN, LEGACY)
    assert await negotiate(Faults("x"), peer) == (Era.MODERN, "2026-07-28", MODERN)
    assert peer.asked == ["discover"]


@pytest.mark.parametrize(
    "no",
    [
        NO,
        RpcError(-32022, "no", {"supported": ["2025-11-25"]}),
        AnswerLost("x", "gone"),
        RefusedError("x", "it answered HTTP 404"),
        {},
        {"supportedVersions": ["2025-11-25"]},
        {"supportedVersions": "2026-07-28"},
        [],
        None,
        pytest.param(Raw(b"nonsense"), id="nonsense"),
    ],
    ids=repr,
)
async def test_anything_else_leads_to_the_handshake_at_once(no, monkeypatch):
    monkeypatch.setattr(negotiation, "HEAD_START", 3600)
    peer = Peer(no, LEGACY)
    async with asyncio.timeout(DEADLINE):
        assert await negotiate(Faults("x"), peer) == (Era.LEGACY, "2025-06-18", LEGACY)
    assert peer.asked == ["discover", "initialize"]


async def test_a_version_that_the_refusal_names_is_asked_for():
    class Picky(Peer):
        async def discover(self, version):
            try:
                return await super().discover(version)
            finally:
                self.answers["discover"] = MODERN

    peer = Picky(RpcError(-32022, "not so", {"supported": ["2026-07-28"]}), LEGACY)
    assert (await negotiate(Faults("x"), peer)).era is Era.MODERN
    assert peer.asked == ["discover", "discover"]


async def test_silence_leads_to_the_handshake_beside_the_probe():
    async with nothing_left():
        peer = Peer(never(), LEGACY)
        assert (await negotiate(Faults("x"), peer)).era is Era.LEGACY
        assert peer.given_up == ["discover"]


async def test_a_late_answer_to_the_probe_still_counts():
    async with nothing_left():
        peer = Peer(never(), never())
        asking = asyncio.create_task(negotiate(Faults("x"), peer))
        async with asyncio.timeout(DEADLINE):
            while len(peer.asked) < 2:
                await asyncio.sleep(0.001)
            peer.answers["discover"].set_result(MODERN)
            assert (await asking).era is Era.MODERN
        assert peer.given_up == ["initialize"]


async def test_a_handshake_that_is_refused_leaves_the_probe_its_time():
    peer = Peer(never(), RpcError(-32022, "modern only"))
    asking = asyncio.create_task(negotiate(Faults("x"), peer))
    async with asyncio.timeout(DEADLINE):
        while len(peer.asked) < 2:
            await asyncio.sleep(0.001)
        peer.answers["discover"].set_result(MODERN)
        assert (await asking).era is Era.MODERN


async def test_an_unreachable_upstream_is_asked_no_further():
    peer = Peer(UpstreamUnavailable("x", "refused"), LEGACY)
    with pytest.raises(UpstreamUnavailable, match="refused"):
        await negotiate(Faults("x"), peer)
    assert peer.asked == ["discover"]


@pytest.mark.parametrize(
    ("discover", "initialize", "reason"),
    [
        (NO, RpcError(-5, "not today"), r"refused the handshake: not today \(-5\)"),
        (NO, {}, "the result of initialize says nothing of the server"),
        (NO, {"echo": {"protocolVersion": "2025-11-25"}}, "the result of initialize says nothing of the server"),
        (NO, [], "the result of initialize is no object"),
        (
            {"supportedVersions": ["2031-01-01"]},
            RpcError(-32022, "no"),
            "it speaks the versions 2031-01-01, and none of",
        ),
        (NO, AnswerLost("x", "the process exited"), "^x: the process exited$"),
        (NO, RefusedError("x", "it answered HTTP 401"), "^x: it answered HTTP 401$"),
    ],
)
async def test_a_no_on_both_ways_is_told_with_the_reason_that_says_most(discover, initialize, reason):
    with pytest.raises(UpstreamUnavailable, match=reason):
        await negotiate(Faults("x"), Peer(discover, initialize))


@pytest.mark.parametrize(
    ("named", "spoken"),
    [
        ("2024-10-07", "2024-11-05"),
        ("2025-04-01", "2025-03-26"),
        ("2025-12-31", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1.0", "2024-11-05"),
        ("DRAFT-2026-v1", "2024-11-05"),
        (20250326, "2024-11-05"),
        (["2025-06-18"], "2024-11-05"),
        (None, "2024-11-05"),
    ],
)
async def test_a_version_that_is_none_is_spoken_as_the_one_before_it(named, spoken, journal):
    faults = Faults("x")
    for _ in range(2):
        opening = await negotiate(faults, Peer(NO, {"protocolVersion": named, "capabilities": {}}))
        assert (opening.era, opening.version) == (Era.LEGACY, spoken)
    (said,) = journal.of("upstream.mended")
    assert (said["upstream"], said["consequence"]) == ("x", f"{spoken} is spoken with it")
    assert repr(named) in said["reason"]


@pytest.mark.parametrize(
    ("said", "meant", "count"),
    [
        ({"tools": {"listChanged": True}, "x": {}}, {"tools": {"listChanged": True}, "x": {}}, 0),
        ({"tools": None, "logging": False, "prompts": {}}, {"prompts": {}}, 0),
        ({"tools": [], "prompts": True, "logging": "yes"}, {"tools": {}, "prompts": {}, "logging": {}}, 1),
        (["tools", "prompts", 3], {"tools": {}, "prompts": {}}, 1),
        ([], {}, 1),
        (None, {}, 1),
        ("tools", {}, 1),
    ],
)
@pytest.mark.parametrize("era", Era)
async def test_capabilities_are_taken_as_they_are_meant(said, meant, count, era, journal):
    modern = {**MODERN, "capabilities": said} if era is Era.MODERN else NO
    opening = await negotiate(Faults("x"), Peer(modern, {**LEGACY, "capabilities": said}))
    assert (opening.era, opening.server["capabilities"]) == (era, meant)
    assert len(journal.of("upstream.mended")) == count


async def test_a_server_that_does_not_say_its_capabilities_has_none():
    opening = await negotiate(Faults("x"), Peer(NO, {"protocolVersion": "2025-06-18"}))
    assert opening.server == {"protocolVersion": "2025-06-18", "capabilities": {}}


@pytest.mark.parametrize(
    ("remembered", "peer", "asked"),
    [
        (Era.LEGACY, (MODERN, LEGACY), ["initialize"]),
        (Era.MODERN, (MODERN, LEGACY), ["discover"]),
        (Era.LEGACY, (MODERN, NO), ["initialize", "discover"]),
        (Era.MODERN, (NO, LEGACY), ["discover", "initialize"]),
    ],
)
async def test_a_remembered_era_is_asked_for_first_and_alone(remembered, peer, asked):
    made = Peer(*peer)
    await negotiate(Faults("x"), made, remembered)
    assert made.asked == asked


@pytest.mark.parametrize(("era", "asked"), [(Era.LEGACY, "initialize"), (Era.MODERN, "discover")])
async def test_one_era_can_be_asked_for_whatever_is_remembered(era, asked):
    for remembered in (None, Era.LEGACY, Era.MODERN):
        peer = Peer(MODERN, LEGACY)
        assert (await negotiate(Faults("x"), peer, remembered, era)).era is era
        assert peer.asked == [asked]


@pytest.mark.parametrize(
    ("answer", "is_verdict"),
    [
        (NO, True),
        (RpcError(-32022, "Unsupported protocol version"), True),
        (RpcError(-32600, "Invalid request"), True),
        (RpcError(-32603, "it broke"), False),
        (RpcError(-32000, "too many sessions"), False),
        (AnswerLost("x", "the process exited"), False),
        (RefusedError("x", "it answered HTTP 503"), False),
    ],
)
async def test_only_a_clear_no_says_that_an_era_is_not_spoken(answer, is_verdict):
    for era in (Era.LEGACY, Era.MODERN):
        peer = Peer(answer, answer)
        with pytest.raises(UpstreamUnavailable) as refused:
            await negotiate(Faults("x"), peer, None, era)
        assert isinstance(refused.value, EraRefusedError) is is_verdict
        assert len(peer.asked) == 1


async def test_cancelling_takes_both_attempts_along():
    async with nothing_left():
        peer = Peer(never(), never())
        asking = asyncio.create_task(negotiate(Faults("x"), peer))
        async with asyncio.timeout(DEADLINE):
            while len(peer.asked) < 2:
                await asyncio.sleep(0.001)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert peer.given_up == ["discover", "initialize"]


@pytest.mark.parametrize("era", ["dual", "legacy", "modern"])
async def test_a_server_of_the_sdk_is_spoken_to_in_its_newest_era(era):
    async with nothing_left():
        link = await connect(StdioEndpoint("basic", *split(command("basic", "--era", era)), {}, str(ROOT)))
        assert link.era is (Era.LEGACY if era == "legacy" else Era.MODERN)
        wants = Calls(wants_progress=True)
        assert text(await call(link, "progress", wants, n=3)) == "3"
        assert [told[1]["progress"] for told in wants.told] == [1, 2, 3]
        await link.aclose()


async def test_a_slow_server_of_both_eras_is_modern_although_the_handshake_was_tried_meanwhile():
    link = await connect(
        StdioEndpoint("slow", *split(command("slow_start", "--seconds", "1.5")), {}, str(ROOT)), timeout=DEADLINE
    )
    assert link.era is Era.MODERN
    assert text(await call(link, "echo", text="hello")) == "hello"
    await link.aclose()


@pytest.mark.parametrize("era", ["dual", "legacy", "modern"])
async def test_a_server_of_the_sdk_over_http_likewise(era, shared_server):
    endpoint = HttpEndpoint("basic", shared_server("basic", era=era).url)
    async with nothing_left():
        link = await connect(endpoint)
        assert link.era is endpoint.known.era is (Era.LEGACY if era == "legacy" else Era.MODERN)
        assert text(await call(link, "echo", text="hello")) == "hello"
        await endpoint.aclose()


@pytest.mark.parametrize("transport", ["stdio", "http", "memory"])
async def test_a_server_of_both_eras_is_spoken_to_in_the_one_that_is_asked_for(transport, shared_server):
    if transport == "memory":
        endpoint = MemoryEndpoint("basic", basic.kit().server())
    elif transport == "http":
        endpoint = HttpEndpoint("basic", shared_server("basic").url)
    else:
        endpoint = StdioEndpoint("basic", *split(command("basic")), {}, str(ROOT))
    async with nothing_left():
        links = [await connect(endpoint, era=era) for era in (Era.LEGACY, Era.MODERN, Era.LEGACY)]
        assert [link.era for link in links] == [Era.LEGACY, Era.MODERN, Era.LEGACY]
        for link in links:
            assert text(await call(link, "echo", text="hello")) == "hello"
        # What was asked for says nothing of what would be found.
        assert endpoint.known.era is None
        await endpoint.aclose()


def text(result):
    return result["content"][0]["text"]


def split(line: list[str]) -> tuple[str, tuple[str, ...]]:
    return line[0], tuple(line[1:])
