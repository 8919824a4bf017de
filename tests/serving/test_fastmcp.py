"""The server made of providers answers every method of the protocol, in each era, without a wire in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from meshproxy.catalog.snapshot import Snapshot
from meshproxy.errors import INVALID_PARAMS, METHOD_NOT_FOUND, RpcError
from meshproxy.kinds import Kind
from meshproxy.links.trail import META_TRAIL
from meshproxy.relay.principal import ANONYMOUS
from meshproxy.serving.fastmcp import FastMCP, FastMCPProxy
from meshproxy.supervision.states import State
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.protocol import (
    EXTENSION_TASKS,
    EXTENSION_UI,
    LATEST_LEGACY,
    LATEST_MODERN,
    LEGACY_VERSIONS,
    META_SERVER,
    META_SUBSCRIPTION,
    Era,
)
from tests.kit.clients import Client, Legacy, Modern
from tests.kit.waiting import DEADLINE
from tests.kit.wires import ALL, Wire, WireEndpoint

pytestmark = pytest.mark.anyio

TOOLS = "notifications/tools/list_changed"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
UPDATED = "notifications/resources/updated"
FLAGS = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
PROMISED = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
}


def wire(era: Era = Era.LEGACY, capabilities: dict[str, Any] | None = None, **answers: Any) -> Wire:
    """An upstream with a tool, a resource, a template and a prompt."""
    listings = {
        "tools__list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
        "prompts__list": {"prompts": [{"name": "p"}]},
        "resources__list": {"resources": [{"uri": "r://x", "name": "x"}]},
        "resources__templates__list": {"resourceTemplates": [{"uriTemplate": "r://{v}", "name": "v"}]},
    }
    return Wire(era, capabilities, **(listings | answers))


class Serving:
    """A server over wires, by namespace."""

    def __init__(self, server: FastMCP, endpoints: dict[str, WireEndpoint]) -> None:
        self.server = server
        self.endpoints = endpoints

    def says(self, name: str, method: str, params: dict[str, Any]) -> None:
        """Let an upstream say something on its own account."""
        endpoint = self.endpoints[name]
        provider = next(one.provider for one in self.server.composite.mounted if one.mount.name == name)
        endpoint.listeners[0].on_notification(provider._supervisor.link, method, params)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def serving(settle: bool = True, *, options: Any = None, **wires: Wire) -> AsyncIterator[Serving]:  # noqa: FBT001, FBT002
    server = FastMCP("m", version="1", **(options or {}))
    endpoints = {name: WireEndpoint(one, name=name) for name, one in wires.items()}
    for name, endpoint in endpoints.items():
        server.add_provider(ProxyProvider(ProxyClient(endpoint, name=name), session="shared"), namespace=name)
        if not settle:
            endpoint.ready.clear()
    async with server:
        async with asyncio.timeout(DEADLINE):
            if settle:
                await asyncio.gather(*(one.provider.settled() for one in server.composite.mounted))
        yield Serving(server, endpoints)


def without(server: FastMCP, *kinds: Kind) -> Snapshot:
    """What is served, as if there was nothing of these kinds yet."""
    snapshot = server.composite.snapshot
    return replace(snapshot, routes={**snapshot.routes, **{kind: {} for kind in kinds}})


async def refusal(client: Client, method: str, params: dict[str, Any] | None = None) -> RpcError:
    with pytest.raises(RpcError) as refused:
        await client.request(method, params)
    return refused.value


# How it introduces itself


@pytest.mark.parametrize("asked", [*LEGACY_VERSIONS, "1.0", LATEST_MODERN, None])
async def test_a_handshake_ends_at_a_version_of_its_era(asked: str | None) -> None:
    async with serving(up=wire()) as it:
        result = await Legacy(it.server).request("initialize", {"protocolVersion": asked, "capabilities": {}})
        assert result["protocolVersion"] == (asked if asked in LEGACY_VERSIONS else LATEST_LEGACY)
        assert result["serverInfo"] == {"name": "m", "version": "1"}
        assert result["capabilities"] == PROMISED


async def test_discovery_says_the_same_to_a_modern_client() -> None:
    async with serving(up=wire()) as it:
        result = await Modern(it.server).request("server/discover")
        assert result == {
            "supportedVersions": [LATEST_MODERN],
            "capabilities": PROMISED,
            "resultType": "complete",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {META_SERVER: {"name": "m", "version": "1"}, META_TRAIL: [it.server.stamp.token]},
        }


async def test_instructions_are_its_own_and_those_of_its_upstreams() -> None:
    up = wire()
    up.server["instructions"] = "Mind the gap."
    async with serving(up=up, options={"instructions": "Welcome."}) as it:
        expected = "Welcome.\n\n## up\n\nMind the gap."
        assert (await Legacy(it.server).request("initialize", {}))["instructions"] == expected
        assert (await Modern(it.server).request("server/discover"))["instructions"] == expected


async def test_extensions_are_offered_in_the_eras_that_have_them() -> None:
    offered = {**ALL, "extensions": {EXTENSION_UI: {"a": 1}, EXTENSION_TASKS: {}, "vendor/x": {}}}
    async with serving(up=wire(Era.MODERN, offered)) as it:
        legacy = await Legacy(it.server).request("initialize", {})
        modern = await Modern(it.server).request("server/discover")
        assert legacy["capabilities"]["extensions"] == {EXTENSION_UI: {"a": 1}}
        assert modern["capabilities"]["extensions"] == {EXTENSION_UI: {"a": 1}, EXTENSION_TASKS: {}}


# Methods


@pytest.mark.parametrize(
    ("client", "methods"),
    [
        (Legacy, ["server/discover", "subscriptions/listen", "tasks/get", "tasks/list", "x/y", ""]),
        (Modern, ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "x/y"]),
    ],
)
async def test_a_method_that_an_era_does_not_have_is_not_found(client: type[Client], methods: list[str]) -> None:
    async with serving(up=wire()) as it:
        for method in methods:
            error = await refusal(client(it.server), method)
            assert (error.code, error.message) == (METHOD_NOT_FOUND, f"Method not found: {method}")


async def test_a_ping_is_answered_here() -> None:
    async with serving(up=wire()) as it:
        assert await Legacy(it.server).request("ping") == {}
        assert "ping" not in [method for method, _ in it.endpoints["up"].wires]


@pytest.mark.parametrize("method", ["tools/list", "prompts/list", "resources/list", "resources/templates/list"])
async def test_a_listing_has_one_page(method: str) -> None:
    async with serving(a=wire(), b=wire()) as it:
        for client in (Legacy(it.server), Modern(it.server)):
            page = await client.request(method)
            items = next(value for value in page.values() if isinstance(value, list))
            assert len(items) == 2
            assert "nextCursor" not in page
            for cursor in ("", "x"):
                assert (await refusal(client, method, {"cursor": cursor})).code == INVALID_PARAMS
            assert ("ttlMs" in page) == isinstance(client, Modern)


async def test_a_modern_listing_may_be_kept_as_long_as_that_of_each_upstream() -> None:
    def kept(ttl: int, scope: str) -> Wire:
        tools = {"tools": [], "ttlMs": ttl, "cacheScope": scope}
        return wire(Era.MODERN, {"tools": {"listChanged": True}}, tools__list=tools)

    async with serving(a=kept(500, "public"), b=kept(300, "public")) as it:
        page = await Modern(it.server).request("tools/list")
        assert (page["ttlMs"], page["cacheScope"]) == (300, "public")
        assert "ttlMs" not in await Legacy(it.server).request("tools/list")
    async with serving(a=kept(500, "public"), b=kept(300, "private")) as it:
        assert (await Modern(it.server).request("tools/list"))["cacheScope"] == "private"


@pytest.mark.parametrize("level", [None, "loud", 3, {}, []])
async def test_a_level_that_nobody_knows_is_refused(level: Any) -> None:
    async with serving(up=wire()) as it:
        client = Legacy(it.server)
        error = await refusal(client, "logging/setLevel", {"level": level})
        assert error.code == INVALID_PARAMS
        assert "debug, info" in error.message
        assert client.session.log_level is None


async def test_an_upstream_that_completes_nothing_completes_with_nothing() -> None:
    mute, able = wire(capabilities=ALL), wire(capabilities={**ALL, "completions": {}})
    able.answers["completion/complete"] = {"completion": {"values": ["x"]}}
    async with serving(mute=mute, able=able) as it:
        for client in (Legacy(it.server), Modern(it.server)):
            for name, values in (("mute", []), ("able", ["x"])):
                ref = {"type": "ref/prompt", "name": f"{name}_p"}
                result = await client.request(
                    "completion/complete", {"ref": ref, "argument": {"name": "a", "value": ""}}
                )
                assert result["completion"] == {"values": values}
                assert ("resultType" in result) == isinstance(client, Modern)
        assert mute.of("completion/complete") == []


async def test_an_upstream_that_is_down_is_named_in_the_error() -> None:
    async with serving(up=wire()) as it:
        provider = it.server.composite.mounted[0].provider
        provider._supervisor.link.close("it died")  # type: ignore[union-attr]
        it.endpoints["up"].listeners[0].on_closed(provider._supervisor.link, "it died")  # type: ignore[arg-type]
        for client in (Legacy(it.server), Modern(it.server)):
            error = await refusal(client, "tools/call", {"name": "up_t"})
            assert error.data == {"upstream": "up", "reason": "it died", "retryable": True}
            assert await client.names() == ["up_t"]


async def test_the_schema_of_annotated_arguments_is_known_by_the_public_name() -> None:
    schema = {"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}
    tools = {"tools": [{"name": "t", "inputSchema": schema}, {"name": "plain", "inputSchema": {"type": "object"}}]}
    async with serving(up=wire(tools__list=tools)) as it:
        assert it.server.annotated_schema(ANONYMOUS, "up_t") == schema
        assert it.server.annotated_schema(ANONYMOUS, "up_plain") is None
        assert it.server.annotated_schema(ANONYMOUS, "t") is None


async def test_a_clients_new_roots_are_told_to_the_upstreams_that_may_ask_for_them() -> None:
    old, new = wire(), wire(Era.MODERN, {"tools": {}})
    async with serving(old=old, new=new) as it:
        Legacy(it.server).notify("notifications/roots/list_changed")
        Legacy(it.server).notify("notifications/anything/else")
        while it.server._background:
            await asyncio.sleep(0)
        assert [method for method, _ in old.told] == ["notifications/roots/list_changed"]
        assert new.told == []


# While upstreams start


async def test_a_listing_waits_for_upstreams_that_start() -> None:
    async with serving(settle=False, a=wire(), b=wire(), options={"list_grace": DEADLINE}) as it:
        clients = [Legacy(it.server), Modern(it.server)]
        listing = [asyncio.create_task(client.names()) for client in clients]
        it.endpoints["a"].ready.set()
        await clients[0].heard.until(TOOLS)
        assert not any(task.done() for task in listing)
        it.endpoints["b"].ready.set()
        assert [await task for task in listing] == [["a_t", "b_t"]] * 2


@pytest.mark.parametrize("client", [Legacy, Modern])
async def test_a_listing_waits_for_an_upstream_that_is_listed_and_not_yet_listened_to(client: type[Client]) -> None:
    listening, go_on = asyncio.Event(), asyncio.Event()

    class Hesitant(Wire):
        async def listen(self) -> None:
            listening.set()
            await go_on.wait()

    a = Hesitant(tools__list={"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
    async with serving(settle=False, a=a, options={"list_grace": DEADLINE}) as it:
        it.endpoints["a"].ready.set()
        await asyncio.wait_for(listening.wait(), DEADLINE)
        listing = asyncio.create_task(client(it.server).names())
        asyncio.get_running_loop().call_soon(go_on.set)
        assert await listing == ["a_t"]


async def test_a_listing_waits_no_longer_than_the_grace_and_what_comes_later_is_announced() -> None:
    async with serving(settle=False, a=wire(), b=wire(), options={"list_grace": 0.05}) as it:
        client = Legacy(it.server)
        it.endpoints["a"].ready.set()
        assert await client.names() == ["a_t"]
        assert it.server.composite.mounted[1].provider.state is State.STARTING
        # Ever after at once.
        assert await client.names() == ["a_t"]
        client.heard.clear()
        it.endpoints["b"].ready.set()
        await client.heard.until(TOOLS)
        assert await client.names() == ["a_t", "b_t"]


async def test_without_a_grace_a_listing_never_waits() -> None:
    async with serving(settle=False, a=wire(), options={"list_grace": 0.0}) as it:
        assert await Legacy(it.server).names() == []


async def test_a_listing_that_is_cancelled_while_it_waits_leaves_nothing() -> None:
    async with serving(settle=False, a=wire(), options={"list_grace": DEADLINE}) as it:
        tasks = asyncio.all_tasks()
        listing = asyncio.create_task(Legacy(it.server).names())
        while len(asyncio.all_tasks() - tasks) < 2:
            await asyncio.sleep(0)
        listing.cancel()
        await asyncio.wait({listing})
        left = asyncio.all_tasks() - tasks
        if left:
            await asyncio.wait(left, timeout=1)
        assert not asyncio.all_tasks() - tasks


# What listeners hear


async def test_a_stream_is_acknowledged_first_with_what_it_can_honour_and_tagged() -> None:
    async with serving(up=wire()) as it:
        client = Modern(it.server)
        wanted = {
            **FLAGS,
            "promptsListChanged": "yes",
            "other": True,
            "resourceSubscriptions": ["r://up/x", "z://z", 3],
        }
        stream = asyncio.create_task(client.request("subscriptions/listen", {"notifications": wanted}))
        told = await client.heard.until(ACKNOWLEDGED)
        assert told["notifications"] == {
            "toolsListChanged": True,
            "resourcesListChanged": True,
            "resourceSubscriptions": ["r://up/x"],
        }
        tag = told["_meta"][META_SUBSCRIPTION]
        assert client.heard.methods() == [ACKNOWLEDGED]
        it.says("up", UPDATED, {"uri": "r://x", "_meta": {"k": 1}})
        assert await client.heard.until(UPDATED) == {"uri": "r://up/x", "_meta": {"k": 1, META_SUBSCRIPTION: tag}}
        it.server._announcements.announce(without(it.server, Kind.TOOL, Kind.PROMPT))
        assert client.heard.of(TOOLS) == [{"_meta": {META_SUBSCRIPTION: tag}}]
        assert client.heard.of("notifications/prompts/list_changed") == []
        it.server.end_streams()
        async with asyncio.timeout(DEADLINE):
            result = await stream
        assert result == {
            "resultType": "complete",
            "_meta": {META_SERVER: {"name": "m", "version": "1"}, META_SUBSCRIPTION: tag},
        }
        assert it.server._announcements._streams == {}


async def test_an_update_that_comes_before_the_acknowledgement_follows_it() -> None:
    up = wire()
    async with serving(up=up) as it:

        def subscribed(params: dict[str, Any], _call: Any) -> Any:
            it.says("up", UPDATED, params)
            return {}

        up.answers["resources/subscribe"] = subscribed
        client = Modern(it.server)
        wanted = {"resourceSubscriptions": ["r://up/x"]}
        stream = asyncio.create_task(client.request("subscriptions/listen", {"notifications": wanted}))
        await client.heard.until(UPDATED)
        assert client.heard.methods() == [ACKNOWLEDGED, UPDATED]
        it.server.end_streams()
        await stream


@pytest.mark.parametrize("notifications", [None, 3, [], "x"])
async def test_a_stream_of_nothing_in_particular_is_refused(notifications: Any) -> None:
    async with serving(up=wire()) as it:
        error = await refusal(Modern(it.server), "subscriptions/listen", {"notifications": notifications})
        assert error.code == INVALID_PARAMS
        assert (await refusal(Modern(it.server), "subscriptions/listen")).code == INVALID_PARAMS


async def test_a_stream_that_its_client_leaves_is_forgotten_with_what_it_subscribed_to() -> None:
    up = wire()
    async with serving(up=up) as it:
        client = Modern(it.server)
        wanted = {"resourceSubscriptions": ["r://up/x"]}
        stream = asyncio.create_task(client.request("subscriptions/listen", {"notifications": wanted}))
        await client.heard.until(ACKNOWLEDGED)
        stream.cancel()
        await asyncio.wait({stream})
        assert up.of("resources/unsubscribe") == [{"uri": "r://x"}]
        assert it.server._announcements._streams == {}


async def test_a_session_hears_of_changes_from_its_start_to_its_end() -> None:
    async with serving(up=wire()) as it:
        staying, leaving = Legacy(it.server), Legacy(it.server)
        it.server._announcements.announce(without(it.server, Kind.TOOL))
        leaving.close()
        it.server._announcements.announce(without(it.server, Kind.TOOL))
        assert staying.heard.all == [(TOOLS, {})] * 2
        assert leaving.heard.all == [(TOOLS, {})]


async def test_what_an_upstream_says_changed_is_announced_once_it_is_listed() -> None:
    up = wire()
    async with serving(up=up) as it:
        client = Legacy(it.server)
        up.answers["tools/list"] = {"tools": [{"name": "new"}]}
        it.says("up", TOOLS, {})
        await client.heard.until(TOOLS)
        assert await client.names() == ["up_new"]
        assert client.heard.methods() == [TOOLS]


async def test_what_an_upstream_says_changed_and_did_not_is_not_announced() -> None:
    up = wire()
    async with serving(up=up) as it:
        legacy, modern = Legacy(it.server), Modern(it.server)
        listening = asyncio.ensure_future(
            modern.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        )
        await modern.heard.until(ACKNOWLEDGED)
        count = len(up.of("tools/list"))
        it.says("up", TOOLS, {})
        await up.until("tools/list", count + 1)
        up.answers["tools/list"] = {"tools": [{"name": "new"}]}
        it.says("up", TOOLS, {})
        for client in (legacy, modern):
            await client.heard.until(TOOLS)
            assert len(client.heard.of(TOOLS)) == 1
            assert await client.names() == ["up_new"]
        it.server.end_streams()
        await asyncio.wait({listening})


# From Python


async def test_one_upstream_is_served_without_a_prefix() -> None:
    endpoint = WireEndpoint(wire())
    async with FastMCPProxy(ProxyClient(endpoint), "front", session="shared") as server:
        client = Legacy(server)
        assert await client.names() == ["t"]
        assert await client.names("resources") == ["r://x"]
        assert "front" in repr(server)
    assert server.composite.mounted[0].provider.state is State.STOPPED


async def test_a_factory_is_a_target_too() -> None:
    async with FastMCPProxy(lambda: ProxyClient(WireEndpoint(wire())), session="shared") as server:
        assert await Modern(server).names() == ["t"]
