"""What a principal may subscribe to is what it may read, at every address; and edits of keys and rules, one after the other, are in force for whatever begins after them."""

import asyncio
import contextlib
from typing import Any

import pytest
from tests.access.conftest import ADA, BOB, Guard, Guarded, key, mesh_of
from tests.access.test_views import PATHS, PRINCIPALS, TEXT, UPSTREAMS
from tests.kit.messages import frames, heads, modern, request
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
EDITS = 100
URIS = [
    f"{scheme}://{upstream}/{name}" for upstream in "ab" for scheme, name in (("r", 1), ("r", 2), ("t", 5), ("s", 5))
]


async def honoured(mesh: Guarded, secret: str, path: str, uris: list[str]) -> list[str]:
    """The resources that a listen stream of the modern era acknowledges."""
    message, headers = modern(request("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}))
    shown = heads(**headers, authorization=f"Bearer {secret}")
    async with (
        mesh.http.stream("POST", mesh.base + path, json=message, headers=shown) as stream,
        contextlib.aclosing(frames(stream)) as heard,
    ):
        told = await anext(heard)
        assert told["method"] == "notifications/subscriptions/acknowledged"
        found: list[str] = told["params"]["notifications"].get("resourceSubscriptions", [])
        return found


async def test_invariants_9_and_10_what_may_be_subscribed_to_is_what_may_be_read(guarded: Guard) -> None:
    """Four principals, three addresses: what is not acknowledged is told apart from what does not exist by nothing."""
    async with guarded(TEXT) as mesh:
        seen: dict[tuple[str, str], list[str]] = {}
        for name, secret in PRINCIPALS.items():
            for path in PATHS:
                readable = [
                    uri for uri in URIS if "result" in await mesh.modern(secret, "resources/read", path, uri=uri)
                ]
                seen[name, path] = await honoured(mesh, secret, path, [*URIS, "nothing:x"])
                assert seen[name, path] == readable, (name, path)
        assert seen["boss", "/mcp"] == URIS
        assert seen["bob", "/mcp"] == []
        assert seen["ada", "/mcp"] == ["r://a/1", "t://a/5"]
        assert seen["boss", "/mcp/research"] == [uri for uri in URIS if "://a/" in uri]
        assert seen["boss", "/mcp/small"] == ["r://a/1", "r://a/2", "t://b/5"]


def edited(number: int) -> str:
    """The file after so many edits, which change a key and a rule in turn: whose key is good, and which tool is there."""
    secret, tool = (ADA, BOB)[number // 2 % 2], ("a_find", "a_drop")[(number + 1) // 2 % 2]
    return mesh_of(key("ada", secret), upstreams={"a": UPSTREAMS["a"]}, access=[{"allow": [tool]}])


def expected(number: int) -> dict[tuple[str, str], str]:
    """What comes of a call, by the key that is shown and the tool that it is for."""
    secret, tool = (ADA, BOB)[number // 2 % 2], ("a_find", "a_drop")[(number + 1) // 2 % 2]
    return {
        (shown, called): "401" if shown != secret else "result" if called == tool else "error"
        for shown in (ADA, BOB)
        for called in ("a_find", "a_drop")
    }


async def test_invariant_12_a_hundred_edits_of_keys_and_rules_under_load(guarded: Guard) -> None:
    """Calls go on all the time on connections that stay open: each that began and ended between two edits is decided by the first of them."""
    async with guarded(edited(0), deadline=5 * DEADLINE) as mesh:
        number, is_editing, judged = 0, False, 0
        ending = asyncio.Event()

        async def call(shown: str, tool: str) -> str:
            message, headers = modern(request("tools/call", {"name": tool}))
            response = await mesh.send(message, shown, **headers)
            if response.status_code == 401:
                return "401"
            return next(kind for kind in ("result", "error") if kind in response.json())

        async def load(shown: str) -> None:
            nonlocal judged
            while not ending.is_set():
                for tool in ("a_find", "a_drop"):
                    began = None if is_editing else number
                    found = await call(shown, tool)
                    if began == number and not is_editing:
                        assert found == expected(number)[shown, tool], (number, shown, tool)
                        judged += 1

        loads = [asyncio.create_task(load(shown)) for shown in (ADA, BOB)]
        for edit in range(1, EDITS + 1):
            is_editing = True
            assert (await mesh.edit(edited(edit)))["event"] == "config.reloaded"
            number, is_editing = edit, False
            # At once, and by those who know nothing of what came before.
            answers = {pair: await call(*pair) for pair in expected(edit)}
            assert answers == expected(edit), edit
        ending.set()
        await asyncio.gather(*loads)
        assert judged >= EDITS
