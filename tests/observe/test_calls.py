"""What is remembered of calls is what the config says, and no more."""

from typing import Any

import pytest
from meshproxy.config.models import MeshConfig
from meshproxy.config.secrets import Scrubber
from meshproxy.observe.calls import Calls
from meshproxy.observe.record import Listener, Record
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.wire.codec import Raw, dumps
from tests.kit.clients import Legacy

pytestmark = pytest.mark.anyio


class Listening:
    """What a recorder is to those who listen."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.ended = 0

    def listen(self, listener: Listener) -> Any:
        self.listener = listener
        return self.forget

    def forget(self) -> None:
        self.listener = None

    def end(self, method: str = "tools/call", **params: Any) -> Record:
        self.ended += 1
        record = Record(method, params, 0.0)
        record.number = self.ended
        if self.listener is not None:
            self.listener(record, {})
        record.forget()
        return record


def kept(keep: int = 3, arguments: str = "none") -> tuple[Calls, Listening]:
    listening = Listening()
    calls = Calls(listening.listen)
    calls.obey(keep, arguments)
    return calls, listening


def test_the_last_ones_are_kept_and_pings_are_none_of_them() -> None:
    calls, listening = kept()
    for method in ("tools/list", "tools/call", "tools/call", "ping", "resources/read"):
        listening.end(method)
    assert [record.number for record in calls.after()] == [2, 3, 5]
    assert [record.number for record in calls.after(2)] == [3, 5]
    assert [record.number for record in calls.latest(1)] == [5]
    assert [record.number for record in calls.latest(9)] == [2, 3, 5]
    assert len(calls) == 3


def test_an_edit_keeps_the_last_ones_and_none_ends_it() -> None:
    calls, listening = kept()
    for _ in range(3):
        listening.end()
    calls.obey(2, "none")
    assert [record.number for record in calls.after()] == [2, 3]
    calls.obey(0, "none")
    assert listening.listener is None
    assert len(calls) == 0
    calls.obey(1, "none")
    listening.end()
    assert [record.number for record in calls.after()] == [4]


@pytest.mark.parametrize(
    ("arguments", "expected"), [("none", ""), ("keys", '["token","city"]'), ("all", '{"token":"***","city":"Bern"}')]
)
def test_of_arguments_is_kept_what_is_asked_for(arguments: str, expected: str) -> None:
    calls, listening = kept(arguments=arguments)
    calls.scrub = lambda text: text.replace("s3cret", "***")
    given = b'{"token":"s3cret","city":"Bern"}'
    assert listening.end(arguments=Raw(given)).arguments == expected
    assert listening.end(arguments={"token": "s3cret", "city": "Bern"}).arguments == expected
    assert listening.end().arguments == ""
    assert [record.params for record in calls.after()] == [{}, {}, {}]


def test_long_arguments_are_kept_in_part_and_none_that_may_not_be_any_more() -> None:
    calls, listening = kept(arguments="all")
    long = listening.end(arguments=Raw('{"text":"%s"}' % ("\N{SNOWMAN}" * 9000))).arguments
    assert len(long) == 4099
    assert long.endswith("\N{SNOWMAN}...")
    calls.obey(3, "none")
    assert [record.arguments for record in calls.after()] == [""]


@pytest.mark.parametrize("before", range(4070, 4100, 5))
def test_of_a_secret_that_stands_where_arguments_are_cut_nothing_is_kept(before: int) -> None:
    calls, listening = kept(arguments="all")
    calls.scrub = Scrubber(["s3cret-of-many-letters"]).scrub
    given = {"text": "x" * before + "s3cret-of-many-letters" + "y" * 9000}
    assert "s3c" not in listening.end(arguments=given).arguments
    assert "s3c" not in listening.end(arguments=Raw(dumps(given))).arguments


def test_a_secret_is_known_however_a_client_spells_it() -> None:
    calls, listening = kept(arguments="all")
    calls.scrub = Scrubber(['s3cret-"quoted"-\N{SNOWMAN}']).scrub
    spelled = rb'{"a": "\u00733cret-\"quoted\"-\u2603", "b": 1}'
    assert listening.end(arguments=Raw(spelled)).arguments == '{"a":"***","b":1}'


@pytest.mark.parametrize("arguments", ["keys", "all"])
def test_of_arguments_that_are_too_large_to_be_searched_nothing_is_kept(arguments: str) -> None:
    _, listening = kept(arguments=arguments)
    assert listening.end(arguments=Raw('{"text":"%s"}' % ("x" * 70_000))).arguments == "..."
    assert listening.end(arguments=Raw("[" * 9000)).arguments == ""


async def test_a_server_keeps_none_without_a_config_and_a_thousand_with_one() -> None:
    async with FastMCP("m") as server:
        await Legacy(server).request("tools/list")
        assert len(server.calls) == 0
        server.take(MeshConfig())
        for _ in range(1001):
            await Legacy(server).request("tools/list")
        assert len(server.calls) == 1000
        server.take(MeshConfig.model_validate({"observe": {"calls": {"keep": 0}}}))
        assert server.recorder.listeners == ()
