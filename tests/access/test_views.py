"""What a principal sees is what it can use, by every method, in both eras, at every address: listing, look-up and announcements come from one view."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from meshproxy.http.sse import SseParser
from meshproxy.wire.protocol import META_CAPABILITIES
from tests.access.conftest import ADA, BOB, Guard, Guarded, key, mesh_of
from tests.kit.light import light
from tests.kit.messages import frames, heads, modern, request

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
Ask = Callable[..., Awaitable[Json]]

CI, BOSS = "mesh_ci-0123456789", "mesh_boss-0123456789"
PRINCIPALS = {"ada": ADA, "bob": BOB, "ci": CI, "boss": BOSS}
SAFE = json.dumps({"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}})
KEYS = [key("ada", ADA, groups=["dev"]), key("bob", BOB), key("ci", CI), key("boss", BOSS, groups=["admins"])]
OFFER = (
    "--tools",
    "find,drop",
    "--define",
    SAFE,
    "--prompts",
    "plan,sum",
    "--resources",
    "r://1,r://2",
    "--templates",
    "t://{id},s://{id}",
)
UPSTREAMS = {
    "a": light(*OFFER, "--instructions", "Of a."),
    "b": light(*OFFER, "--instructions", "Of b.", "--era", "modern"),
}
RULES: list[Json] = [
    {"who": {"groups": ["admins"]}, "allow": ["*"]},
    {"who": {"groups": ["dev"]}, "allow": ["a_*", "r://a/*", "t://a/*"], "deny": ["*_drop", "r://a/2"]},
    {"who": {"keys": ["c?"]}, "allow": ["*"], "only": "read_only"},
    {"who": "any", "deny": ["*"]},
]
PROFILES: Json = {
    "research": {"upstreams": ["a"], "instructions": "Cite."},
    "small": {
        "tools": {"include": ["*_find", "*_look"], "exclude": ["b_look"]},
        "prompts": {"include": ["b_*"]},
        "resources": {"exclude": ["r://b/*", "t://a/5"]},
        "templates": {"include": ["t://*"]},
    },
}
TEXT = mesh_of(*KEYS, upstreams=UPSTREAMS, access=RULES, profiles=PROFILES)
PATHS = ("/mcp", "/mcp/research", "/mcp/small")
KINDS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}


async def asking(mesh: Guarded, era: str, secret: str, path: str) -> Ask:
    if era == "modern":

        async def ask(method: str, **params: Any) -> Json:
            return await mesh.modern(secret, method, path, **params)

        return ask
    session = await mesh.open(secret, path)

    async def ask_in_session(method: str, **params: Any) -> Json:
        return await mesh.legacy(secret, session, method, path, **params)

    return ask_in_session


async def listed(ask: Ask) -> dict[str, list[str]]:
    return {
        method: [item[field] for item in (await ask(method))["result"][items]]
        for method, (items, field) in KINDS.items()
    }


def uses(kind: str, name: str, era: str) -> list[tuple[str, Json]]:
    """Every method that names a component of a kind."""
    expansion = name.replace("{id}", "5")
    subscribing = [("resources/subscribe", {"uri": expansion})] if era == "legacy" else []
    return {
        "tools/list": [("tools/call", {"name": name})],
        "prompts/list": [
            ("prompts/get", {"name": name}),
            (
                "completion/complete",
                {"ref": {"type": "ref/prompt", "name": name}, "argument": {"name": "x", "value": ""}},
            ),
        ],
        "resources/list": [("resources/read", {"uri": name}), *subscribing],
        "resources/templates/list": [
            ("resources/read", {"uri": expansion}),
            (
                "completion/complete",
                {"ref": {"type": "ref/resource", "uri": name}, "argument": {"name": "id", "value": ""}},
            ),
            *subscribing,
        ],
    }[kind]


def without(answer: Json, *names: str) -> str:
    text = json.dumps(answer)
    for name in names:
        text = text.replace(name, "NAME")
    return text


NOWHERE = {
    "tools/list": "a_nowhere",
    "prompts/list": "a_nowhere",
    "resources/list": "nothing:x",
    "resources/templates/list": "nothing:{id}",
}


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_invariants_9_and_10_what_is_listed_is_what_there_is(guarded: Guard, era: str) -> None:
    """Four principals, three addresses, every method: what is listed can be used, and what is not cannot be told from what does not exist."""
    async with guarded(TEXT) as mesh:
        everything = await listed(await asking(mesh, era, BOSS, "/mcp"))
        assert {kind: len(names) for kind, names in everything.items()} == dict(zip(KINDS, (6, 4, 4, 4), strict=True))
        seen = {}
        for name, secret in PRINCIPALS.items():
            for path in PATHS:
                ask = await asking(mesh, era, secret, path)
                mine = seen[name, path] = await listed(ask)
                for kind, names in everything.items():
                    for component in names:
                        for (method, params), (_, absent) in zip(
                            uses(kind, component, era), uses(kind, NOWHERE[kind], era), strict=True
                        ):
                            where = f"{name} {path} {method} {component}"
                            answer = await ask(method, **params)
                            is_expansion = "{id}" in component and component.replace("{id}", "5") in json.dumps(params)
                            excluded = (
                                path == "/mcp/small" and component.startswith(("r://b/", "t://a/")) and is_expansion
                            )
                            if component in mine[kind] and not excluded:
                                assert "result" in answer, where
                            else:
                                expanded = (component, component.replace("{id}", "5"))
                                missing = (NOWHERE[kind], NOWHERE[kind].replace("{id}", "5"))
                                assert without(answer, *expanded) == without(await ask(method, **absent), *missing), (
                                    where
                                )
        assert seen["bob", "/mcp"] == {kind: [] for kind in KINDS}
        assert seen["ada", "/mcp"]["tools/list"] == ["a_find", "a_look"]
        assert seen["ada", "/mcp"]["resources/list"] == ["r://a/1"]
        assert seen["ci", "/mcp"]["tools/list"] == ["a_look", "b_look"]
        assert seen["ci", "/mcp"]["prompts/list"] == everything["prompts/list"]
        assert seen["boss", "/mcp/research"]["tools/list"] == ["a_find", "a_drop", "a_look"]
        assert seen["boss", "/mcp/small"]["tools/list"] == ["a_find", "a_look", "b_find"]
        assert seen["ci", "/mcp/small"]["tools/list"] == ["a_look"]


async def test_r10_a_listing_that_depends_on_the_caller_is_private_to_it(guarded: Guard) -> None:
    async with guarded(TEXT) as mesh:
        for method in (*KINDS, "server/discover"):
            assert (await mesh.modern(ADA, method))["result"]["cacheScope"] == "private"


async def test_nothing_is_told_of_an_upstream_of_which_nothing_may_be_used(guarded: Guard) -> None:
    async with guarded(TEXT) as mesh:
        about = {name: (await mesh.modern(secret, "server/discover"))["result"] for name, secret in PRINCIPALS.items()}
        assert about["boss"]["instructions"] == "## a\n\nOf a.\n\n## b\n\nOf b."
        assert about["ada"]["instructions"] == "Of a." or about["ada"]["instructions"] == "## a\n\nOf a."
        assert "instructions" not in about["bob"]


async def test_a_profile_has_its_own_name_and_instructions(guarded: Guard) -> None:
    async with guarded(TEXT) as mesh:
        result = (await mesh.modern(BOSS, "server/discover", "/mcp/research"))["result"]
        assert result["instructions"].startswith("Cite.\n\n")
        assert "Of b." not in result["instructions"]
        assert "meshproxy/research" in json.dumps(result["_meta"])


async def test_a_profile_calls_tools_and_prompts_as_it_likes(guarded: Guard) -> None:
    profiles = {"p": {"tools": {"rename": {"a_find": "search"}}, "prompts": {"rename": {"a_plan": "outline"}}}}
    async with guarded(mesh_of(key("ada", ADA), upstreams=UPSTREAMS, profiles=profiles)) as mesh:
        tools = [tool["name"] for tool in (await mesh.modern(ADA, "tools/list", "/mcp/p"))["result"]["tools"]]
        assert "search" in tools
        assert "a_find" not in tools
        assert "result" in await mesh.modern(ADA, "tools/call", "/mcp/p", name="search")
        assert "result" in await mesh.modern(ADA, "prompts/get", "/mcp/p", name="outline")
        assert "error" in await mesh.modern(ADA, "tools/call", "/mcp/p", name="a_find")
        assert "result" in await mesh.modern(ADA, "tools/call", name="a_find")


async def test_a_key_may_be_bound_to_profiles(guarded: Guard) -> None:
    text = mesh_of(key("ada", ADA, profiles=["research"]), upstreams=UPSTREAMS, profiles=PROFILES)
    async with guarded(text) as mesh:
        assert await mesh.status(ADA, path="/mcp/research") == 200
        assert await mesh.status(ADA, path="/mcp/small") == 404
        assert await mesh.status(ADA, path="/mcp") == 404
        session = await mesh.open(ADA, "/mcp/research")
        assert await mesh.status(ADA, session, "/mcp/research") == 200


async def test_a_session_is_of_the_address_that_it_was_opened_at(guarded: Guard) -> None:
    async with guarded(TEXT) as mesh:
        session = await mesh.open(BOSS, "/mcp/research")
        assert await mesh.status(BOSS, session) == 404
        assert await mesh.status(BOSS, session, "/mcp/research") == 200


async def test_a_profile_that_is_removed_is_not_there_any_more(guarded: Guard) -> None:
    async with guarded(TEXT) as mesh:
        session = await mesh.open(BOSS, "/mcp/small")
        await mesh.edit(mesh_of(*KEYS, upstreams=UPSTREAMS, access=RULES, profiles={"research": {}}))
        assert await mesh.status(BOSS, session, "/mcp/small") == 404
        assert await mesh.status(BOSS, path="/mcp/research") == 200
        await mesh.edit(TEXT)
        assert await mesh.status(BOSS, session, "/mcp/small") == 404
        assert await mesh.status(BOSS, path="/mcp/small") == 200


async def test_invariant_12_no_request_after_an_edit_is_decided_by_the_old_rules(guarded: Guard) -> None:
    """Two files take turns, and calls go on all the time: what comes after `config.reloaded` is decided by the new one."""
    allowing = mesh_of(*KEYS, upstreams=UPSTREAMS)
    forbidding = mesh_of(*KEYS, upstreams=UPSTREAMS, access=[{"deny": ["a_find"]}, {"allow": ["*"]}])
    async with guarded(allowing) as mesh:
        session = await mesh.open(ADA)
        ending = asyncio.Event()

        async def load() -> None:
            while not ending.is_set():
                await mesh.modern(ADA, "tools/call", name="a_find")
                await mesh.legacy(ADA, session, "tools/call", name="a_find")

        loading = asyncio.create_task(load())
        for _ in range(10):
            for text, may in ((forbidding, False), (allowing, True)):
                assert (await mesh.edit(text))["event"] == "config.reloaded"
                assert ("result" in await mesh.modern(ADA, "tools/call", name="a_find")) is may
                assert ("result" in await mesh.legacy(ADA, session, "tools/call", name="a_find")) is may
                tools = (await mesh.legacy(ADA, session, "tools/list"))["result"]["tools"]
                assert ("a_find" in [tool["name"] for tool in tools]) is may
        ending.set()
        await loading


async def test_those_are_told_of_a_change_for_whom_something_changed(guarded: Guard) -> None:
    """A rule is taken from Ada: she hears of her tools, and of nothing else; Bob, who saw them neither before nor after, hears nothing."""
    async with guarded(TEXT) as mesh, contextlib_streams(mesh, ADA, BOB, BOSS) as (ada, bob, boss):
        rules = [RULES[0], {**RULES[1], "deny": ["*_drop", "a_find"]}, *RULES[2:]]
        await mesh.edit(mesh_of(*KEYS, upstreams=UPSTREAMS, access=rules, profiles=PROFILES))
        heard = {(await anext(ada))["method"], (await anext(ada))["method"]}
        assert heard == {"notifications/tools/list_changed", "notifications/resources/list_changed"}
        await mesh.edit(mesh_of(*KEYS, upstreams={"a": UPSTREAMS["a"]}, access=RULES))
        # What everybody hears of last is the first that the others hear of.
        assert (await anext(boss))["method"] == "notifications/tools/list_changed"
        await mesh.edit(mesh_of(*KEYS, upstreams=UPSTREAMS, access=[{"allow": ["*"]}]))
        assert (await anext(bob))["method"] == "notifications/tools/list_changed"


async def test_an_update_of_what_may_not_be_read_any_more_is_kept_back(guarded: Guard) -> None:
    offer = light("--resources", "r://1,r://2", "--tools", "t")
    async with guarded(mesh_of(key("ada", ADA), upstreams={"a": offer})) as mesh:
        session = await mesh.open(ADA)
        for uri in ("r://a/1", "r://a/2"):
            assert "result" in await mesh.legacy(ADA, session, "resources/subscribe", uri=uri)
        await mesh.edit(
            mesh_of(key("ada", ADA), upstreams={"a": offer}, access=[{"deny": ["r://a/1"]}, {"allow": ["*"]}])
        )
        shown = heads(**session, authorization=f"Bearer {ADA}")
        async with mesh.http.stream("GET", mesh.base + "/mcp", headers=shown) as stream:
            notify = [["notifications/resources/updated", {"uri": f"r://{n}"}] for n in (1, 2)]
            await mesh.legacy(ADA, session, "tools/call", name="a_t", arguments={"notify": notify})
            heard = [frame async for frame in until(stream, "notifications/resources/updated")]
            assert [frame["params"]["uri"] for frame in heard if "updated" in frame["method"]] == ["r://a/2"]


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_tool_that_may_destroy_is_run_when_its_caller_agrees(guarded: Guard, era: str) -> None:
    rules = [{"allow": ["*"], "confirm": "destructive"}]
    able = {"elicitation": {"form": {}}}
    async with guarded(mesh_of(key("ada", ADA), key("bob", BOB), upstreams=UPSTREAMS, access=rules)) as mesh:
        if era == "modern":
            params = {"name": "a_drop", "arguments": {"tag": 1}}
            asked = (await mesh.modern(ADA, "tools/call", meta={META_CAPABILITIES: able}, **params))["result"]
            assert asked["resultType"] == "input_required"
            ((name, question),) = asked["inputRequests"].items()
            assert question["method"] == "elicitation/create"
            assert 'a_drop may destroy something. Run it with {"tag":1' in question["params"]["message"].replace(
                ": 1", ":1"
            )
            retry = {
                **params,
                "requestState": asked["requestState"],
                "inputResponses": {name: {"action": "accept", "content": {}}},
            }
            stolen = await mesh.modern(BOB, "tools/call", meta={META_CAPABILITIES: able}, **retry)
            other = await mesh.modern(
                ADA, "tools/call", meta={META_CAPABILITIES: able}, **{**retry, "arguments": {"tag": 2}}
            )
            assert stolen["error"]["code"] == other["error"]["code"] == -32602
            agreed = await mesh.modern(ADA, "tools/call", meta={META_CAPABILITIES: able}, **retry)
            assert agreed["result"]["structuredContent"]["tag"] == 1
            again = await mesh.modern(ADA, "tools/call", meta={META_CAPABILITIES: able}, **retry)
            assert "used already" in again["error"]["message"]
            asked = (await mesh.modern(ADA, "tools/call", meta={META_CAPABILITIES: able}, **params))["result"]
            declined = {
                **params,
                "requestState": asked["requestState"],
                "inputResponses": {name: {"action": "decline"}},
            }
            assert (await mesh.modern(ADA, "tools/call", meta={META_CAPABILITIES: able}, **declined))["result"][
                "isError"
            ]
            assert (await mesh.modern(ADA, "tools/call", **params))["error"]["code"] == -32021
            assert "result" in await mesh.modern(ADA, "tools/call", name="a_look")
            return
        session = await mesh.open(ADA, elicitation={})
        message = request("tools/call", {"name": "a_drop", "arguments": {"tag": 1}}, 7)
        for action in ("accept", "decline"):
            shown = heads(**session, authorization=f"Bearer {ADA}")
            async with mesh.http.stream("POST", mesh.base + "/mcp", json=message, headers=shown) as stream:
                heard = frames(stream)
                question = await anext(heard)
                assert question["method"] == "elicitation/create"
                answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": action}}
                assert (await mesh.send(answer, ADA, **session)).status_code == 202
                result = (await anext(heard))["result"]
                assert result.get("isError", False) is (action == "decline")
        unable = await mesh.open(ADA)
        assert "cannot be asked" in (await mesh.legacy(ADA, unable, "tools/call", name="a_drop"))["error"]["message"]
        assert "result" in await mesh.legacy(ADA, unable, "tools/call", name="a_look")


class contextlib_streams:  # noqa: N801  # used as a function
    """Listen streams of several principals, past their acknowledgements."""

    def __init__(self, mesh: Guarded, *secrets: str) -> None:
        self.mesh, self.secrets = mesh, secrets
        self.opened: list[Any] = []

    async def __aenter__(self) -> list[Any]:
        flags = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
        message, headers = modern(request("subscriptions/listen", {"notifications": flags}))
        heard = []
        for secret in self.secrets:
            shown = heads(**headers, authorization=f"Bearer {secret}")
            stream = self.mesh.http.stream("POST", self.mesh.base + "/mcp", json=message, headers=shown)
            self.opened.append(stream)
            messages = frames(await stream.__aenter__())
            assert (await anext(messages))["method"] == "notifications/subscriptions/acknowledged"
            heard.append(messages)
        return heard

    async def __aexit__(self, *error: object) -> None:
        for stream in self.opened:
            await stream.__aexit__(*error)


async def until(stream: Any, method: str) -> Any:
    """The messages of a stream up to the first of this method."""
    parser = SseParser()
    async for chunk in stream.aiter_bytes():
        for event in parser.feed(chunk):
            if event.data:
                frame = json.loads(event.data)
                yield frame
                if frame["method"] == method:
                    return
