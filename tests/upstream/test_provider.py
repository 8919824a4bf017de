"""A provider carries requests to its upstream, loses it and finds it again, and costs nobody else anything. With real processes."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from meshproxy.catalog.catalog import Mount
from meshproxy.errors import AnswerLost, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.kinds import Kind
from meshproxy.links.target import Command
from meshproxy.relay.downstream import Downstream
from meshproxy.relay.handlers import Handlers
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.supervision import backoff
from meshproxy.supervision.states import State
from meshproxy.upstream.client import ProxyClient, StatefulProxyClient
from meshproxy.upstream.provider import ProxyProvider
from tests.kit.clients import ELICIT, Client, Legacy, Modern
from tests.kit.light import LIGHT, received, release
from tests.kit.processes import children, commands, is_alive
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.wires import Wire, WireEndpoint

pytestmark = pytest.mark.anyio

PROGRESS = "notifications/progress"
UPDATED = "notifications/resources/updated"


def light(*arguments: str, name: str = "up") -> ProxyClient:
    return ProxyClient(Command(sys.executable, ["-IS", LIGHT, *arguments]), name=name)


@contextlib.asynccontextmanager
async def providing(client: Any, *, wait: bool = True, **options: Any) -> AsyncIterator[tuple[FastMCP, ProxyProvider]]:
    """A provider behind a server, without a prefix."""
    server = FastMCP()
    provider = ProxyProvider(client, **options)
    server.add_provider(provider)
    try:
        async with asyncio.timeout(DEADLINE):
            if wait:
                server.start()
                await provider.settled()
        yield server, provider
    finally:
        async with asyncio.timeout(DEADLINE):
            await server.aclose()
    assert provider.state is State.STOPPED


def pids(provider: ProxyProvider) -> list[int]:
    return list(provider.status()["pids"])


async def becomes(provider: ProxyProvider, state: State) -> None:
    changed = asyncio.Event()
    provider.on_change(lambda *_: changed.set())
    async with asyncio.timeout(DEADLINE):
        while provider.state is not state:
            changed.clear()
            await changed.wait()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before connecting again."""
    monkeypatch.setattr(backoff, "BACKOFF", (0.01, 0.05))


# Losing it and finding it again


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_process_that_is_killed_loses_its_calls_fails_new_ones_at_once_and_comes_back(
    era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF", (1000.0, 1000.0))
    async with providing(light("--era", era)) as (server, provider):
        for client in (Legacy(server), Modern(server)):
            (pid,) = pids(provider)
            running = asyncio.create_task(client.call("echo", 1, hold=True))
            await client.heard.until(PROGRESS)
            client.heard.clear()
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(RpcError) as lost:
                await running
            assert lost.value.data["upstream"] == "up"
            assert lost.value.data["retryable"] is False
            assert "SIGKILL" in lost.value.message
            await becomes(provider, State.BACKING_OFF)
            with pytest.raises(RpcError) as refused:
                await client.call("echo")
            assert refused.value.data == {"upstream": "up", "reason": provider.reason, "retryable": True}
            # What it offered stays listed.
            assert await client.names() == ["echo"]
            provider._supervisor._wake.set()
            await becomes(provider, State.UP)
            assert (await client.says("echo"))["pid"] == pids(provider)[0] != pid


async def test_an_upstream_that_changed_while_it_was_away_is_listed_anew(tmp_path: Path, quick: None) -> None:
    program = tmp_path / "program"

    def write(tools: str) -> None:
        program.with_suffix(".new").write_text(f"#!/bin/sh\nexec {sys.executable} -IS {LIGHT} --tools {tools}\n")
        program.with_suffix(".new").chmod(0o755)
        program.with_suffix(".new").rename(program)

    write("one")
    async with providing(ProxyClient(Command(str(program)), name="up")) as (server, provider):
        client = Legacy(server)
        write("two")
        os.kill(pids(provider)[0], signal.SIGKILL)
        await client.heard.until("notifications/tools/list_changed")
        assert await client.names() == ["two"]
        assert "pid" in await client.says("two")


async def test_a_call_that_takes_too_long_fails_alone() -> None:
    async with providing(light(), call_timeout=0.2) as (server, provider):
        slow, quick_one = Legacy(server), Legacy(server)
        (pid,) = pids(provider)
        await quick_one.call("echo")
        with pytest.raises(
            RpcError, match=r"no answer within 0\.2 s, which `timeouts\.call` of this upstream allows"
        ) as late:
            await slow.call("echo", hold=True)
        assert late.value.data["retryable"] is False
        # Nothing is wrong with the connection, which others use.
        for client in (slow, quick_one):
            assert (await client.says("echo"))["pid"] == pid
        assert provider.state is State.UP


async def test_a_client_that_gives_up_its_call_cancels_it_at_the_upstream(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with providing(light("--journal", str(seen))) as (server, provider):
        for count, client in enumerate((Legacy(server), Modern(server)), 1):
            running = asyncio.create_task(client.call("echo", 1, hold=True))
            await client.heard.until(PROGRESS)
            running.cancel()
            await asyncio.wait({running})

            def cancelled() -> list[Any]:
                return [one for one in received(seen) if one.get("method") == "notifications/cancelled"]

            await eventually(lambda: len(cancelled()) == count)  # noqa: B023  # awaited at once
            calls = [one["id"] for one in received(seen) if one.get("method") == "tools/call"]
            assert [one["params"]["requestId"] for one in cancelled()] == calls
        assert provider.status()["calls"] == 0


async def test_an_upstream_that_dies_again_and_again_says_why_each_time(quick: None) -> None:
    async with providing(light("--dies", "no key")) as (server, provider):
        assert provider.state is State.BACKING_OFF
        assert "no key" in provider.reason
        assert not provider.is_up
        with pytest.raises(RpcError, match="no key"):
            await provider_request(provider)
        with pytest.raises(UpstreamUnavailable, match="no key"):
            await provider.components(Kind.TOOL)
        assert await Legacy(server).names() == []


async def provider_request(provider: ProxyProvider) -> Any:
    try:
        return await provider.request("tools/list", {})
    except UpstreamUnavailable as error:
        raise error.rpc from None


async def test_a_factory_that_fails_is_the_reason_and_is_tried_again(quick: None) -> None:
    made = 0

    async def factory() -> ProxyClient:
        nonlocal made
        made += 1
        if made < 3:
            raise LookupError("no such server yet")
        return light()

    async with providing(factory, wait=False) as (server, provider):
        server.start()
        await provider.settled()
        await becomes(provider, State.UP)
        assert made == 3
        assert await Legacy(server).names() == ["echo"]


# Lazy and idle


async def test_a_lazy_one_starts_at_the_first_listing_or_call() -> None:
    for use in ("list", "call"):
        async with providing(light(), start="lazy") as (server, provider):
            assert provider.state is State.IDLE
            assert children() == {}
            client = Legacy(server)
            if use == "list":
                assert await client.names() == ["echo"]
            else:
                result = await provider.request("tools/call", {"name": "echo", "arguments": {}})
                assert b"pid" in bytes(result)  # type: ignore[arg-type]
            assert provider.state is State.UP


async def test_a_connection_that_nobody_uses_is_closed_and_opened_at_the_next_call() -> None:
    async with providing(light(), idle_timeout=0.05) as (server, provider):
        client = Legacy(server)
        (pid,) = pids(provider)
        await becomes(provider, State.IDLE)
        await eventually(lambda: not is_alive(pid))
        assert provider.is_up
        assert await client.names() == ["echo"]
        assert (await client.says("echo"))["pid"] != pid


async def test_a_connection_with_a_running_call_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    async with providing(light(), idle_timeout=0.02) as (server, provider):
        for client in (Legacy(server), Modern(server)):
            running = asyncio.create_task(client.says("echo", 1, hold=True))
            await client.heard.until(PROGRESS)
            (pid,) = pids(provider)
            async with asyncio.timeout(0.1):
                with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                    await becomes(provider, State.IDLE)
            assert provider.state is State.UP
            release(pid)
            assert (await running)["pid"] == pid


# Sessions


async def test_an_isolated_session_has_a_process_of_its_own_that_ends_with_it() -> None:
    async with providing(light(), session="isolated") as (server, provider):
        clients = [Legacy(server), Legacy(server)]
        own = [(await client.says("echo"))["pid"] for client in clients]
        assert len({*own, *pids(provider)}) == 3
        assert [(await client.says("echo"))["pid"] for client in clients] == own
        clients[0].close()
        await eventually(lambda: not is_alive(own[0]))
        assert is_alive(own[1])
        assert (await clients[1].says("echo"))["pid"] == own[1]


async def test_first_calls_at_once_of_one_session_share_its_process() -> None:
    async with providing(light(), session="isolated") as (server, provider):
        client = Legacy(server)
        said = await asyncio.gather(*(client.says("echo") for _ in range(5)))
        assert len({one["pid"] for one in said}) == 1
        assert len(pids(provider)) == 2


async def test_a_session_whose_process_dies_gets_another_at_its_next_call() -> None:
    async with providing(light(), session="isolated") as (server, provider):
        client = Legacy(server)
        first = (await client.says("echo"))["pid"]
        with pytest.raises(RpcError, match="status 3"):
            await client.call("echo", exit=3)
        assert provider.state is State.UP
        second = (await client.says("echo"))["pid"]
        assert second != first


async def test_a_shared_one_has_one_process_for_all_whatever_it_asks() -> None:
    async with providing(light(), session="shared") as (server, provider):
        for client in (Legacy(server), Modern(server), Legacy(server)):
            said = await client.says("echo", ask=[[ELICIT]])
            assert [said["pid"]] == pids(provider)
            assert said["answers"][0]["action"] == "accept"


async def test_a_command_is_shared_until_it_talks_and_then_by_those_alone_who_have_used_it() -> None:
    async with providing(light()) as (server, provider):
        first, second, third, fourth = (Legacy(server) for _ in range(4))
        (shared,) = pids(provider)
        assert [(await client.says("echo"))["pid"] for client in (first, second)] == [shared] * 2
        assert (await first.says("echo", ask=[[ELICIT]]))["answers"][0]["action"] == "accept"
        assert [(await client.says("echo"))["pid"] for client in (first, second)] == [shared] * 2
        own = [(await client.says("echo"))["pid"] for client in (third, fourth)]
        assert len({*own, shared}) == 3


async def test_a_factory_that_is_told_for_whom_makes_each_session_its_own_client() -> None:
    asked: list[Downstream | None] = []

    def factory(downstream: Downstream) -> ProxyClient:
        asked.append(downstream)
        return light("--label", downstream.key if downstream else "control")

    async with providing(factory, name="up") as (server, _provider):
        clients = [Legacy(server), Legacy(server)]
        for client in clients:
            assert (await client.says("echo"))["label"] == client.session.key
        assert [one for one in asked if one is not None] == [client.session for client in clients]


def wire(**answers: Any) -> Wire:
    return Wire(capabilities={"tools": {"listChanged": True}}, tools__list={"tools": [{"name": "t"}]}, **answers)


async def test_what_a_factory_made_for_a_session_is_closed_with_it() -> None:
    made: list[WireEndpoint] = []

    def factory(_downstream: Downstream) -> ProxyClient:
        made.append(WireEndpoint(wire()))
        return ProxyClient(made[-1])

    async with providing(factory) as (server, provider):
        first, second = Legacy(server), Legacy(server)
        for client in (first, second):
            await client.call("t")
        assert [endpoint.closed for endpoint in made] == [0, 0, 0]
        first.close()
        await eventually(lambda: [endpoint.closed for endpoint in made] == [0, 1, 0])
        await second.call("t")
        assert not provider._connections._of_sessions.keys() - {link for _, link in provider._choice.sessions}
    assert [endpoint.closed for endpoint in made] == [1, 1, 1]


async def test_what_sessions_share_is_closed_with_the_last_that_uses_it() -> None:
    shared = WireEndpoint(wire(), wire(), wire())
    async with providing(StatefulProxyClient(shared).new_stateful) as (server, _provider):
        clients = [Legacy(server), Legacy(server)]
        for client in clients:
            await client.call("t")
            client.close()
        await eventually(lambda: not _provider._connections._of_sessions)
        assert shared.closed == 0
    assert shared.closed == 1


async def test_what_a_factory_made_before_is_closed_when_it_makes_another(quick: None) -> None:
    made: list[WireEndpoint] = []

    def factory() -> ProxyClient:
        made.append(WireEndpoint(wire()))
        return ProxyClient(made[-1])

    async with providing(factory, session="shared") as (_server, provider):
        link = provider._supervisor.link
        assert isinstance(link, Wire)
        link.close("it died")
        made[0].listeners[0].on_closed(link, "it died")
        await becomes(provider, State.BACKING_OFF)
        await becomes(provider, State.UP)
        assert [endpoint.closed for endpoint in made] == [1, 0]


async def test_a_sessions_own_client_answers_with_its_own_handlers() -> None:
    async def asks(_params: Any, call: Any) -> Any:
        return {"content": [await call.on_request("roots/list", {})]}

    def factory(downstream: Downstream | None) -> ProxyClient:
        async def roots(_context: Any, _params: Any) -> Any:
            return {"of": downstream.key if downstream else None}

        return ProxyClient(WireEndpoint(wire(tools__call=asks)), handlers=Handlers(roots=roots))

    async with providing(factory) as (server, _provider):
        for client in (Legacy(server), Legacy(server)):
            assert (await client.call("t"))["content"] == [{"of": client.session.key}]
            assert client.asked.all == []


async def test_an_upstream_that_refuses_a_level_is_used_all_the_same(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    client_of = light("--refuse", "logging/setLevel", "--journal", str(seen))
    async with providing(client_of, session="isolated") as (server, _provider):
        client = Legacy(server)
        await client.request("logging/setLevel", {"level": "error"})
        assert "pid" in await client.says("echo")
        assert len(commands()) == 2


async def test_an_upstream_that_never_takes_a_level_keeps_nobody_waiting() -> None:
    async with providing(light("--ignore", "logging/setLevel"), session="shared") as (server, _provider):
        client = Legacy(server)
        await client.request("logging/setLevel", {"level": "error"})
        assert client.session.log_level == "error"
        assert "pid" in await client.says("echo")


async def test_a_session_whose_upstream_never_takes_its_level_is_told_so_in_time() -> None:
    client_of = light("--ignore", "logging/setLevel")
    async with providing(client_of, session="isolated", connect_timeout=0.5) as (server, provider):
        client = Legacy(server)
        await client.request("logging/setLevel", {"level": "error"})
        with pytest.raises(RpcError, match="in time"):
            await client.call("echo")
        await eventually(lambda: commands().keys() == {*pids(provider)})


# What a client wants to hear of


@pytest.mark.parametrize("session", ["isolated", "shared"])
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_subscriptions_survive_the_death_of_the_process(era: str, session: Any, quick: None) -> None:
    upstream = light("--era", era, "--resources", "r://x")
    async with providing(upstream, session=session) as (server, provider):
        client, modern = Legacy(server), Modern(server)
        await client.request("resources/subscribe", {"uri": "r://x"})
        wanted = {"notifications": {"resourceSubscriptions": ["r://x"]}}
        stream = asyncio.create_task(modern.request("subscriptions/listen", wanted))
        acknowledged = await modern.heard.until("notifications/subscriptions/acknowledged")
        assert acknowledged["notifications"] == {"resourceSubscriptions": ["r://x"]}

        async def touch(count: int) -> None:
            # By the session's own process, if it has one, and by the one that all share.
            await client.call("echo", notify=[[UPDATED, {"uri": "r://x"}]])
            await provider.request(
                "tools/call", {"name": "echo", "arguments": {"notify": [[UPDATED, {"uri": "r://x"}]]}}
            )
            for one in (client, modern):
                await one.heard.until(UPDATED, count)

        if era == "legacy":
            await touch(1)
        for pid in pids(provider):
            os.kill(pid, signal.SIGKILL)
        await becomes(provider, State.BACKING_OFF)
        await becomes(provider, State.UP)
        if era == "legacy":
            await touch(2)
        assert client.heard.of(UPDATED) == [{"uri": "r://x"}] * len(client.heard.of(UPDATED))
        server.end_streams()
        await stream


async def test_an_upstream_with_a_subscriber_is_in_use() -> None:
    async with providing(light("--resources", "r://x"), idle_timeout=0.02) as (server, provider):
        client = Legacy(server)
        await client.request("resources/subscribe", {"uri": "r://x"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await becomes(provider, State.IDLE)
        assert provider.state is State.UP
        await client.request("resources/unsubscribe", {"uri": "r://x"})
        await becomes(provider, State.IDLE)


# From Python


async def test_components_are_listed_and_used_without_a_mesh() -> None:
    provider = ProxyProvider(
        light("--tools", "a,b", "--resources", "r://x", "--prompts", "p", "--templates", "t://{t}")
    )
    try:
        async with asyncio.timeout(DEADLINE):
            tool, other = await provider.components(Kind.TOOL)
            assert (tool.public, other.public) == ("a", "b")
            result = await tool.run({"tag": "x"})  # type: ignore[attr-defined]
            assert result["structuredContent"]["tag"] == "x"
            (resource,) = await provider.components(Kind.RESOURCE)
            assert (await resource.read())["contents"][0]["uri"] == "r://x"  # type: ignore[attr-defined]
            (template,) = await provider.components(Kind.TEMPLATE)
            made = template.create_resource("t://1")  # type: ignore[attr-defined]
            assert (await made.read())["contents"][0]["uri"] == "t://1"
            (prompt,) = await provider.components(Kind.PROMPT)
            assert (await prompt.render())["messages"]  # type: ignore[attr-defined]
            assert await provider.get_tasks() == ()
            assert "'up'" in repr(provider)
            assert "tools=2" in repr(provider)
    finally:
        await provider.aclose()
    with pytest.raises(UpstreamUnavailable, match="removed"):
        await provider.request("tools/list", {})


async def test_a_component_that_is_run_for_a_client_asks_that_client() -> None:
    async with providing(light()) as (server, provider):
        client = Legacy(server)
        (tool,) = await provider.components(Kind.TOOL)
        from tests.kit.clients import Context

        context = Context(client, client.caller(), None, {})
        result = await tool.run({"ask": [[ELICIT]]}, context)  # type: ignore[attr-defined]
        assert result["structuredContent"]["answers"] == [{"action": "accept", "content": {"answer": "What is it?"}}]


async def test_retiring_waits_for_what_runs_and_takes_nothing_new() -> None:
    async with providing(light()) as (server, provider):
        client = Legacy(server)
        running = asyncio.create_task(client.says("echo", 1, hold=True))
        await client.heard.until(PROGRESS)
        (pid,) = pids(provider)
        retiring = asyncio.create_task(provider.retire(None))
        await asyncio.sleep(0)
        with pytest.raises(UpstreamUnavailable, match="removed from the mesh"):
            await provider.request("tools/list", {}, None, Mount("up"))
        release(pid)
        assert (await running)["pid"] == pid
        async with asyncio.timeout(DEADLINE):
            await retiring
        assert not is_alive(pid)


async def test_a_provider_that_is_added_to_a_running_server_starts_and_is_announced() -> None:
    server = FastMCP()
    async with server:
        client = Legacy(server)
        server.add_provider(ProxyProvider(light()), namespace="late")
        await client.heard.until("notifications/tools/list_changed")
        assert await client.names() == ["late_echo"]


async def test_an_answer_that_was_lost_is_not_asked_for_again(tmp_path: Path, quick: None) -> None:
    seen = tmp_path / "seen"
    async with providing(light("--journal", str(seen))) as (server, provider):
        with pytest.raises(AnswerLost):
            await provider.request("tools/call", {"name": "echo", "arguments": {"exit": 1}})
        client = Legacy(server)
        await becomes(provider, State.BACKING_OFF)
        await becomes(provider, State.UP)
        with pytest.raises(RpcError):
            await client.call("echo", exit=1)
        await becomes(provider, State.BACKING_OFF)
        await becomes(provider, State.UP)
        calls = [one for one in received(seen) if one.get("method") == "tools/call"]
        assert len(calls) == 2


async def test_two_eras_of_client_see_the_same(quick: None) -> None:
    async with providing(light("--tools", "a,b")) as (server, _provider):
        clients: list[Client] = [Legacy(server), Modern(server)]
        assert [await client.names() for client in clients] == [["a", "b"]] * 2


async def test_a_call_that_was_not_sent_is_sent_over_the_next_link() -> None:
    def expire(_params: Any, _call: Any) -> Any:
        first.close("the session has expired")
        raise UpstreamUnavailable("up", "the session has expired")

    first, second = wire(tools__call=expire), wire(tools__call={"content": []})
    async with providing(ProxyClient(WireEndpoint(wire(), first, second))) as (server, provider):
        assert await Legacy(server).call("t") == {"content": []}
        assert [len(one.of("tools/call")) for one in (first, second)] == [1, 1]
        assert provider.status()["calls"] == 0


async def test_a_call_that_is_given_up_while_it_is_sent_again_ends() -> None:
    asked = asyncio.Event()

    def expire(_params: Any, _call: Any) -> Any:
        first.close("the session has expired")
        raise UpstreamUnavailable("up", "the session has expired")

    async def never(_params: Any, _call: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    first, second = wire(tools__call=expire), wire(tools__call=never)
    async with providing(ProxyClient(WireEndpoint(wire(), first, second))) as (server, provider):
        calling = asyncio.create_task(Legacy(server).call("t"))
        async with asyncio.timeout(DEADLINE):
            await asked.wait()
        calling.cancel()
        await asyncio.wait([calling])
        await eventually(lambda: provider.status()["calls"] == 0)
        assert not second.calls


def all_kinds(error: type[UpstreamError]) -> set[type[UpstreamError]]:
    return {error}.union(*(all_kinds(kind) for kind in error.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(all_kinds(UpstreamError), key=lambda kind: kind.__name__))
async def test_whatever_an_upstream_fails_with_ends_the_call_without_the_secrets_of_the_config(
    kind: type[UpstreamError],
) -> None:
    def fail(_params: Any, _call: Any) -> Any:
        raise kind("up", "it wants s3cret")

    failing = ProxyClient(WireEndpoint(wire(), wire(tools__call=fail)))
    async with providing(failing, scrub=lambda text: text.replace("s3cret", "***")) as (server, provider):
        with pytest.raises(RpcError, match=r"it wants \*\*\*"):
            await Legacy(server).call("t")
        assert provider.status()["calls"] == 0


async def test_a_defect_at_the_end_of_a_call_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_params: Any, _call: Any) -> Any:
        raise UpstreamUnavailable("up", "no")

    def defect(_error: Any) -> Any:
        raise TypeError("a defect")

    async with providing(ProxyClient(WireEndpoint(wire(), wire(tools__call=fail)))) as (server, provider):
        monkeypatch.setattr(provider, "scrubbed", defect)
        with pytest.raises(TypeError, match="a defect"):
            await Legacy(server).call("t")
        assert provider.status()["calls"] == 0
