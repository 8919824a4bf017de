"""What an upstream says on its own account finds the client that it is for, or nobody at all."""

import asyncio
from typing import Any

import pytest
from meshproxy.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError
from meshproxy.links.link import Link
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream
from meshproxy.upstream import attribution
from meshproxy.upstream.attribution import Attribution, sole
from meshproxy.wire.protocol import Era
from tests.kit.clients import ELICIT, Client, Context, Legacy, Modern
from tests.kit.handlers import Quiet
from tests.kit.journal import Journal
from tests.kit.waiting import DEADLINE
from tests.kit.wires import Wire

pytestmark = pytest.mark.anyio

MESSAGE = "notifications/message"
LINE = {"level": "info", "data": "a line"}


def look_again(attribution: Attribution) -> None:
    """As the carrier does when a call has ended."""
    for event in attribution.held:
        event.set()


class Owner:
    """What a provider is to its attribution side."""

    name = "up"

    def __init__(self) -> None:
        self.talked = 0
        self.resident: Downstream | None = None
        self.shares_one_link = False
        self.elsewhere: list[tuple[str | None, str]] = []
        self.closed: list[str] = []

    def on_talk(self) -> None:
        self.talked += 1

    def on_elsewhere(self, downstream: Downstream | None, method: str, params: dict[str, Any]) -> None:
        self.elsewhere.append((downstream.key if downstream else None, method))

    def sole_resident(self, link: Link) -> Downstream | None:
        return self.resident

    def on_link_closed(self, link: Link, downstream: Downstream | None, reason: str) -> None:
        self.closed.append(reason)


class Calling:
    """Clients that call over one wire."""

    def __init__(self, clients: int = 2) -> None:
        self.wire, self.owner = Wire(), Owner()
        self.clients: list[Client] = [Legacy(Quiet()) for _ in range(clients)]
        self.attribution = Attribution(self.owner)
        self._count = 0

    def begin(self, client: int) -> int:
        """A client calls; the number of its call."""
        made = self.clients[client]
        call = Call(Context(made, made.caller(), None, {}), "tools/call", {})
        self._count += 1
        self.wire.calls[self._count] = call
        return self._count

    def end(self, number: int, *, given_up: bool = False) -> None:
        call = self.wire.calls.pop(number)
        if given_up:
            self.wire.given_up[number] = call
        look_again(self.attribution)

    def ask(self) -> "asyncio.Task[Any]":
        method, params = ELICIT
        return asyncio.create_task(self.attribution.on_request(self.wire, str(method), dict(params)))  # type: ignore[call-overload]

    def asked(self) -> list[int]:
        return [len(client.asked.all) for client in self.clients]

    def heard(self) -> list[int]:
        return [len(client.heard.all) for client in self.clients]


async def answer(asking: "asyncio.Task[Any]") -> Any:
    async with asyncio.timeout(DEADLINE):
        return await asking


async def refusal(asking: "asyncio.Task[Any]") -> RpcError:
    with pytest.raises(RpcError) as refused:
        await answer(asking)
    return refused.value


async def test_a_question_goes_to_the_one_client_that_is_calling() -> None:
    calling = Calling()
    # The mesh's own requests ask nobody.
    calling.wire.calls[1000] = None
    calling.begin(1)
    calling.begin(1)
    assert (await answer(calling.ask()))["action"]
    assert calling.asked() == [0, 1]
    assert calling.owner.talked == 1


async def test_a_question_that_may_be_of_two_waits_until_the_others_calls_end() -> None:
    calling = Calling(3)
    first, second, third = calling.begin(0), calling.begin(1), calling.begin(2)
    asking = calling.ask()
    await asyncio.sleep(0)
    calling.end(first)
    await asyncio.sleep(0)
    assert calling.asked() == [0, 0, 0]
    # Who comes later cannot have asked, and keeps it waiting no longer.
    calling.begin(0)
    calling.end(third)
    await answer(asking)
    assert calling.asked() == [0, 1, 0]
    assert second in calling.wire.calls


async def test_a_question_of_which_nobody_can_be_certain_is_refused_and_says_what_would_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attribution, "HOLD", 0.02)
    calling = Calling()
    calling.begin(0)
    calling.begin(1)
    error = await refusal(calling.ask())
    assert error.code == INTERNAL_ERROR
    assert "session: isolated" in error.message
    assert calling.asked() == [0, 0]
    assert calling.attribution.held == []


async def test_a_question_that_nobodys_call_can_have_asked_is_refused() -> None:
    calling = Calling()
    calling.wire.calls[1000] = None
    assert (await refusal(calling.ask())).code == METHOD_NOT_FOUND


async def test_a_question_whose_callers_all_leave_is_refused() -> None:
    calling = Calling()
    calls = [calling.begin(0), calling.begin(1)]
    asking = calling.ask()
    await asyncio.sleep(0)
    for number in calls:
        calling.wire.calls.pop(number)
    look_again(calling.attribution)
    assert (await refusal(asking)).code == METHOD_NOT_FOUND


async def test_a_question_that_may_be_of_a_call_that_was_given_up_goes_to_nobody_else() -> None:
    calling = Calling()
    gone = calling.begin(0)
    calling.begin(1)
    calling.end(gone, given_up=True)
    assert (await refusal(calling.ask())).code == INTERNAL_ERROR
    # Nor does one that was held when the call was given up.
    calling.wire.given_up.clear()
    gone = calling.begin(0)
    asking = calling.ask()
    await asyncio.sleep(0)
    calling.end(gone, given_up=True)
    assert (await refusal(asking)).code == INTERNAL_ERROR
    assert calling.asked() == [0, 0]


async def test_a_client_that_gave_up_one_call_is_asked_for_another_of_its_own() -> None:
    calling = Calling()
    gone = calling.begin(0)
    calling.begin(0)
    calling.end(gone, given_up=True)
    await answer(calling.ask())
    assert calling.asked() == [1, 0]


async def test_a_question_of_a_call_that_was_given_up_asks_nobody() -> None:
    calling = Calling()
    calling.end(calling.begin(0), given_up=True)
    assert (await refusal(calling.ask())).code == METHOD_NOT_FOUND
    assert calling.asked() == [0, 0]


async def test_over_a_sessions_own_link_everything_is_for_the_session() -> None:
    calling = Calling(1)
    (client,) = calling.clients
    own = Attribution(calling.owner, client.session)
    method, params = ELICIT
    assert (await own.on_request(calling.wire, str(method), dict(params)))["action"]  # type: ignore[call-overload]
    calling.begin(0)
    await own.on_request(calling.wire, str(method), dict(params))  # type: ignore[call-overload]
    assert calling.asked() == [2]
    own.on_notification(calling.wire, MESSAGE, LINE)
    calling.wire.calls.clear()
    own.on_notification(calling.wire, MESSAGE, LINE)
    client.session.log_level = "error"
    own.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [2]
    own.on_notification(calling.wire, "notifications/tools/list_changed", {})
    assert calling.owner.elsewhere == [(client.session.key, "notifications/tools/list_changed")]


async def test_a_log_line_goes_to_the_one_client_that_is_calling_and_else_to_the_meshs_own_log(
    journal: Journal,
) -> None:
    calling = Calling()
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.owner.talked == 0
    first = calling.begin(0)
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [1, 0]
    calling.begin(1)
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    calling.end(first, given_up=True)
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [1, 0]
    assert calling.owner.talked == 3
    lines = journal.of("upstream.message")
    assert [(line["upstream"], line["level_"] if "level_" in line else line["data"]) for line in lines] == [
        ("up", "a line")
    ] * 3


async def test_what_belongs_to_no_call_is_for_the_one_session_that_has_ever_used_the_link() -> None:
    calling = Calling(1)
    (client,) = calling.clients
    calling.owner.resident = client.session
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert (calling.heard(), calling.owner.talked) == ([1], 1)
    client.session.log_level = "error"
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [1]
    assert (await answer(calling.ask()))["action"]
    assert calling.asked() == [1]


async def test_a_modern_upstreams_log_line_is_of_a_call_that_wants_to_hear_any() -> None:
    calling = Calling(0)
    calling.wire = Wire(Era.MODERN)
    calling.clients = [Modern(Quiet()), Modern(Quiet())]
    calling.clients[1].log_level = "debug"
    calling.begin(0)
    calling.begin(1)
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [0, 1]


async def test_where_all_share_one_link_a_log_line_beside_a_call_that_wants_none_is_nobodys(journal: Journal) -> None:
    # An upstream may say it although that call did not want it.
    calling = Calling(0)
    calling.wire = Wire(Era.MODERN)
    calling.owner.shares_one_link = True
    calling.clients = [Modern(Quiet()), Legacy(Quiet())]
    silent = calling.begin(0)
    calling.begin(1)
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [0, 0]
    assert len(journal.of("upstream.message")) == 1
    calling.end(silent)
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [0, 1]


async def test_what_a_modern_upstream_logs_for_a_call_that_wants_nothing_is_not_for_who_used_the_link_before() -> None:
    calling = Calling(0)
    calling.wire = Wire(Era.MODERN)
    calling.clients = [Modern(Quiet()), Legacy(Quiet())]
    calling.owner.resident = calling.clients[1].caller()
    calling.begin(0)
    calling.attribution.on_notification(calling.wire, MESSAGE, LINE)
    assert calling.heard() == [0, 0]


@pytest.mark.parametrize("method", ["tools/list", "sampling/other", ""])
async def test_what_no_server_may_ask_is_refused_and_a_ping_is_answered(method: str) -> None:
    calling = Calling()
    calling.begin(0)
    with pytest.raises(RpcError, match="Method not found"):
        await calling.attribution.on_request(calling.wire, method, {})
    assert await calling.attribution.on_request(calling.wire, "ping", {}) == {}
    assert calling.owner.talked == 0


async def test_other_notifications_are_the_owners_business() -> None:
    calling = Calling()
    calling.begin(0)
    calling.attribution.on_notification(calling.wire, "notifications/resources/updated", {"uri": "x://y"})
    calling.attribution.on_closed(calling.wire, "it died")
    assert calling.owner.elsewhere == [(None, "notifications/resources/updated")]
    assert calling.owner.closed == ["it died"]


def test_the_sole_owner_of_calls_is_the_latest_of_one_clients() -> None:
    calling = Calling()
    calling.begin(0)
    calling.begin(0)
    mine = list(calling.wire.calls.values())
    assert sole([]) is None
    assert sole([None]) is None
    assert sole([*mine, None]) is mine[1]
    calling.begin(1)
    assert sole(calling.wire.calls.values()) is None
