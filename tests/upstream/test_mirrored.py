"""An upstream that speaks both eras is spoken to in the era of each client, over links that are opened when they are needed."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meshproxy.errors import RpcError
from meshproxy.supervision.states import State
from meshproxy.upstream import mirror
from meshproxy.upstream.client import ProxyClient
from tests.kit.clients import ELICIT, Client, Legacy, Modern
from tests.kit.light import received
from tests.kit.processes import children, commands, is_alive
from tests.kit.running import Running
from tests.kit.waiting import eventually
from tests.upstream.test_provider import becomes, light, pids, providing

pytestmark = pytest.mark.anyio

UPDATED = "notifications/resources/updated"


def both(*arguments: str) -> ProxyClient:
    return light("--era", "both", *arguments)


async def does(client: Client, what: str, **arguments: Any) -> dict[str, Any]:
    return await client.says("echo", does=what, **arguments)


# A command


async def test_a_commands_clients_of_each_era_share_a_process_of_that_era() -> None:
    async with providing(both()) as (server, provider):
        (control,) = pids(provider)
        assert provider.status()["mirrored"] == 0
        modern, legacy = Modern(server), [Legacy(server), Legacy(server)]
        assert await does(modern, "m") == {"pid": control, "era": "modern", "done": ["m"], "label": "", "answers": []}
        assert len(pids(provider)) == 1
        said = [await does(client, str(n)) for n, client in enumerate(legacy)]
        assert [one["era"] for one in said] == ["legacy"] * 2
        assert said[1]["done"] == ["0", "1"]
        assert sorted(pids(provider)) == sorted([control, said[0]["pid"]])
        assert provider.status()["mirrored"] == 1
        assert (await does(modern, "n"))["done"] == ["m", "n"]


async def test_first_calls_at_once_open_the_process_of_their_era_once() -> None:
    async with providing(both()) as (server, provider):
        said = await asyncio.gather(*(does(Legacy(server), "x") for _ in range(5)))
        assert len({one["pid"] for one in said}) == 1
        assert len(pids(provider)) == 2


async def test_an_isolated_session_has_a_process_of_its_own_era_and_modern_clients_the_modern_one() -> None:
    async with providing(both(), session="isolated") as (server, provider):
        (control,) = pids(provider)
        legacy = [Legacy(server), Legacy(server)]
        said = [await does(client, "x") for client in legacy]
        assert [one["era"] for one in said] == ["legacy"] * 2
        assert len({one["pid"] for one in said} | {control}) == 3
        assert (await does(Modern(server), "x"))["pid"] == control
        assert provider.status()["mirrored"] == provider.status()["sessions"] == 2
        legacy[0].close()
        await eventually(lambda: not is_alive(said[0]["pid"]))
        assert (await does(legacy[1], "y"))["done"] == ["x", "y"]


async def test_a_shared_one_has_one_process_and_is_bridged() -> None:
    async with providing(both(), session="shared") as (server, provider):
        for client in (Legacy(server), Modern(server)):
            said = await does(client, "x", ask=[[ELICIT]])
            assert (said["era"], [said["pid"]]) == ("modern", pids(provider))
            assert said["answers"][0]["action"] == "accept"
        assert provider.status()["mirrored"] == 0


async def test_what_is_found_out_is_remembered_and_a_modern_one_is_tried_once(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with providing(light("--era", "modern", "--journal", str(seen))) as (server, provider):
        for client in (Legacy(server), Legacy(server), Modern(server)):
            said = await does(client, "x", ask=[[ELICIT]])
            assert [said["pid"]] == pids(provider)
            assert said["answers"][0]["action"] == "accept"
        assert [one["method"] for one in received(seen)].count("initialize") == 1
        assert provider._connections.known.has_handshake is False
        assert provider.status()["mirrored"] == 0


async def test_one_attempt_that_fails_bridges_for_a_while_and_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "AGAIN", (1000.0, 1000.0))
    seen, broken = tmp_path / "seen", tmp_path / "broken"
    broken.touch()
    async with providing(both("--journal", str(seen), "--broken-handshake", str(broken))) as (server, provider):
        first, second = Legacy(server), Legacy(server)
        for client in (first, second):
            assert (await does(client, "x"))["era"] == "modern"
        assert [one["method"] for one in received(seen)].count("initialize") == 1
        broken.unlink()
        provider._connections.known.again = 0.0
        # What has been done in a process is found there.
        assert (await does(first, "y"))["done"] == ["x", "x", "y"]
        assert (await does(Legacy(server), "z"))["era"] == "legacy"


async def test_a_shared_process_of_the_other_era_ends_some_time_after_the_last_client_that_used_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror, "KEEP", 0.01)
    async with providing(both()) as (server, provider):
        (control,) = pids(provider)
        first, second = Legacy(server), Legacy(server)
        pid = (await does(first, "x"))["pid"]
        await does(second, "y")
        first.close()
        assert (await does(second, "z"))["done"] == ["x", "y", "z"]
        second.close()
        await eventually(lambda: not is_alive(pid))
        assert provider.status()["mirrored"] == 0
        assert is_alive(control)
        assert (await does(Legacy(server), "x"))["done"] == ["x"]


async def test_a_process_of_the_other_era_that_dies_is_opened_anew_by_the_next_call_and_costs_nobody_else() -> None:
    async with providing(both()) as (server, provider):
        modern, legacy = Modern(server), Legacy(server)
        assert (await does(modern, "m"))["done"] == ["m"]
        pid = (await does(legacy, "x"))["pid"]
        with pytest.raises(RpcError, match="status 3"):
            await legacy.call("echo", exit=3)
        assert provider.state is State.UP
        assert (await does(modern, "n"))["done"] == ["m", "n"]
        again = await does(legacy, "y")
        assert (again["era"], again["done"], again["pid"] == pid) == ("legacy", ["y"], False)


async def test_sessions_keep_their_process_when_the_control_process_dies() -> None:
    async with providing(both(), session="isolated") as (server, provider):
        (control,) = pids(provider)
        legacy = Legacy(server)
        await does(legacy, "x")
        os.kill(control, signal.SIGKILL)
        await becomes(provider, State.BACKING_OFF)
        assert (await does(legacy, "y"))["done"] == ["x", "y"]
        await becomes(provider, State.UP)
        assert (await does(legacy, "z"))["done"] == ["x", "y", "z"]


async def test_an_idle_upstream_closes_what_its_clients_shared_too() -> None:
    async with providing(both(), idle_timeout=0.05) as (server, provider):
        legacy = Legacy(server)
        await does(legacy, "x")
        assert len(commands()) == 2
        await becomes(provider, State.IDLE)
        await eventually(lambda: not children())
        assert (await does(legacy, "y"))["done"] == ["y"]


async def test_a_subscription_is_made_where_the_sessions_calls_go() -> None:
    async with providing(both("--resources", "r://x")) as (server, provider):
        legacy, other, modern = Legacy(server), Legacy(server), Modern(server)
        for client in (legacy, other):
            await client.request("resources/subscribe", {"uri": "r://x"})
        for count in (1, 2):
            await legacy.call("echo", notify=[[UPDATED, {"uri": "r://x"}]])
            for client in (legacy, other):
                await client.heard.until(UPDATED, count)
        await modern.call("echo", notify=[[UPDATED, {"uri": "r://x"}]])
        await other.request("resources/unsubscribe", {"uri": "r://x"})
        await legacy.call("echo", notify=[[UPDATED, {"uri": "r://x"}]])
        await legacy.heard.until(UPDATED, 3)
        assert (len(legacy.heard.of(UPDATED)), len(other.heard.of(UPDATED))) == (3, 2)
        # A process that dies takes what it was told along; the next one is told it again.
        pid = (await does(legacy, "x"))["pid"]
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: provider.status()["mirrored"] == 0)
        await legacy.call("echo", notify=[[UPDATED, {"uri": "r://x"}]])
        await legacy.heard.until(UPDATED, 4)
        legacy.close()
        await eventually(lambda: not provider.audience.counter_subscriptions)


async def test_a_session_is_told_of_its_level_and_roots_over_the_link_that_its_calls_take(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with providing(both("--journal", str(seen))) as (server, _provider):
        legacy = Legacy(server)
        await legacy.request("logging/setLevel", {"level": "error"})
        await does(legacy, "x")
        legacy.notify("notifications/roots/list_changed")
        await legacy.request("logging/setLevel", {"level": "debug"})
        await does(legacy, "y")

        def told() -> list[Any]:
            methods = ("logging/setLevel", "notifications/roots/list_changed")
            return [
                (one["method"], one.get("params", {}).get("level"))
                for one in received(seen)
                if one.get("method") in methods
            ]

        # Less than a client hears that has set no level is never asked of what several share.
        await eventually(lambda: len(told()) == 3)
        assert sorted(told(), key=str) == [
            ("logging/setLevel", "debug"),
            ("logging/setLevel", "info"),
            ("notifications/roots/list_changed", None),
        ]


async def test_what_a_tool_adds_in_the_process_of_one_era_is_listed_and_can_be_called_there() -> None:
    async with providing(both()) as (server, _provider):
        legacy, changed = Legacy(server), "notifications/tools/list_changed"
        await legacy.call("echo", tools=["echo", "new"], notify=[[changed, {}]])
        await legacy.heard.until(changed)
        assert await legacy.names() == ["echo", "new"]
        assert (await legacy.says("new", does="x"))["era"] == "legacy"


# A URL


@pytest.mark.parametrize("session", ["auto", "isolated"])
async def test_at_a_url_a_session_has_a_session_of_its_own_and_modern_clients_ask_the_modern_way(
    session: Any, shared_server: Callable[..., Running]
) -> None:
    url = shared_server("basic").url
    async with providing(ProxyClient(url, name="up"), session=session) as (server, provider):
        first, second, modern = Legacy(server), Legacy(server), Modern(server)
        seen = [await client.says("caller") for client in (first, second, first, modern)]
        assert [one["version"] for one in seen] == ["2025-11-25"] * 3 + ["2026-07-28"]
        assert seen[0]["session"] == seen[2]["session"] != seen[1]["session"]
        assert provider.status()["mirrored"] == 2
        first.close()
        await eventually(lambda: provider.status()["mirrored"] == 1)


async def test_a_shared_url_has_no_sessions(shared_server: Callable[..., Running]) -> None:
    url = shared_server("basic").url
    async with providing(ProxyClient(url, name="up"), session="shared") as (server, provider):
        assert (await Legacy(server).says("caller"))["version"] == "2026-07-28"
        assert provider.status()["mirrored"] == 0


async def test_a_modern_url_is_found_out_once_and_bridged(shared_server: Callable[..., Running]) -> None:
    url = shared_server("basic", era="modern").url
    async with providing(ProxyClient(url, name="up")) as (server, provider):
        for client in (Legacy(server), Legacy(server)):
            assert (await client.says("ask"))["answers"] == [{"action": "accept", "content": {"answer": "What is it?"}}]
        assert provider._connections.known.has_handshake is False
        assert provider.status()["sessions"] == 0
