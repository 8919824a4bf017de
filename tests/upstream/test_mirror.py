"""Whether a modern upstream takes the handshake is found out by trying, and remembered as far as it is certain."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproxy.errors import UpstreamUnavailable
from meshproxy.links.known import Known
from meshproxy.links.negotiation import EraRefusedError
from meshproxy.upstream import mirror
from meshproxy.upstream.common import Common
from meshproxy.upstream.mirror import Counterpart, Mirror
from meshproxy.upstream.uses import Uses
from tests.kit.clients import Legacy
from tests.kit.handlers import Quiet
from tests.kit.waiting import eventually, within
from tests.kit.wires import Wire

pytestmark = pytest.mark.anyio

LATE = UpstreamUnavailable("up", "it did not answer initialize")
NO = EraRefusedError("up", "refused the handshake")


class Opener:
    """Opens wires as soon as it is let through, or fails."""

    def __init__(self) -> None:
        self.made: list[Wire] = []
        self.begun = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Wire:
        self.begun += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.made.append(Wire())
        return self.made[-1]


async def all_at_once(found: Mirror, opener: Opener, count: int = 3) -> list[Any]:
    opener.gate.clear()
    attempts = [asyncio.create_task(found.open(opener)) for _ in range(count)]
    await asyncio.sleep(0)
    opener.gate.set()
    return await within(asyncio.gather(*attempts, return_exceptions=True))


async def test_a_handshake_that_works_says_that_both_eras_are_spoken() -> None:
    known, opener = Known(), Opener()
    found = Mirror("up", known)
    assert known.may_have_handshake
    assert len(await all_at_once(found, opener)) == len(opener.made) == 3
    assert known.has_handshake is True
    # From then on a failure is one of the moment, and whose call it is is told.
    opener.failure = LATE
    with pytest.raises(UpstreamUnavailable):
        await found.open(opener)
    assert known.may_have_handshake


async def test_a_clear_no_is_remembered() -> None:
    known, opener = Known(), Opener()
    found = Mirror("up", known)
    opener.failure = NO
    with pytest.raises(EraRefusedError):
        await found.open(opener)
    assert (known.has_handshake, known.may_have_handshake) == (False, False)
    known.doubt()
    assert known.may_have_handshake


async def test_those_who_wait_for_an_attempt_that_fails_do_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "AGAIN", (1000.0, 1500.0))
    known, opener = Known(), Opener()
    found = Mirror("up", known)
    opener.failure = LATE
    outcomes = await all_at_once(found, opener)
    assert [type(outcome) for outcome in outcomes] == [UpstreamUnavailable] * 3
    assert opener.begun == 1
    assert (known.has_handshake, known.may_have_handshake) == (None, False)
    # The pauses grow, and an attempt that works ends them.
    assert found._pause == 1000.0
    known.again = 0.0
    with pytest.raises(UpstreamUnavailable):
        await found.open(opener)
    assert found._pause == 1500.0
    known.again, opener.failure = 0.0, None
    await found.open(opener)
    assert (known.has_handshake, known.may_have_handshake) == (True, True)


class Sharing:
    """A counterpart, and who uses it."""

    def __init__(self) -> None:
        self.opener = Opener()
        self.counterpart = Counterpart("up", self.opener, self._make)

    def _make(self, link: Any, on_unused: Any) -> Common:
        return Common(link, Known(), Uses(), on_unused)


@pytest.fixture
async def sharing() -> AsyncIterator[Sharing]:
    made = Sharing()
    yield made
    await within(made.counterpart.aclose())
    assert not any(wire.is_open for wire in made.opener.made)


async def test_a_counterpart_is_opened_once_for_all_who_want_it_and_survives_the_leaving_of_one(
    sharing: Sharing,
) -> None:
    sharing.opener.gate.clear()
    leaving, *staying = [asyncio.create_task(sharing.counterpart.obtain()) for _ in range(3)]
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    sharing.opener.gate.set()
    assert len({await within(task) for task in staying}) == 1
    assert sharing.opener.begun == 1


async def test_an_opening_that_fails_is_tried_again_by_the_next(sharing: Sharing) -> None:
    sharing.opener.failure = LATE
    outcomes = await asyncio.gather(*(sharing.counterpart.obtain() for _ in range(2)), return_exceptions=True)
    assert outcomes == [LATE, LATE]
    sharing.opener.failure = None
    assert (await sharing.counterpart.obtain()).link.is_open


async def test_closing_ends_an_opening_and_tells_who_waits(sharing: Sharing) -> None:
    sharing.opener.gate.clear()
    waiting = asyncio.create_task(sharing.counterpart.obtain())
    await asyncio.sleep(0)
    await within(sharing.counterpart.aclose())
    with pytest.raises(UpstreamUnavailable, match="closed while"):
        await waiting


async def test_one_that_nobody_came_to_use_is_closed(sharing: Sharing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "KEEP", 0.01)
    common = await sharing.counterpart.obtain()
    client = Legacy(Quiet())
    lease = common.join(client.session, "use")
    assert lease is not None
    await eventually(lambda: sharing.counterpart._expiry is None)
    assert common.link.is_open
    client.close()
    lease.give()
    await eventually(lambda: not common.link.is_open)
    assert sharing.counterpart.get() is None


async def test_one_that_was_lost_is_opened_anew(sharing: Sharing) -> None:
    first = await sharing.counterpart.obtain()
    await first.link.aclose()
    assert sharing.counterpart.get() is None
    assert (await sharing.counterpart.obtain()).link is sharing.opener.made[1]


async def test_at_rest_it_is_closed_unless_somebody_calls(sharing: Sharing) -> None:
    common = await sharing.counterpart.obtain()
    lease = common.join(Legacy(Quiet()).session, "use")
    assert lease is not None
    await sharing.counterpart.rest()
    assert common.link.is_open
    lease.give()
    await sharing.counterpart.rest()
    assert not common.link.is_open
    await sharing.counterpart.rest()
