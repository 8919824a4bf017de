"""A downstream tells, once, when it is gone."""

import asyncio

import pytest
from meshproxy.relay.downstream import BRIDGED, bridged, may_be_asked
from meshproxy.wire.protocol import EXTENSION_TASKS, EXTENSION_UI
from tests.kit.clients import Client, Legacy, Modern
from tests.kit.handlers import Quiet

pytestmark = pytest.mark.anyio


async def test_who_waits_for_the_end_of_a_client_is_told_once() -> None:
    session, told = Legacy(Quiet()).session, []
    session.on_close(lambda: told.append("a"))
    forget = session.on_close(lambda: told.append("b"))
    session.on_close(lambda: told.append("c"))
    forget()
    forget()
    closed = session.closed
    assert not closed.is_set()
    session.close()
    session.close()
    assert told == ["a", "c"]
    assert closed.is_set()
    assert session.closed is closed
    forget()


async def test_who_comes_too_late_is_told_at_once() -> None:
    session, told = Legacy(Quiet()).session, []
    session.close()
    session.on_close(lambda: told.append("late"))()
    assert told == ["late"]
    async with asyncio.timeout(1):
        await session.closed.wait()


def caller(client: type[Client], **capabilities: object) -> object:
    return client(Quiet(), capabilities=capabilities).caller()


@pytest.mark.parametrize(
    ("client", "extensions"), [(Legacy, {EXTENSION_UI}), (Modern, {EXTENSION_UI, EXTENSION_TASKS})]
)
def test_capabilities_pass_as_far_as_the_mesh_can_carry_them(client: type[Client], extensions: set[str]) -> None:
    declared = {
        "sampling": {"x": 1},
        "vendor": {},
        "extensions": {EXTENSION_UI: {"y": 1}, EXTENSION_TASKS: {}, "z": {}},
    }
    carried = bridged(caller(client, **declared))  # type: ignore[arg-type]
    assert carried["sampling"] == {"x": 1}
    assert carried.keys() == {"sampling", "extensions"}
    assert carried["extensions"].keys() == extensions
    assert bridged(caller(client, extensions={"z": {}})) == {}  # type: ignore[arg-type]
    assert bridged(caller(client, extensions="odd")) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("key", BRIDGED)
def test_a_client_may_be_asked_if_it_declares_that_it_can_answer_anything(key: str) -> None:
    assert may_be_asked(caller(Legacy, **{key: {}}))  # type: ignore[arg-type]
    assert not may_be_asked(caller(Legacy, extensions={}))  # type: ignore[arg-type]
