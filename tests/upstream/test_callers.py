"""Where callers bring headers of their own, what belongs to a caller goes with his and with nobody else's. Byte by byte."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproxy.errors import RpcError
from meshproxy.links.sse import SseEndpoint
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.supervision.states import State
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from tests.http.conftest import server
from tests.kit.clients import Client, Legacy, Modern
from tests.kit.raw_server import RawServer
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.web import Request, Web, accept, answer, encode, refuse, stream
from tests.links.test_sse import SseWeb

__all__ = ["server"]

pytestmark = pytest.mark.anyio

MESH, ALICE, BOB = "Bearer mesh", "Bearer alice", "Bearer bob"
TOOL = {"name": "whoami", "inputSchema": {"type": "object"}}


class Guarded(Web):
    """Wants a credential with every request, and says in its answer to a call whose it was."""

    def __init__(self, raw: RawServer, *, modern: bool = False) -> None:
        super().__init__(raw, modern=modern)
        self.sessions: dict[str, str | None] = {}
        self.on["tools/list"] = self._tools
        self.on["whoami"] = self._whoami
        self.on["notifications/roots/list_changed"] = accept
        self.on["GET"] = self._listens
        self.on = {key: self._guarded(behave) for key, behave in self.on.items()}

    def whose(self, key: str) -> list[str | None]:
        return [request.headers.get("authorization") for request in self.told(key)]

    def _guarded(self, behave: Any) -> Any:
        async def guarded(request: Request) -> None:
            who = request.headers.get("authorization")
            # As the specification advises: a session is of the user that has opened it.
            opener = self.sessions.get(request.headers.get("mcp-session-id", ""), who)
            await (behave if who in (MESH, ALICE, BOB) and opener == who else refuse(401))(request)

        return guarded

    async def _initialize(self, request: Request) -> None:
        session = f"s-{len(self.sessions)}"
        self.sessions[session] = request.headers.get("authorization")
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}, "logging": {}}}
        answer(request, result, b"mcp-session-id: " + session.encode() + b"\r\n")

    async def _listens(self, request: Request) -> None:
        stream(request, end=False)

    async def _tools(self, request: Request) -> None:
        answer(request, {"resultType": "complete", "tools": [TOOL], "ttlMs": 0, "cacheScope": "private"})

    async def _whoami(self, request: Request) -> None:
        content = [{"type": "text", "text": request.headers["authorization"]}]
        answer(request, {"resultType": "complete", "content": content})


@contextlib.asynccontextmanager
async def providing(endpoint: Any, **options: Any) -> AsyncIterator[tuple[FastMCP, ProxyProvider]]:
    front = FastMCP()
    provider = ProxyProvider(ProxyClient(endpoint), forward_headers=("Authorization",), **options)
    front.add_provider(provider)
    async with asyncio.timeout(DEADLINE):
        front.start()
        await provider.settled()
        try:
            yield front, provider
        finally:
            await front.aclose()


@contextlib.asynccontextmanager
async def guarded(
    raw: RawServer, *, modern: bool, **headers: str
) -> AsyncIterator[tuple[Guarded, FastMCP, ProxyProvider]]:
    web = Guarded(raw, modern=modern)
    try:
        async with providing(HttpEndpoint("up", raw.url, headers)) as (front, provider):
            yield web, front, provider
    finally:
        await web.stop()


async def who(client: Client, authorization: str | None = None) -> str:
    """As whom a client's call arrives."""
    headers = {} if authorization is None else {"authorization": authorization}
    result = await client.request("tools/call", {"name": "whoami", "arguments": {}}, headers=headers)
    return str(result["content"][0]["text"])


@pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
@pytest.mark.parametrize("kind", [Legacy, Modern])
async def test_each_call_arrives_as_its_caller_and_what_the_mesh_asks_as_the_mesh(
    server: RawServer, kind: type[Client], *, modern: bool
) -> None:
    async with guarded(server, modern=modern, Authorization=MESH) as (web, front, _):
        alice, bob = kind(front), kind(front)
        for _ in range(2):
            assert await who(alice, ALICE) == ALICE
            assert await who(bob, BOB) == BOB
        assert set(web.whose("tools/list")) == {MESH}
        # Nothing is said in a session of somebody else's, be it a call, a notification or a stream.
        for request in web.requests:
            opener = web.sessions.get(request.headers.get("mcp-session-id", ""))
            assert opener in (None, request.headers["authorization"])
    assert {MESH, ALICE, BOB} >= set(web.whose("DELETE"))


async def test_a_callers_own_session_is_all_his_own_with_the_token_that_he_showed_last(server: RawServer) -> None:
    async with guarded(server, modern=False, Authorization=MESH) as (web, front, _):
        alice = Legacy(front)
        assert await who(alice, ALICE) == ALICE
        session = next(key for key, opener in web.sessions.items() if opener == ALICE)
        his = [request for request in web.requests if request.headers.get("mcp-session-id") == session]
        await web.request("GET", 2)
        assert {request.headers["authorization"] for request in his} == {ALICE}
        # He comes with another token, as one does whose last one expired.
        web.sessions[session] = BOB
        assert await who(alice, BOB) == BOB
        alice.notify("notifications/roots/list_changed")
        told = await web.request("notifications/roots/list_changed")
        assert told.headers["authorization"] == BOB
        alice.close()
        await eventually(lambda: web.whose("DELETE") == [BOB])


@pytest.mark.parametrize("modern", [False, True], ids=["legacy", "modern"])
@pytest.mark.parametrize("kind", [Legacy, Modern])
async def test_who_brings_nothing_is_refused_and_does_not_pass_for_the_mesh(
    server: RawServer, kind: type[Client], *, modern: bool
) -> None:
    async with guarded(server, modern=modern, Authorization=MESH) as (_, front, provider):
        alice, nobody = kind(front), kind(front)
        assert await who(alice, ALICE) == ALICE
        for token in (None, "Bearer wrong"):
            with pytest.raises(RpcError, match="it answered HTTP 401") as refused:
                await who(nobody, token)
            assert "mesh'" not in refused.value.message
        # It costs nobody else anything.
        assert provider.state is State.UP
        assert await who(alice, ALICE) == ALICE


async def test_who_is_refused_when_his_session_opens_says_nothing_of_the_upstream(server: RawServer) -> None:
    async with guarded(server, modern=True, Authorization=MESH) as (web, front, _):
        with pytest.raises(RpcError, match="wants the caller's own credentials"):
            await who(Legacy(front))
        # It speaks both eras, and the next legacy client is spoken to in its own.
        assert await who(Legacy(front), BOB) == BOB
        assert list(web.sessions.values()) == [BOB]


async def test_a_call_that_is_refused_says_what_its_caller_is_to_send(server: RawServer) -> None:
    async with guarded(server, modern=True, Authorization=MESH) as (_, front, _provider):
        with pytest.raises(RpcError, match="wants the caller's own credentials: send authorization with each request"):
            await who(Modern(front))


async def test_an_upstream_that_lists_for_nobody_unknown_says_that_the_mesh_needs_credentials_too(
    server: RawServer,
) -> None:
    async with guarded(server, modern=False) as (web, front, provider):
        assert provider.state is State.BACKING_OFF
        assert "set `headers` of this upstream too" in provider.reason
        # What a caller may see is nobody else's to see: no listing is made by his credentials.
        with pytest.raises(RpcError, match="Unknown tool"):
            await who(Legacy(front), ALICE)
        assert ALICE not in web.whose("tools/list")


async def test_links_for_one_call_are_kept_for_who_shows_himself_by_the_same(server: RawServer) -> None:
    async with guarded(server, modern=False, Authorization=MESH) as (web, front, _):
        client = Modern(front)
        for token in (ALICE, BOB, ALICE, BOB):
            assert await who(client, token) == token
        assert sorted(filter(None, web.sessions.values())) == [ALICE, BOB, MESH]


async def test_a_header_that_the_mesh_has_for_all_stays_its_own(server: RawServer) -> None:
    async with guarded(server, modern=True, Authorization=MESH, **{"X-Team": "ours"}) as (web, front, _):
        headers = {"authorization": ALICE, "x-team": "theirs", "x-other": "1"}
        await Modern(front).request("tools/call", {"name": "whoami", "arguments": {}}, headers=headers)
        (call,) = web.told("tools/call")
        assert (call.headers["x-team"], call.headers.get("x-other")) == ("ours", None)
        assert call.headers["authorization"] == ALICE


@pytest.mark.parametrize("status", [400, 413, 422, 429, 503])
async def test_a_request_that_is_refused_for_itself_costs_nobody_else_the_link(server: RawServer, status: int) -> None:
    async with guarded(server, modern=True, Authorization=MESH) as (web, front, provider):
        client, waiting = Modern(front), asyncio.Event()
        plain = web.on["whoami"]

        async def behave(request: Request) -> None:
            if request.headers["authorization"] == BOB:
                await refuse(status)(request)
            else:
                waiting.set()
                await web.request("tools/call", 2)
                await plain(request)

        web.on["whoami"] = behave
        slow = asyncio.create_task(who(client, ALICE))
        await waiting.wait()
        with pytest.raises(RpcError, match=f"it answered HTTP {status}"):
            await who(client, BOB)
        assert provider.state is State.UP
        assert await slow == ALICE
        assert len(web.told("server/discover")) == 1


async def test_over_the_transport_of_2024_it_is_the_same(server: RawServer) -> None:
    class Guarded2024(SseWeb):
        async def initialize(self, request: Request) -> None:
            result = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}
            await self._say(request, result)

        async def _unknown(self, request: Request) -> None:
            who = request.headers.get("authorization")
            listed = request.message.get("method") == "tools/list"
            await self._say(request, {"tools": [TOOL]} if listed else {"content": [{"type": "text", "text": who}]})

        async def _say(self, request: Request, result: Any) -> None:
            await accept(request)
            # Each stream is of whoever opened it.
            who = request.headers.get("authorization")
            self.streams[who].peer.send(
                b"%x\r\n" % (len(data := b"data: " + encode(id=request.id, result=result) + b"\n\n")) + data + b"\r\n"
            )

        async def open(self, request: Request) -> None:
            self.streams[request.headers.get("authorization")] = request
            await super().open(request)

    web = Guarded2024(server)
    web.streams = {}
    endpoint = SseEndpoint("up", server.url, {"Authorization": MESH})
    try:
        async with providing(endpoint) as (front, _):
            assert await who(Legacy(front), ALICE) == ALICE
            assert await who(Legacy(front), BOB) == BOB
            assert set(web.streams) == {MESH, ALICE, BOB}
    finally:
        await web.stop()
