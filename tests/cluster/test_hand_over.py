"""What another process has is handed to it, and answered as it would answer."""

import asyncio
import json

import httpx2
import pytest
from meshproxy.cluster.doorway import Doorway, doorstep
from meshproxy.cluster.envelope import FIELD, Envelopes
from meshproxy.cluster.home import settle
from meshproxy.http.client import HttpClient
from meshproxy.http.server import Http1Server
from tests.cluster.conftest import HERE, KEY, THERE, Pair, pair
from tests.kit.echo import EchoHandler
from tests.kit.messages import call, frames, heads, messages_in, request, text_of
from tests.kit.waiting import eventually, within

pytestmark = pytest.mark.anyio


async def opened_there(both: Pair, version: str = "2025-11-25", **capabilities: object) -> dict[str, str]:
    settle(THERE)
    headers = await both.there.open(version, capabilities)
    settle(HERE)
    assert headers["mcp_session_id"].startswith(f"{THERE}~")
    return headers


async def test_a_session_of_another_process_goes_on_here(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        answer = await both.here.post(call("echo", 1, text="over there"), **headers)
        assert (answer.status_code, text_of(answer.json())) == (200, "over there")
        assert both.front.handed == 1
        assert (
            await both.here.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, **headers)
        ).status_code == 202
        assert both.there.handler.notifications == [("notifications/initialized", {})]
        assert both.here.handler.notifications == []


async def test_a_session_of_this_process_stays_here(folder) -> None:
    async with pair(folder) as both:
        headers = await both.here.open()
        assert text_of((await both.here.post(call("echo", 1, text="here"), **headers)).json()) == "here"
        assert both.front.handed == 0


async def test_a_large_request_and_a_large_answer_pass_whole(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        text = "ä" * 500_000
        assert text_of((await both.here.post(call("echo", 1, text=text), **headers)).json()) == text


async def test_a_question_and_its_answer_find_each_other(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both, roots={})
        asking = call("ask", 7)
        async with both.here.http.stream("POST", both.here.url, json=asking, headers=heads(**headers)) as stream:
            heard = frames(stream)
            question = await within(anext(heard))
            assert question["method"] == "roots/list"
            told = {"jsonrpc": "2.0", "id": question["id"], "result": {"roots": [{"uri": "file:///a"}]}}
            assert (await both.here.post(told, **headers)).status_code == 202
            answer = await within(anext(heard))
        assert json.loads(text_of(answer)) == {"roots": [{"uri": "file:///a"}]}


async def test_a_stream_that_broke_is_resumed_by_way_of_another_process(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        answer = await both.here.post(call("poll", 1), **headers)
        last = [line.partition(":")[2].strip() for line in answer.text.splitlines() if line.startswith("id:")][-1]
        both.there.handler.gate.set()
        resumed = await both.here.http.get(
            both.here.url, headers=heads(**headers, last_event_id=last, content_type=None)
        )
        assert resumed.status_code == 200
        assert text_of(messages_in(resumed.text)[-1]) == "polled"


async def test_a_client_that_leaves_is_seen_to_leave_by_the_home(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        get = heads(**headers, content_type=None)
        session = next(iter(both.there.app._legacy.sessions))
        async with both.here.http.stream("GET", both.here.url, headers=get) as stream:
            assert stream.status_code == 200
            assert session.standalone is not None
        await eventually(lambda: session.standalone is None)


async def test_an_ended_session_is_ended_for_all(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        assert (await both.here.http.delete(both.here.url, headers=heads(**headers))).status_code == 200
        assert (await both.here.post(call("echo", 1), **headers)).status_code == 404
        assert (await both.there.post(call("echo", 1), **headers)).status_code == 404


async def test_the_session_of_a_process_that_is_gone_is_unknown(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        assert (await both.here.post(call("echo", 1), **headers)).status_code == 200
        await both.leave.aclose()
        answer = await both.here.post(call("echo", 2), **headers)
        assert answer.status_code == 404
        assert "initialize a new one" in answer.text


async def test_a_call_whose_home_dies_meanwhile_says_that_its_answer_is_lost(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        calling = asyncio.ensure_future(both.here.post(call("slow", 5), **headers))
        await within(both.there.handler.started.wait())
        await both.leave.aclose()
        answer = await within(calling)
        assert answer.json()["id"] == 5
        assert "error" in answer.json()


async def test_an_address_for_the_first_process_alone_is_answered_by_it(folder) -> None:
    async with pair(folder) as both:
        # Here is the first, and its application has no such address.
        assert (await both.here.http.get(f"http://127.0.0.1:{both.here.port}/api/status")).status_code == 404
        assert both.front.handed == 0


async def test_an_address_of_the_client_and_its_name_for_the_mesh_reach_the_home(folder) -> None:
    scopes = []

    class Noting:
        def take(self, head, body, request) -> bool:
            return False

        async def __call__(self, scope, receive, send) -> None:
            scopes.append(scope)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    noting = Noting()
    async with pair(folder) as both:
        server = Http1Server(Doorway(noting, noting.take, Envelopes(KEY), 1000))
        with doorstep(folder / "002more") as listener:
            await server.start([listener])
            headers = heads(
                mcp_session_id="002more~x", host="mesh.example", x_custom="yes", x_meshproxy_envelope="forged"
            )
            answer = await both.here.http.post(both.here.url + "?a=%20b", content=b"{}", headers=headers)
            await server.aclose()
        assert answer.status_code == 204
        [scope] = scopes
        assert scope["client"][0] == "127.0.0.1"
        assert scope["raw_path"], scope["query_string"] == (b"/mcp", b"a=%20b")
        found = dict(scope["headers"])
        assert (found[b"host"], found[b"x-custom"]) == (b"mesh.example", b"yes")
        assert FIELD not in found


@pytest.mark.parametrize("large", [False, True])
async def test_a_strange_process_gets_nothing(folder, large) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        body = json.dumps(call("echo", 1, text="x" * (400_000 if large else 1))).encode()
        scope = {"method": "POST", "raw_path": b"/mcp", "query_string": b"", "scheme": "http", "client": None}
        raw = [(b"host", b"localhost"), *((k.encode(), v.encode()) for k, v in heads(**headers).items())]
        scope["headers"] = raw
        client = HttpClient("http://home/mcp", connect_timeout=5, socket_path=str(folder / THERE))

        async def ask(envelope: bytes | None, body: bytes = body) -> int:
            fields = [(name, value) for name, value in raw if name != b"host"]
            if envelope is not None:
                fields.append((FIELD, envelope))
            lines = b"".join(b"%b: %b\r\n" % field for field in fields)
            return (await within(client.request("POST", None, lines, body))).status

        _, good = Envelopes(KEY).close(scope, body)
        _, forged = Envelopes(b"f" * 32).close(scope, body)
        assert await ask(None) == 403
        assert await ask(b"!") == 403
        assert await ask(forged) == 403
        # It is good for the request that it was made for, and for that once.
        assert await ask(good, body + b" ") == 403
        assert await ask(good) == 200
        assert await ask(good) == 403
        await client.aclose()


async def test_an_envelope_is_too_old_before_it_is_forgotten(monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr("meshproxy.cluster.envelope.time.time", lambda: now)
    scope = {"method": "GET", "raw_path": b"/", "query_string": b"", "scheme": "http", "headers": []}
    reader = Envelopes(KEY)
    _, envelope = reader.close(scope, b"")
    handed = {**scope, "headers": [(FIELD, envelope)]}
    assert reader.open(handed, b"") is not None
    for _ in range(8):
        assert reader.open(handed, b"") is None
        now += 3.0
        fresh = Envelopes(KEY).close(scope, b"")[1]
        assert reader.open({**scope, "headers": [(FIELD, fresh)]}, b"") is not None


async def test_the_socket_is_this_users_alone(folder) -> None:
    with doorstep(folder / "one"):
        assert (folder / "one").stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == []


async def test_a_request_that_is_larger_than_it_may_be_is_refused_here(folder) -> None:
    async with pair(folder) as both:
        headers = await opened_there(both)
        answer = await both.here.post(b" " * (5 << 20), **headers)
        assert answer.status_code == 413
        assert both.front.handed == 0


async def test_a_modern_caller_is_listened_to_wherever_he_comes(folder) -> None:
    async with pair(folder) as both:
        assert isinstance(both.here.handler, EchoHandler)
        answer = await both.here.post(request("ping"), mcp_protocol_version="2026-07-28", mcp_method="ping")
        assert isinstance(answer, httpx2.Response)
        assert both.front.handed == 0
