"""Many providers are one: every request finds its upstream by its public name or URI, and is told clearly if there is none."""

import asyncio
import json
import os
import signal
import sys
from typing import Any

import pytest
from meshproxy.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError
from meshproxy.mesh import watchers
from meshproxy.supervision import backoff
from tests.kit.clients import Client, Legacy, Modern
from tests.kit.light import document, light, received
from tests.kit.waiting import eventually
from tests.mesh.conftest import RunMesh, Running

pytestmark = pytest.mark.anyio

UPDATED = "notifications/resources/updated"
OFFERS = ("--tools", "t", "--prompts", "p", "--resources", "r://x,https://example.com/x", "--templates", "t://{v}")


async def refusal(client: Client, method: str, params: dict[str, Any]) -> RpcError:
    with pytest.raises(RpcError) as refused:
        await client.request(method, params)
    return refused.value


@pytest.mark.parametrize(
    ("method", "params", "said"),
    [
        ("tools/call", {}, "'name' must be a string"),
        ("tools/call", {"name": 3}, "'name' must be a string"),
        ("tools/call", {"name": ["a_t"]}, "'name' must be a string"),
        ("tools/call", {"name": "t"}, "Unknown tool: t"),
        ("tools/call", {"name": "a_t", "arguments": []}, "'arguments' must be an object"),
        ("tools/call", {"name": "a_t", "arguments": "x"}, "'arguments' must be an object"),
        ("tools/call", {"name": "a_t", "arguments": 3}, "'arguments' must be an object"),
        ("prompts/get", {"name": "a_t"}, "Unknown prompt: a_t"),
        ("resources/read", {}, "'uri' must be a string"),
        ("resources/read", {"uri": {"a": 1}}, "'uri' must be a string"),
        ("completion/complete", {}, "'ref' must be"),
        ("completion/complete", {"ref": {"type": "ref/tool", "name": "a_t"}}, "'ref' must be"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}, "unknown ref/prompt 'p'"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": 3}}, "unknown ref/prompt 3"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "a_p", "Name": "q"}}, "'Name' differs"),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "z://z"}}, "unknown ref/resource 'z://z'"),
    ],
)
async def test_a_request_that_leads_nowhere_says_what_is_wrong_with_it(
    run_mesh: RunMesh, method: str, params: dict[str, Any], said: str
) -> None:
    async with run_mesh(document({"a": light(*OFFERS)})) as mesh:
        for client in (Legacy(mesh.server), Modern(mesh.server)):
            error = await refusal(client, method, params)
            assert error.code == INVALID_PARAMS
            assert said in error.message


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "a_t"}),
        ("prompts/get", {"name": "a_p", "arguments": {}}),
        ("resources/read", {"uri": "r://a/x"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "a_p"}, "argument": {"name": "x", "value": ""}}),
    ],
)
async def test_what_nobody_has_yet_is_waited_for_while_upstreams_start_but_not_for_the_others(
    run_mesh: RunMesh, method: str, params: dict[str, Any]
) -> None:
    silent = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    text = document({"silent": silent, "a": light(*OFFERS)}, server={"list_grace": "1h"})
    async with run_mesh(text, settle=False) as mesh:
        assert await Modern(mesh.server).request(method, params)


async def test_what_nobody_has_when_the_grace_is_over_is_refused(run_mesh: RunMesh) -> None:
    silent = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    async with run_mesh(document({"silent": silent}, server={"list_grace": "50ms"}), settle=False) as mesh:
        error = await refusal(Modern(mesh.server), "tools/call", {"name": "silent_t"})
        assert error.message == "Unknown tool: silent_t"


async def test_a_uri_of_no_upstream_is_not_found_as_its_era_says(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(*OFFERS)})) as mesh:
        legacy, modern = Legacy(mesh.server), Modern(mesh.server)
        for uri in ("r://x", "r://b/x", "https://example.com/else", "no uri", ""):
            told = [(await refusal(client, "resources/read", {"uri": uri})) for client in (legacy, modern)]
            assert [error.code for error in told] == [RESOURCE_NOT_FOUND, INVALID_PARAMS]
            assert [error.data for error in told] == [{"uri": uri}] * 2
        assert (await refusal(legacy, "resources/subscribe", {"uri": "z://z"})).code == RESOURCE_NOT_FOUND
        assert (await refusal(legacy, "resources/unsubscribe", {"uri": "z://z"})).code == RESOURCE_NOT_FOUND


async def test_every_request_reaches_its_upstream_under_the_name_that_it_has_there(
    run_mesh: RunMesh, tmp_path: Any
) -> None:
    seen = tmp_path / "seen"
    async with run_mesh(document({"a": light(*OFFERS, "--journal", str(seen)), "b": light(*OFFERS)})) as mesh:
        for client in (Legacy(mesh.server), Modern(mesh.server)):
            requests = [
                ("tools/call", {"name": "a_t"}, {"name": "t"}),
                ("prompts/get", {"name": "a_p", "arguments": {"x": "y"}}, {"name": "p", "arguments": {"x": "y"}}),
                ("resources/read", {"uri": "r://a/x"}, {"uri": "r://x"}),
                ("resources/read", {"uri": "t://a/1/2"}, {"uri": "t://1/2"}),
                ("resources/read", {"uri": "https://example.com/x"}, {"uri": "https://example.com/x"}),
                (
                    "completion/complete",
                    {"ref": {"type": "ref/prompt", "name": "a_p"}, "argument": {"name": "x", "value": "y"}},
                    {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "x", "value": "y"}},
                ),
                (
                    "completion/complete",
                    {"ref": {"type": "ref/prompt", "name": "a_p", "uri": "r://x", "title": "P"}, "argument": {}},
                    {"ref": {"type": "ref/prompt", "title": "P", "name": "p"}, "argument": {}},
                ),
                (
                    "completion/complete",
                    {"ref": {"type": "ref/resource", "uri": "t://a/{v}"}, "argument": {}, "context": {"k": 1}},
                    {"ref": {"type": "ref/resource", "uri": "t://{v}"}, "argument": {}, "context": {"k": 1}},
                ),
            ]
            for method, params, there in requests:
                await client.request(method, params)
                sent = received(seen)[-1]
                sent["params"].pop("_meta", None)
                assert (sent["method"], sent["params"]) == (method, there)


async def test_a_renamed_resource_is_linked_to_and_read_under_its_new_uri_listed_or_not(
    run_mesh: RunMesh, tmp_path: Any
) -> None:
    seen = tmp_path / "seen"
    renames = {"rename": {"r://x": "s://listed", "t://y": "s://unlisted"}}
    text = document({"a": light(*OFFERS, "--journal", str(seen), resources=renames)})
    async with run_mesh(text) as mesh:
        for client in (Legacy(mesh.server), Modern(mesh.server)):
            assert await client.names("resources") == ["s://a/listed", "https://example.com/x"]
            for origin, public in (("r://x", "s://a/listed"), ("t://y", "s://a/unlisted")):
                link = {"type": "resource_link", "name": "l", "uri": origin}
                result = await client.call("a_t", raw=json.dumps({"resultType": "complete", "content": [link]}))
                assert result["content"] == [link | {"uri": public}]
                contents = (await client.request("resources/read", {"uri": public}))["contents"]
                assert contents == [{"uri": public, "text": ""}]
                assert received(seen)[-1]["params"]["uri"] == origin


# Subscriptions


async def subscribed(mesh: Running, uri: str) -> tuple[Legacy, Modern, Any]:
    """A client of each era that waits for updates of a resource, and the modern one's stream."""
    legacy, modern = Legacy(mesh.server), Modern(mesh.server)
    await legacy.request("resources/subscribe", {"uri": uri})
    wanted = {"notifications": {"resourceSubscriptions": [uri]}}
    stream = asyncio.create_task(modern.request("subscriptions/listen", wanted))
    acknowledged = await modern.heard.until("notifications/subscriptions/acknowledged")
    assert acknowledged["notifications"] == {"resourceSubscriptions": [uri]}
    return legacy, modern, stream


async def touch(mesh: Running, tool: str) -> None:
    await Legacy(mesh.server).call(tool, notify=[[UPDATED, {"uri": "r://x"}]])


async def test_a_subscription_survives_the_change_of_its_upstream(run_mesh: RunMesh, tmp_path: Any) -> None:
    async with run_mesh(document({"a": light(*OFFERS)})) as mesh:
        legacy, modern, stream = await subscribed(mesh, "r://a/x")
        for number in (1, 2):
            seen = tmp_path / str(number)
            await mesh.edit(document({"a": light(*OFFERS, "--journal", str(seen))}))
            await eventually(lambda: "resources/subscribe" in [one.get("method") for one in received(seen)])  # noqa: B023  # awaited at once
            await touch(mesh, "a_t")
            for client in (legacy, modern):
                assert (await client.heard.until(UPDATED, number))["uri"] == "r://a/x"
        await legacy.request("resources/unsubscribe", {"uri": "r://a/x"})
        mesh.server.end_streams()
        await stream
        await eventually(lambda: "resources/unsubscribe" in [one.get("method") for one in received(seen)])
        assert len(legacy.heard.of(UPDATED)) == len(modern.heard.of(UPDATED)) == 2


async def test_a_subscription_waits_for_an_upstream_that_comes_back(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_mesh(document({"a": light(*OFFERS), "b": light()})) as mesh:
        legacy, modern, stream = await subscribed(mesh, "r://a/x")
        await mesh.edit(document({"b": light()}))
        assert (await refusal(legacy, "resources/read", {"uri": "r://a/x"})).code == RESOURCE_NOT_FOUND
        await mesh.edit(document({"a": light(*OFFERS), "b": light()}))
        await eventually(lambda: bool(mesh.mesh._providers["a"].audience.subscriptions))
        await eventually(lambda: not mesh.server.composite._watchers._moving)
        await touch(mesh, "a_t")
        for client in (legacy, modern):
            await client.heard.until(UPDATED)
        # And for one that died.
        monkeypatch.setattr(backoff, "BACKOFF", (0.01, 0.01))
        pid = mesh.pid("a")
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: mesh.mesh.status()["a"]["state"] == "up" and mesh.pids("a") not in ([], [pid]))
        await touch(mesh, "a_t")
        for client in (legacy, modern):
            await client.heard.until(UPDATED, 2)
        mesh.server.end_streams()
        await stream


async def test_a_client_that_leaves_waits_for_nothing_any_more(run_mesh: RunMesh, tmp_path: Any) -> None:
    seen = tmp_path / "seen"
    async with run_mesh(document({"a": light(*OFFERS, "--journal", str(seen)), "b": light(*OFFERS)})) as mesh:
        legacy, _modern, stream = await subscribed(mesh, "r://a/x")
        await legacy.request("resources/subscribe", {"uri": "r://b/x"})
        stream.cancel()
        legacy.close()
        await eventually(lambda: "resources/unsubscribe" in [one.get("method") for one in received(seen)])
        await eventually(lambda: not mesh.mesh._providers["b"].audience.subscriptions)
        await mesh.edit(document({"a": light(*OFFERS), "b": light(*OFFERS)}))
        assert not mesh.mesh._providers["a"].audience.subscriptions


async def test_ending_what_nobody_subscribed_to_is_done_already(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(*OFFERS)})) as mesh:
        assert await Legacy(mesh.server).request("resources/unsubscribe", {"uri": "r://a/x"}) == {}


async def test_a_subscription_that_the_upstream_refuses_is_refused(run_mesh: RunMesh) -> None:
    refusing = light(*OFFERS, "--refuse", "resources/subscribe")
    async with run_mesh(document({"a": refusing})) as mesh:
        legacy, modern = Legacy(mesh.server), Modern(mesh.server)
        assert (await refusal(legacy, "resources/subscribe", {"uri": "r://a/x"})).code == -32601
        wanted = {"notifications": {"resourceSubscriptions": ["r://a/x", "z://z", 3]}}
        stream = asyncio.create_task(modern.request("subscriptions/listen", wanted))
        acknowledged = await modern.heard.until("notifications/subscriptions/acknowledged")
        assert acknowledged["notifications"] == {}
        mesh.server.end_streams()
        await stream


async def test_a_client_waits_for_updates_of_so_many_resources_and_no_more(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "MAX_SUBSCRIBED", 1)
    async with run_mesh(document({"a": light(*OFFERS)})) as mesh:
        client, other = Legacy(mesh.server), Legacy(mesh.server)
        await client.request("resources/subscribe", {"uri": "r://a/x"})
        assert "1 resources at most" in (await refusal(client, "resources/subscribe", {"uri": "t://a/1"})).message
        await other.request("resources/subscribe", {"uri": "t://a/1"})
        await client.request("resources/unsubscribe", {"uri": "r://a/x"})
        await client.request("resources/subscribe", {"uri": "t://a/1"})


async def test_what_is_listed_stays_as_it_is_while_one_upstream_after_the_other_is_closed(run_mesh: RunMesh) -> None:
    async with run_mesh(document({name: light(when_down="hide") for name in "abc"})) as mesh:
        listed, composite = mesh.server.composite.snapshot, mesh.server.composite
        assert len(listed.parts) == 3
    assert composite.snapshot is listed
