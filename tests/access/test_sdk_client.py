"""The SDK's own client of OAuth logs in to a mesh, of which it knows nothing but the URL."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from meshproxy.wire.protocol import LATEST_MODERN
from tests.access.conftest import Guard, Guarded, mesh_of
from tests.kit.authority import Authority, authority
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

BACK = "http://127.0.0.1:7/callback"
MODES = ("legacy", LATEST_MODERN)


class Storage:
    """What a client keeps of a login."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.client: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client: Any) -> None:
        self.client = client


class Person:
    """Somebody who agrees to whatever the browser shows."""

    def __init__(self) -> None:
        self.pages: list[dict[str, str]] = []
        self._answer: dict[str, str] = {}

    async def look(self, page: str) -> None:
        self.pages.append(dict(parse_qsl(urlsplit(page).query)))
        async with httpx2.AsyncClient() as browser:
            answer = await browser.get(page)
        assert answer.headers["location"].startswith(BACK)
        self._answer = dict(parse_qsl(urlsplit(answer.headers["location"]).query))

    async def answer(self) -> Any:
        from mcp.shared.auth import AuthorizationCodeResult

        return AuthorizationCodeResult(**self._answer)


@contextlib.asynccontextmanager
async def client(url: str, mode: str, person: Person, storage: Storage) -> AsyncIterator[Any]:
    """A client of the SDK whose person may be sent to a page."""
    from mcp.client.auth import OAuthClientProvider
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.auth import OAuthClientMetadata

    about = OAuthClientMetadata(client_name="test", redirect_uris=[BACK])
    auth = OAuthClientProvider(url, about, storage, person.look, person.answer)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=DEADLINE) as http,
        connected(streamable_http_client(url, http_client=http), mode=mode) as connection,
    ):
        yield connection


def protected(there: Authority, url: str, scopes: list[str], **more: Any) -> str:
    entry = {"issuer": there.issuer, "audience": url, "scopes": scopes}
    return mesh_of(auth={"jwt": [entry]}, **more)


@contextlib.asynccontextmanager
async def between(guarded: Guard, path: str = "/mcp", **more: Any) -> AsyncIterator[tuple[Guarded, Authority, str]]:
    """A mesh that an authority protects, which gives tokens for an address of it."""
    async with authority(signs=True, says_iss=True) as there, guarded(mesh_of(**more)) as mesh:
        there.knobs.resource = mesh.base + path
        assert (await mesh.edit(protected(there, mesh.base + "/mcp", ["mcp"], **more)))["event"] == "config.reloaded"
        yield mesh, there, mesh.base + path


@pytest.mark.parametrize("mode", MODES)
async def test_it_finds_the_authorization_server_by_the_meshs_url_alone(guarded: Guard, mode: str) -> None:
    async with between(guarded) as (_, there, url):
        person, storage = Person(), Storage()
        async with client(url, mode, person, storage) as sdk:
            assert [tool.name for tool in (await sdk.list_tools()).tools] == ["a_echo", "a_write"]
            assert not (await sdk.call_tool("a_echo", {})).is_error
        (page,) = person.pages
        # What it asked for is what the mesh had said.
        assert (page["resource"], page["scope"]) == (url, "mcp")
        assert len(there.grants("authorization_code")) == 1
        # Whoever has logged in is asked no more.
        async with client(url, mode, person, storage) as sdk:
            assert not (await sdk.call_tool("a_echo", {})).is_error
        assert len(person.pages) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_token_for_a_profile_is_asked_for_and_given_by_its_own_metadata(guarded: Guard, mode: str) -> None:
    more = {"profiles": {"small": {"tools": {"include": ["a_echo"]}}}}
    async with between(guarded, "/mcp/small", **more) as (mesh, _, url):
        person, storage = Person(), Storage()
        async with client(url, mode, person, storage) as sdk:
            assert [tool.name for tool in (await sdk.list_tools()).tools] == ["a_echo"]
        assert person.pages[0]["resource"] == url
        assert await mesh.status(storage.tokens.access_token, path="/mcp/small") == 200
        assert await mesh.status(storage.tokens.access_token) == 401


@pytest.mark.parametrize("mode", MODES)
async def test_a_token_that_has_too_little_is_made_up_for_at_the_first_request(guarded: Guard, mode: str) -> None:
    """An edit asks for another scope: who comes with what was enough is told all that is needed, and asks for that and for what it had."""
    async with between(guarded) as (mesh, there, url):
        person, storage = Person(), Storage()
        async with client(url, mode, person, storage) as sdk:
            assert not (await sdk.call_tool("a_echo", {})).is_error
        await mesh.edit(protected(there, url, ["tools"]))
        async with client(url, mode, person, storage) as sdk:
            assert not (await sdk.call_tool("a_echo", {})).is_error
        assert [set(page["scope"].split()) for page in person.pages] == [{"mcp"}, {"mcp", "tools"}]


async def test_a_token_that_has_too_little_is_made_up_for_within_a_call(guarded: Guard) -> None:
    """Of the modern era, that is: a session of the legacy one ends when its token is not good for it any more."""
    async with between(guarded) as (mesh, there, url):
        person, storage = Person(), Storage()
        async with client(url, LATEST_MODERN, person, storage) as sdk:
            assert not (await sdk.call_tool("a_echo", {})).is_error
            await mesh.edit(protected(there, url, ["tools"]))
            assert not (await sdk.call_tool("a_echo", {})).is_error
        assert [set(page["scope"].split()) for page in person.pages] == [{"mcp"}, {"mcp", "tools"}]
