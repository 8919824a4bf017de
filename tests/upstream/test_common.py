"""What a client did in a process is found there by its next call, whatever the upstream says meanwhile, and whoever else is there."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from meshproxy.errors import RpcError
from tests.kit.clients import ELICIT, Client, Legacy, Modern
from tests.kit.light import received, release
from tests.kit.waiting import eventually
from tests.upstream.test_mirrored import both, does
from tests.upstream.test_provider import light, pids, providing

pytestmark = pytest.mark.anyio

MESSAGE = "notifications/message"
PROGRESS = "notifications/progress"


def says(line: str) -> dict[str, Any]:
    """Arguments of a call that logs a line."""
    return {"notify": [[MESSAGE, {"level": "error", "data": line}]]}


def lines(client: Client) -> list[Any]:
    return [told["data"] for told in client.heard.of(MESSAGE)]


TALKS = [pytest.param(says("opened"), id="log line"), pytest.param({"ask": [[ELICIT]]}, id="question")]
UPSTREAMS = [pytest.param(light, id="legacy"), pytest.param(both, id="both eras")]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("era", [Legacy, Modern])
@pytest.mark.parametrize("session", ["auto", "isolated", "shared"])
async def test_the_process_that_a_client_has_used_stays_its_own_when_the_upstream_talks(
    session: Any, era: type[Client], upstream: Any, talk: Any
) -> None:
    async with providing(upstream(), session=session) as (server, _provider):
        client = era(server)
        client.log_level = "info"
        opened = await does(client, "open", **talk)
        clicked = await does(client, "click")
        assert (clicked["pid"], clicked["done"]) == (opened["pid"], ["open", "click"])
        if "notify" in talk:
            assert lines(client) == ["opened"]


@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_others_go_elsewhere_once_it_talks(upstream: Any) -> None:
    async with providing(upstream()) as (server, _provider):
        first, second, modern = Legacy(server), Legacy(server), Modern(server)
        shared = (await does(first, "open", **says("opened")))["pid"]
        for client in (second, modern):
            other = await does(client, "x")
            assert (other["pid"] == shared, other["done"]) == (False, ["x"])
            assert (await does(client, "y"))["done"] == ["x", "y"]
        assert (await does(first, "click"))["done"] == ["open", "click"]


async def test_several_that_have_used_it_before_keep_it_and_take_turns() -> None:
    async with providing(light("--tools", "echo")) as (server, provider):
        first, second = Legacy(server), Legacy(server)
        for client in (first, second):
            await does(client, "x")
        (pid,) = pids(provider)
        await does(first, "y", **says("talk"))
        running = asyncio.create_task(does(first, "z", hold=True, **says("mine")))
        await eventually(lambda: len(lines(first)) == 2)
        waiting = [asyncio.create_task(does(second, str(n), **says("yours"))) for n in range(2)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert provider.status()["calls"] == 3
        # Who waits behind another waits for that one alone, and its own client's calls are beside each other.
        release(pid)
        assert (await running)["done"] == ["x", "x", "y", "z"]
        assert {one["pid"] for one in await asyncio.gather(*waiting)} == {pid}
        assert (lines(first), lines(second)) == (["talk", "mine"], ["yours", "yours"])


async def test_a_question_of_one_that_shares_is_asked_of_it_while_the_other_waits() -> None:
    async with providing(light()) as (server, provider):
        clients = [Legacy(server), Legacy(server)]
        for client in clients:
            await does(client, "x")
        await does(clients[0], "y", **says("talk"))
        said = await asyncio.gather(*(does(client, "z", ask=[[ELICIT], [ELICIT]]) for client in clients))
        assert {one["pid"] for one in said} == {*pids(provider)}
        assert [len(client.asked.all) for client in clients] == [2, 2]


async def test_a_turn_that_does_not_come_is_an_error_that_says_what_helps() -> None:
    async with providing(light()) as (server, provider):
        provider._choice._turn = 0.05
        first, second = Legacy(server), Legacy(server)
        for client in (first, second):
            await does(client, "x")
        await does(first, "y", **says("talk"))
        running = asyncio.create_task(first.call("echo", 1, hold=True))
        await first.heard.until(PROGRESS)
        with pytest.raises(RpcError, match="session: isolated") as refused:
            await does(second, "z")
        assert refused.value.data["retryable"] is True
        release(pids(provider)[0])
        await running


async def test_a_log_line_after_a_call_that_was_given_up_is_not_lost(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with providing(light("--journal", str(seen))) as (server, _provider):
        first, second = Legacy(server), Legacy(server)
        for client in (first, second):
            await does(client, "x")
        await does(first, "y", **says("talk"))
        running = asyncio.create_task(first.call("echo", 1, hold=True))
        await first.heard.until(PROGRESS)
        running.cancel()
        await asyncio.wait({running})
        await does(second, "z", **says("mine"))
        assert lines(second) == ["mine"]
        assert any(one.get("method") == "notifications/cancelled" for one in received(seen))


async def test_a_client_that_has_used_a_process_uses_it_for_what_is_new_to_it_too() -> None:
    async with providing(light("--tools", "one,two,three")) as (server, provider):
        first, second = Legacy(server), Legacy(server)
        for client in (first, second):
            await client.says("one")
        (pid,) = pids(provider)
        running = asyncio.create_task(first.says("two", 1, hold=True))
        await first.heard.until(PROGRESS)
        assert (await second.says("three"))["pid"] == pid
        release(pid)
        await running


# Modern commands, whose log lines do not say which call they are of


@pytest.mark.parametrize("session", ["auto", "isolated"])
@pytest.mark.parametrize("era", ["modern", "both"])
async def test_while_a_modern_call_wants_log_lines_another_one_has_a_process_of_its_own(era: str, session: Any) -> None:
    async with providing(light("--era", era), session=session) as (server, provider):
        first, second, silent = Modern(server), Modern(server), Modern(server)
        first.log_level = second.log_level = "info"
        (pid,) = pids(provider)
        for _ in range(2):
            running = asyncio.create_task(first.says("echo", 1, hold=True, **says("mine")))
            await first.heard.until(PROGRESS)
            assert (await silent.says("echo"))["pid"] == pid
            assert (await second.says("echo", **says("yours")))["pid"] != pid
            release(pid)
            assert (await running)["pid"] == pid
            assert (await second.says("echo", **says("yours")))["pid"] == pid
            assert (lines(first), lines(second)) == (["mine"], ["yours", "yours"])
            for client in (first, second):
                client.heard.clear()


async def test_a_shared_modern_command_has_one_process_whatever_is_wanted() -> None:
    async with providing(light("--era", "modern"), session="shared") as (server, provider):
        clients = [Modern(server), Modern(server)]
        for client in clients:
            client.log_level = "info"
        assert {one["pid"] for one in await asyncio.gather(*(client.says("echo") for client in clients))} == {
            *pids(provider)
        }


async def test_a_bridged_session_keeps_what_it_did_in_a_modern_process() -> None:
    async with providing(light("--era", "modern")) as (server, _provider):
        first, second = Legacy(server), Legacy(server)
        shared = (await does(first, "open", **says("opened")))["pid"]
        other = await does(second, "x", **says("elsewhere"))
        assert other["pid"] != shared
        assert (await does(second, "y"))["done"] == ["x", "y"]
        assert (await does(first, "click"))["done"] == ["open", "click"]
        assert (lines(first), lines(second)) == (["opened"], ["elsewhere"])


async def test_callers_without_a_session_call_where_they_have_subscribed() -> None:
    updated = "notifications/resources/updated"
    async with providing(light("--resources", "r://x")) as (server, _provider):
        session, caller = Legacy(server), Modern(server)
        shared = (await does(session, "open", **says("opened")))["pid"]
        wanted = {"notifications": {"resourceSubscriptions": ["r://x"]}}
        stream = asyncio.create_task(caller.request("subscriptions/listen", wanted))
        await caller.heard.until("notifications/subscriptions/acknowledged")
        assert (await does(caller, "x", notify=[[updated, {"uri": "r://x"}]]))["pid"] == shared
        await caller.heard.until(updated)
        server.end_streams()
        await stream
