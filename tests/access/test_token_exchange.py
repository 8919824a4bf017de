"""`auth: {type: token_exchange}`: a caller's own token is exchanged for one that is good at the upstream, and never passed on (RFC 8693)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.access.conftest import ADA, Caller, Guard, Json, key, mesh_of
from tests.kit.authority import authority
from tests.kit.light import light
from tests.kit.people import EXCHANGE, People

pytestmark = pytest.mark.anyio

AUTH: Json = {"type": "token_exchange", "client_id": "mesh", "client_secret": "the-meshes-own"}


@pytest.fixture
async def people() -> AsyncIterator[People]:
    async with authority(People, clients={"mesh": "the-meshes-own"}) as found:
        yield found


def exchanging(people: People, *keys: Json, auth: Json | None = None, **upstream: Any) -> str:
    there = {"url": people.url, "auth": {**AUTH, **(auth or {})}, **upstream}
    return mesh_of(
        *keys,
        upstreams={"there": there, "plain": light("--tools", "echo")},
        auth={"jwt": [{"issuer": people.issuer, "audience": "mesh"}]},
    )


ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])


@ERAS
async def test_each_caller_is_himself_at_the_upstream_and_his_token_stays_with_the_mesh(
    guarded: Guard, people: People, era: str
) -> None:
    people.offers = {"ada": ["adas"], "bob": ["bobs"]}
    async with guarded(exchanging(people)) as mesh:
        ada, bob = (Caller(mesh, people.token(name), era) for name in ("ada", "bob"))
        assert await ada.tools() == ["there_whoami", "there_adas", "plain_echo"]
        assert await bob.tools() == ["there_whoami", "there_bobs", "plain_echo"]
        assert [await one.who() for one in (ada, bob, ada)] == ["ada", "bob", "ada"]
        answer = await bob.ask("tools/call", name="there_adas", arguments={})
        assert answer["error"]["message"] == "Unknown tool: there_adas"
        # One exchange for each, however often they call.
        assert people.subjects == [ada.token, bob.token]
        assert people.mixed == []
        shown = " ".join(request.headers.get("authorization", "") for request in people.told("/mcp"))
        assert ada.token not in shown
        assert bob.token not in shown
        (form, _) = people.grants(EXCHANGE)
        assert form["resource"] == people.url
        assert form["requested_token_type"] == "urn:ietf:params:oauth:token-type:access_token"


async def test_twenty_calls_at_once_over_a_token_that_has_ended_cause_one_exchange(
    guarded: Guard, people: People
) -> None:
    async with guarded(exchanging(people)) as mesh:
        ada, bob = (Caller(mesh, people.token(name), "modern") for name in ("ada", "bob"))
        assert [await ada.who(), await bob.who()] == ["ada", "bob"]
        people.expire()
        assert await asyncio.gather(*(ada.who() for _ in range(20))) == ["ada"] * 20
        assert people.subjects == [ada.token, bob.token, ada.token]
        # The next token of the same person is the one that is exchanged from then on.
        ada.token = people.token("ada", exp=int(time.time()) + 900)
        people.expire()
        assert await ada.who() == "ada"
        assert people.subjects[-1] == ada.token


@ERAS
async def test_a_caller_without_a_token_is_told_what_lacks_and_loses_nothing_else(
    guarded: Guard, people: People, era: str
) -> None:
    async with guarded(exchanging(people, key("ada", ADA))) as mesh:
        ada = Caller(mesh, ADA, era)
        assert await ada.tools() == ["there_login", "plain_echo"]
        answer = await ada.ask("tools/call", name="there_login", arguments={})
        assert "upstream 'there' takes the tokens of callers in exchange" in answer["error"]["message"]
        assert "this caller has shown a key of the mesh: come with a token of an issuer" in answer["error"]["message"]
        assert "result" in await ada.ask("tools/call", name="plain_echo", arguments={})
        assert people.subjects == []


async def test_a_token_that_the_authorization_server_does_not_exchange_ends_in_one_clear_error_and_a_new_one_mends_it(
    guarded: Guard, people: People
) -> None:
    async with guarded(exchanging(people)) as mesh:
        ada = Caller(mesh, people.token("ada"), "legacy")
        assert await ada.who() == "ada"
        people.expire()
        ada.token = people.token("ada", revoked=True, exp=int(time.time()) + 400)
        assert "gets no token for this caller" in (await ada.who())["message"]
        assert "log in anew where the token comes from" in (await ada.who())["message"]
        bob = Caller(mesh, people.token("bob"), "legacy")
        assert await bob.who() == "bob"
        ada.token = people.token("ada", exp=int(time.time()) + 900)
        assert await ada.who() == "ada"


async def test_what_comes_of_a_narrow_token_is_not_what_comes_of_a_wide_one(guarded: Guard, people: People) -> None:
    async with guarded(exchanging(people)) as mesh:
        wide, narrow = (Caller(mesh, people.token("ada", scope=scope), "modern") for scope in ("read write", "read"))
        assert [await wide.who(), await narrow.who(), await wide.who()] == ["ada"] * 3
        assert people.subjects == [wide.token, narrow.token]


async def test_an_exchange_that_gives_the_callers_own_token_back_is_not_used(guarded: Guard, people: People) -> None:
    people.gives_back = True
    async with guarded(exchanging(people)) as mesh:
        ada = Caller(mesh, people.token("ada"), "modern")
        assert await ada.tools() == ["plain_echo"]
        assert not [one for one in people.told("/mcp") if ada.token in one.headers.get("authorization", "")]


async def test_an_edit_that_adds_an_exchange_finds_the_tokens_of_those_who_are_there(
    guarded: Guard, people: People
) -> None:
    text = exchanging(people)
    async with guarded(text.replace('"token_exchange"', '"client_credentials"')) as mesh:
        ada = Caller(mesh, people.token("ada"), "legacy")
        assert await ada.tools() == ["there_whoami", "plain_echo"]
        assert (await mesh.edit(text))["event"] == "config.reloaded"
        assert await ada.who() == "ada"
        assert people.subjects == [ada.token]


async def test_nothing_is_exchanged_for_an_address_at_which_the_upstream_is_not(guarded: Guard, people: People) -> None:
    text = json.dumps({**json.loads(exchanging(people)), "profiles": {"other": {"upstreams": ["plain"]}}})
    async with guarded(text) as mesh:
        answer = await mesh.modern(people.token("ada"), "tools/list", path="/mcp/other")
        assert [tool["name"] for tool in answer["result"]["tools"]] == ["plain_echo"]
        assert people.subjects == []
        assert mesh.server.composite.mounted[0].provider.status()["accounts"] == 0


async def test_an_exchange_needs_issuers_of_tokens(guarded: Guard, people: People) -> None:
    text = mesh_of(key("ada", ADA), upstreams={"plain": light("--tools", "echo")})
    async with guarded(text) as mesh:
        wrong = mesh_of(key("ada", ADA), upstreams={"there": {"url": people.url, "auth": AUTH}})
        told = await mesh.edit(wrong)
        assert told["event"] == "config.rejected"
        assert "token_exchange needs callers that show tokens: say in server.auth.jwt" in str(told["problems"])
