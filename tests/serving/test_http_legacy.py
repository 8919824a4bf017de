"""HTTP of the legacy era: sessions, what is asked in them, and how they end."""

import asyncio
import gc
import json
import tracemalloc
from typing import Any

import httpx2
import pytest
from meshproxy.limits import MAX_IN_FLIGHT, MAX_KEPT, MAX_LABEL
from meshproxy.serving import places
from meshproxy.serving.session import Session
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.protocol import LEGACY_VERSIONS
from tests.kit.echo import TLS, EchoHandler, served
from tests.kit.messages import CLIENT, call, frames, heads, messages_in, request, text_of
from tests.kit.waiting import eventually, within

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_server")]

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}


async def test_initialize_opens_a_session_with_an_id_of_visible_characters() -> None:
    async with served() as server:
        response = await server.post(request("initialize", INITIALIZE))
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.json()["result"]["serverInfo"]["name"] == "echo"
        key = response.headers["mcp-session-id"]
        assert len(key) >= 32
        assert all("!" <= character <= "~" for character in key)
        assert server.app.statistics()["sessions"] == 1


@pytest.mark.parametrize("version", LEGACY_VERSIONS)
async def test_a_call_is_answered_with_plain_json_at_every_version(version: str) -> None:
    async with served() as server:
        headers = await server.open(version)
        response = await server.post(call("echo", text="hi"), **headers)
        assert response.headers["content-type"] == "application/json"
        assert text_of(response.json()) == "hi"
        assert server.handler.downstreams[0].version == version


async def test_a_session_knows_what_its_client_declared() -> None:
    async with served() as server:
        headers = await server.open("2025-06-18", {"sampling": {"x": None}})
        response = await server.post(call("whoami"), x_custom="kept", **headers)
        assert json.loads(text_of(response.json())) == {
            "version": "2025-06-18",
            "capabilities": {"sampling": {"x": None}},
            "client": CLIENT,
            "log_level": None,
            "header": "kept",
        }


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, "protocolVersion"),
        ({"protocolVersion": 1}, "protocolVersion"),
        ({"protocolVersion": "2025-11-25"}, "capabilities"),
        ({"protocolVersion": "2025-11-25", "capabilities": []}, "capabilities"),
        ({"protocolVersion": "2025-11-25", "capabilities": {}}, "clientInfo"),
        ([], "params"),
    ],
)
async def test_an_initialize_that_lacks_something_opens_no_session(params: Any, named: str) -> None:
    async with served() as server:
        response = await server.post(request("initialize", params))
        assert response.json()["error"]["code"] == -32602
        assert named in response.json()["error"]["message"]
        assert "mcp-session-id" not in response.headers
        assert server.app.statistics()["sessions"] == 0


async def test_of_what_a_client_says_of_itself_only_what_somebody_looks_at_is_kept() -> None:
    declared = {"sampling": {}, "experimental": {f"k{number}": {"a": [number]} for number in range(1000)}}
    client = {"name": "n" * 1000, "version": "1", "icons": [{"src": "data:image/png;base64,AAAA"}], "title": 3}
    async with served() as server:
        params = {"protocolVersion": "2025-11-25", "capabilities": declared, "clientInfo": client}
        assert "result" in (await server.post(request("initialize", params))).json()
        kept = server.handler.downstreams[0]
        assert (kept.capabilities, kept.client) == ({"sampling": {}}, {"name": "n" * MAX_LABEL, "version": "1"})
        params["capabilities"] = {"sampling": {"x": "y" * MAX_KEPT}}
        error = (await server.post(request("initialize", params))).json()["error"]
        assert error == {"code": -32602, "message": f"initialize: params.capabilities are larger than {MAX_KEPT} bytes"}
        assert server.app.statistics()["sessions"] == 1


async def test_an_initialize_that_the_handler_refuses_opens_no_session() -> None:
    class Refusing(EchoHandler):
        async def on_request(self, context: Any, method: str, params: dict[str, Any]) -> Any:
            context.notify("notifications/message", {"level": "info", "data": "lost"})
            assert not context.can_send_request
            raise ValueError("a secret of the implementation")

    async with served(Refusing()) as server:
        response = await server.post(request("initialize", INITIALIZE))
        assert response.json()["error"] == {"code": -32603, "message": "Internal error"}
        assert server.app.statistics()["sessions"] == 0


async def test_without_a_session_id_only_initialize_is_served() -> None:
    async with served() as server:
        for body in (call("echo"), {"jsonrpc": "2.0", "method": "notifications/initialized"}):
            response = await server.post(body)
            assert response.status_code == 400
            assert "session" in response.json()["error"]["message"]
            assert response.json()["id"] is None
        for method in ("GET", "DELETE"):
            assert (await server.http.request(method, server.url, headers=heads())).status_code == 400


async def test_an_unknown_session_is_not_found() -> None:
    async with served() as server:
        for method in ("POST", "GET", "DELETE"):
            body = json.dumps(call("echo")) if method == "POST" else None
            response = await server.http.request(method, server.url, content=body, headers=heads(mcp_session_id="gone"))
            assert response.status_code == 404
            assert response.json()["error"]["code"] == -32600


async def test_a_session_is_initialized_once() -> None:
    async with served() as server:
        headers = await server.open()
        response = await server.post(request("initialize", INITIALIZE), **headers)
        assert response.status_code == 400
        assert "already" in response.json()["error"]["message"]


async def test_delete_ends_a_session_and_what_runs_in_it() -> None:
    async with served() as server:
        headers = await server.open()
        gone = asyncio.Event()
        server.handler.downstreams[0].on_close(gone.set)
        slow = asyncio.ensure_future(server.post(call("slow"), **headers))
        await within(server.handler.started.wait())
        async with server.http.stream("GET", server.url, headers=heads(**headers)) as stream:
            assert (await server.http.delete(server.url, headers=heads(**headers))).status_code == 200
            assert [frame async for frame in frames(stream)] == []
        assert (await within(slow)).json()["error"]["code"] == -32800
        await within(server.handler.cancelled.wait())
        await within(gone.wait())
        assert (await server.post(call("echo"), **headers)).status_code == 404
        assert server.app.statistics() == {"sessions": 0, "legacy_requests": 0, "modern_requests": 0}


async def test_more_sessions_than_allowed_are_refused_until_one_ends() -> None:
    async with served(max_sessions=1) as server:
        headers = await server.open()
        response = await server.post(request("initialize", INITIALIZE))
        assert response.status_code == 503
        assert "Too many" in response.json()["error"]["message"]
        assert int(response.headers["retry-after"]) > 0
        assert (await server.post(call("echo", text="x"), **headers)).status_code == 200
        await server.http.delete(server.url, headers=heads(**headers))
        assert (await server.post(request("initialize", INITIALIZE))).status_code == 200


async def test_where_all_places_are_taken_a_session_that_was_never_used_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "ABANDONED", 0.0)
    async with served(max_sessions=2) as server:
        used = await server.open()
        assert (await server.post(call("echo", text="x"), **used)).status_code == 200
        first, _second = [
            (await server.post(request("initialize", INITIALIZE))).headers["mcp-session-id"] for _ in range(2)
        ]
        assert (await server.post(call("echo"), mcp_session_id=first)).status_code == 404
        assert (await server.post(call("echo", text="x"), **used)).status_code == 200
        assert server.app.statistics()["sessions"] == 2


async def test_a_session_has_so_many_requests_under_way_and_no_more() -> None:
    async with served() as server:
        headers, other = await server.open(), await server.open()
        slow = asyncio.ensure_future(server.post(call("slow", id=1), **headers))
        await within(server.handler.started.wait())
        running: Any = server.handler.downstreams[0].running  # type: ignore[attr-defined]
        # As many as may be: the one that runs stands for all the others.
        running |= {f"n{number}": running[1] for number in range(MAX_IN_FLIGHT - 1)}
        refused = (await server.post(call("echo", id=3, text="x"), **headers)).json()
        assert refused["id"] == 3
        assert "Too many requests at once" in refused["error"]["message"]
        assert text_of((await server.post(call("echo", text="x"), **other)).json()) == "x"
        del running["n0"]
        assert text_of((await server.post(call("echo", id=3, text="x"), **headers)).json()) == "x"
        server.handler.gate.set()
        assert text_of((await slow).json()) == "slow"


async def test_an_idle_session_expires_and_one_with_a_stream_or_a_request_does_not() -> None:
    async with served(session_idle_timeout=1.0) as server:
        streaming, busy = await server.open(), await server.open()
        slow = asyncio.ensure_future(server.post(call("slow"), **busy))
        async with server.http.stream("GET", server.url, headers=heads(**streaming)):
            await within(server.handler.started.wait())
            idle = await server.open()
            gone = [downstream.closed for downstream in server.handler.downstreams]
            await within(gone[2].wait())
            assert (await server.post(call("echo"), **idle)).status_code == 404
            assert not gone[0].is_set()
            assert not gone[1].is_set()
            server.handler.gate.set()
            assert text_of((await within(slow)).json()) == "slow"
        await within(gone[0].wait())
        await within(gone[1].wait())
        assert server.app.statistics()["sessions"] == 0


async def test_a_session_whose_client_left_a_request_behind_expires_too() -> None:
    async with served(session_idle_timeout=0.3) as server:
        headers = await server.open()
        async with httpx2.AsyncClient(verify=TLS) as leaving:
            slow = asyncio.ensure_future(leaving.post(server.url, json=call("slow"), headers=heads(**headers)))
            await within(server.handler.started.wait())
            slow.cancel()
            await asyncio.wait({slow})
        await within(server.handler.cancelled.wait())
        assert server.app.statistics()["sessions"] == 0


async def test_an_id_that_is_in_use_is_refused() -> None:
    async with served() as server:
        headers = await server.open()
        slow = asyncio.ensure_future(server.post(call("slow", id=7), **headers))
        await within(server.handler.started.wait())
        response = await server.post(call("echo", id=7), **headers)
        assert response.status_code == 400
        assert response.json()["id"] == 7
        assert "in use" in response.json()["error"]["message"]
        server.handler.gate.set()
        assert text_of((await within(slow)).json()) == "slow"


async def test_a_cancelled_request_ends_with_an_error_and_its_handler_is_cancelled() -> None:
    async with served() as server:
        headers = await server.open()
        slow = asyncio.ensure_future(server.post(call("slow", id="s"), **headers))
        await within(server.handler.started.wait())
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "s"}}
        assert (await server.post(cancelled, **headers)).status_code == 202
        response = await within(slow)
        assert response.json() == {
            "jsonrpc": "2.0",
            "id": "s",
            "error": {"code": -32800, "message": "Request cancelled"},
        }
        assert server.handler.cancelled.is_set()
        assert server.handler.notifications == []
        for params in ({"requestId": "s"}, {"requestId": None}, {}, []):  # answered already, or nothing at all
            assert (await server.post({**cancelled, "params": params}, **headers)).status_code == 202
        assert text_of((await server.post(call("echo", text="on"), **headers)).json()) == "on"


async def test_notifications_reach_the_handler_and_one_that_breaks_it_is_accepted_too() -> None:
    async with served() as server:
        headers = await server.open()
        for method in ("notifications/initialized", "notifications/broken"):
            response = await server.post({"jsonrpc": "2.0", "method": method, "params": {"a": 1}}, **headers)
            assert response.status_code == 202
            assert response.content == b""
        assert [method for method, _ in server.handler.notifications] == [
            "notifications/initialized",
            "notifications/broken",
        ]


async def test_errors_are_those_of_the_handler_and_a_defect_tells_no_secret() -> None:
    async with served() as server:
        headers = await server.open()
        failed = await server.post(call("fail", code=-32002, data={"uri": None}), **headers)
        assert failed.status_code == 200
        assert failed.json()["error"] == {"code": -32002, "message": "it failed", "data": {"uri": None}}
        crashed = await server.post(call("crash"), **headers)
        assert crashed.json()["error"] == {"code": -32603, "message": "Internal error"}
        down = (await server.post(call("down"), **headers)).json()["error"]
        assert down["data"] == {"upstream": "docs", "reason": "connection refused", "retryable": True}
        assert (await server.post(request("nothing/such"), **headers)).json()["error"]["code"] == -32601
        assert (await server.post(request("tools/call", [1]), **headers)).json()["error"]["code"] == -32602


async def test_the_client_can_be_asked_within_a_request() -> None:
    async with served() as server:
        headers = await server.open()
        async with server.http.stream("POST", server.url, json=call("ask"), headers=heads(**headers)) as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            assert stream.headers["x-accel-buffering"] == "no"
            said = frames(stream)
            question = await anext(said)
            assert question["method"] == "roots/list"
            assert question["params"] == {"_meta": {"why": "test"}}
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"roots": [], "x": None}}
            assert (await server.post(answer, **headers)).status_code == 202
            assert (await server.post(answer, **headers)).status_code == 202  # nobody waits for it any more
            assert json.loads(text_of(await anext(said))) == {"roots": [], "x": None}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"error": {"code": -1, "message": "no"}}, {"code": -1, "message": "no"}),
        ({"result": 1}, {"code": -32603, "message": "the client answered with a result that is no object"}),
    ],
)
async def test_a_client_that_refuses_a_question_fails_what_asked(answer: Any, expected: Any) -> None:
    async with served() as server:
        headers = await server.open()
        async with server.http.stream("POST", server.url, json=call("ask"), headers=heads(**headers)) as stream:
            said = frames(stream)
            question = await anext(said)
            # Some clients turn ids into strings.
            await server.post({"jsonrpc": "2.0", "id": str(question["id"]), **answer}, **headers)
            assert (await anext(said))["error"] == expected


@pytest.mark.parametrize("spelled", [{"error": None}, {"jsonrpc": None}, {"id": 1.0}])
async def test_an_answer_that_is_a_little_wrong_is_taken_as_it_is_meant(spelled: Any) -> None:
    async with served() as server:
        headers = await server.open()
        async with server.http.stream("POST", server.url, json=call("ask"), headers=heads(**headers)) as stream:
            said = frames(stream)
            question = await anext(said)
            assert question["id"] == 1
            answer = {"jsonrpc": "2.0", "id": 1, "result": {"roots": []}, **spelled}
            assert (await server.post(answer, **headers)).status_code == 202
            assert json.loads(text_of(await anext(said))) == {"roots": []}
            # A request is not.
            for wrong in ({"id": 1.0}, {"jsonrpc": None}):
                assert (await server.post({**call("echo"), **wrong}, **headers)).status_code == 400


async def test_a_request_that_is_cancelled_takes_its_question_back() -> None:
    async with served() as server:
        headers = await server.open()
        async with server.http.stream("POST", server.url, json=call("ask"), headers=heads(**headers)) as stream:
            said = frames(stream)
            question = await anext(said)
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
            await server.post(cancelled, **headers)
            assert await anext(said) == {
                "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": {"requestId": question["id"]},
            }
            assert (await anext(said))["error"]["code"] == -32800


async def test_ten_thousand_progress_notifications_arrive_complete_and_in_order_before_the_answer() -> None:
    async with served() as server:
        headers = await server.open()
        response = await server.post(call("progress", steps=10_000, meta={"progressToken": "t"}), **headers)
        messages = messages_in(response.text)
        assert [message["params"]["progress"] for message in messages[:-1]] == list(range(10_000))
        assert {message["params"]["progressToken"] for message in messages[:-1]} == {"t"}
        assert text_of(messages[-1]) == "done"


@pytest.mark.parametrize("streamed", [False, True])
async def test_five_megabytes_arrive_whole(*, streamed: bool) -> None:
    async with served() as server:
        headers = await server.open()
        response = await server.post(call("big", size=5_000_000, streamed=streamed), **headers)
        message = messages_in(response.text)[-1] if streamed else response.json()
        assert text_of(message) == "x" * 5_000_000


async def test_what_is_said_after_the_answer_is_dropped() -> None:
    async with served() as server:
        headers = await server.open()
        server.handler.gate.set()
        assert text_of((await server.post(call("slow"), **headers)).json()) == "slow"
        context = server.handler.contexts[0]
        assert not context.can_send_request
        context.notify("notifications/message", {"level": "info", "data": "late"})
        context.close_stream()
        assert text_of((await server.post(call("echo", text="on"), **headers)).json()) == "on"


async def test_a_connection_closed_under_the_clients_feet_costs_nothing_but_itself() -> None:
    async with served() as server:
        headers = await server.open()
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = json.dumps(call("echo", text="half")).encode()
        writer.write(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body))
        writer.write(b"Content-Type: application/json\r\nAccept: */*\r\n\r\n" + body[:10])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert text_of((await server.post(call("echo", text="on"), **headers)).json()) == "on"


async def test_a_hundred_calls_go_over_one_kept_connection_and_a_dropped_one_is_replaced() -> None:
    async with served() as server:
        headers = await server.open()
        for number in range(100):
            assert text_of((await server.post(call("echo", id=number, text="x"), **headers)).json()) == "x"
        async with httpx2.AsyncClient(verify=TLS) as other:
            pending = asyncio.ensure_future(other.post(server.url, json=call("slow"), headers=heads(**headers)))
            await within(server.handler.started.wait())
            pending.cancel()
            await asyncio.wait({pending})
        # The client that left did not cancel: that takes a notification in this era.
        assert not server.handler.cancelled.is_set()
        server.handler.gate.set()
        await within(server.handler.finished.wait())
        await eventually(lambda: server.app.statistics()["legacy_requests"] == 0)


def test_an_idle_session_takes_less_than_five_kilobytes() -> None:
    settings = HttpSettings()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        sessions = []
        for _ in range(1000):
            session = Session(settings)
            session.capabilities = json.loads('{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{}}}')
            session.client = dict(CLIENT)
            sessions.append(session)
        gc.collect()
        assert (tracemalloc.get_traced_memory()[0] - before) / len(sessions) < 5000
    finally:
        tracemalloc.stop()
