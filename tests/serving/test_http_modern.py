"""HTTP of the modern era: envelopes, headers that agree, streams that are requests, and closing as cancellation."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from meshproxy.errors import RpcError
from meshproxy.relay.downstream import RequestContext
from meshproxy.wire.protocol import LATEST_MODERN, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_VERSION, Era
from tests.kit.echo import TLS, EchoHandler, raw_post, served
from tests.kit.messages import CLIENT, call, frames, heads, messages_in, modern, request, text_of
from tests.kit.waiting import eventually, within

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_server")]


async def test_a_call_stands_alone_and_is_answered_with_json() -> None:
    async with served() as server:
        body, headers = modern(call("echo", text="hi"))
        response = await server.post(body, **headers)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert "mcp-session-id" not in response.headers
        assert text_of(response.json()) == "hi"
        assert response.json()["result"]["resultType"] == "complete"
        assert server.app.statistics() == {"sessions": 0, "legacy_requests": 0, "modern_requests": 0}


async def test_the_downstream_is_what_the_envelope_says_and_no_two_requests_share_one() -> None:
    contexts: list[RequestContext] = []

    class Noting(EchoHandler):
        async def on_request(self, context: RequestContext, method: str, params: dict[str, Any]) -> Any:
            contexts.append(context)
            return await super().on_request(context, method, params)

    async with served(Noting()) as server:
        body, headers = modern(
            call("whoami"), **{META_CAPABILITIES: {"sampling": {}}, META_LOG_LEVEL: "warning", "progressToken": "p"}
        )
        response = await server.post(body, x_custom="kept", **headers)
        assert json.loads(text_of(response.json())) == {
            "version": LATEST_MODERN,
            "capabilities": {"sampling": {}},
            "client": CLIENT,
            "log_level": "warning",
            "header": "kept",
        }
        body, headers = modern(call("whoami"), **{META_CLIENT: None, META_LOG_LEVEL: 1, "progressToken": True})
        anonymous = json.loads(text_of((await server.post(body, **headers)).json()))
        assert anonymous["client"] == {}
        assert anonymous["log_level"] is None
    first, second = contexts
    assert first.downstream.era is Era.MODERN
    assert first.progress_token == "p"
    assert second.progress_token is None
    assert first.downstream.key != second.downstream.key
    assert first.downstream.closed.is_set()
    assert not first.can_send_request
    assert dict(first.headers)["content-type"] == "application/json"
    assert len(first.headers) == len(dict(first.headers))
    # There is no stream for either any more, and that is no error; a question has nowhere to go.
    first.downstream.notify("notifications/message", None)
    first.notify("notifications/message", None)
    with pytest.raises(RpcError, match="cannot be asked"):
        await first.downstream.send_raw_request("roots/list", None)


async def test_a_server_of_this_era_asks_nothing() -> None:
    async with served() as server:
        body, headers = modern(call("ask"))
        response = await server.post(body, **headers)
        assert response.status_code == 400
        assert "cannot be asked" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *((-32700, 400), (-32600, 400), (-32602, 400), (-32020, 400), (-32021, 400), (-32022, 400)),
        *((-32601, 404), (-32603, 200), (-32002, 200), (1, 200)),
    ],
)
async def test_an_error_has_the_http_status_of_its_code(code: int, status: int) -> None:
    async with served() as server:
        body, headers = modern(call("fail", id="e", code=code, data={"why": None}))
        response = await server.post(body, **headers)
        assert response.status_code == status
        assert response.json() == {
            "jsonrpc": "2.0",
            "id": "e",
            "error": {"code": code, "message": "it failed", "data": {"why": None}},
        }


async def test_a_defect_tells_no_secret() -> None:
    async with served() as server:
        body, headers = modern(call("crash"))
        response = await server.post(body, **headers)
        assert response.json()["error"] == {"code": -32603, "message": "Internal error"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mcp_protocol_version": "2030-01-01"}, -32020),
        ({"mcp_method": None}, -32020),
        ({"mcp_method": "tools/list"}, -32020),
        ({"mcp_name": None}, -32020),
        ({"mcp_name": "other"}, -32020),
        ({"mcp_name": "=?base64?!?="}, -32020),
        ({"mcp_name": "=?base64?ZWNobw==?="}, None),
        ({"mcp_name": "  echo\t"}, None),
        ({"mcp_method": "\ttools/call "}, None),
        ({"mcp_session_id": "ignored", "last_event_id": "ignored"}, None),
    ],
)
async def test_headers_that_disagree_with_the_body_are_refused(changes: dict[str, Any], code: int | None) -> None:
    async with served() as server:
        body, headers = modern(call("echo", id=3, text="hi"))
        status, message = await raw_post(server, body, **{**headers, **changes})
        if code is None:
            assert text_of(message) == "hi"
        else:
            assert status == 400
            assert message["id"] == 3
            assert message["error"]["code"] == code


@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name"])
async def test_a_routing_header_that_stands_twice_is_refused(name: str) -> None:
    async with served() as server:
        body, headers = modern(call("echo", text="hi"))
        pairs = list(heads(**headers).items())
        twice = [*pairs, (name, dict(pairs)[name])]
        response = await server.http.post(server.url, json=body, headers=twice)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == -32020
        assert name in response.json()["error"]["message"]


async def test_a_header_that_is_a_list_may_stand_twice() -> None:
    async with served() as server:
        body, headers = modern(call("echo", text="hi"))
        pairs = [
            *heads(accept="application/json", **headers).items(),
            ("accept", "text/event-stream"),
            ("x", "1"),
            ("x", "2"),
        ]
        assert text_of((await server.http.post(server.url, json=body, headers=pairs)).json()) == "hi"


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({META_VERSION: LATEST_MODERN}, -32602),
        ({META_CAPABILITIES: {}}, -32602),
        ({META_VERSION: LATEST_MODERN, META_CAPABILITIES: 1}, -32602),
        ({META_VERSION: "2030-01-01", META_CAPABILITIES: {}}, -32022),
        (1, -32602),
        (None, -32602),
    ],
)
async def test_an_envelope_that_is_incomplete_or_foreign_is_refused(meta: Any, code: int) -> None:
    async with served() as server:
        version = "2030-01-01" if code == -32022 else LATEST_MODERN
        headers = {"mcp_protocol_version": version, "mcp_method": "tools/list"}
        params = {} if meta is None else {"_meta": meta}
        response = await server.post(request("tools/list", params, 5), **headers)
        assert response.status_code == 400
        assert response.json()["id"] == 5
        assert response.json()["error"]["code"] == code
        if code == -32022:
            assert response.json()["error"]["data"] == {"supported": [LATEST_MODERN], "requested": "2030-01-01"}


@pytest.mark.parametrize(
    ("arguments", "headers", "code"),
    [
        ({"region": "eu"}, {"mcp_param_region": "eu"}, None),
        ({"region": "ü"}, {"mcp_param_region": "=?base64?w7w=?="}, None),
        ({}, {}, None),
        ({"region": "eu"}, {}, -32020),
        ({"region": "eu"}, {"mcp_param_region": "us"}, -32020),
        ({}, {"mcp_param_region": "eu"}, -32020),
        ({"region": "eu"}, {"mcp_param_region": "eu", "mcp_param_other": "1"}, None),
    ],
)
async def test_annotated_arguments_agree_with_their_headers(
    arguments: dict[str, Any], headers: dict[str, str], code: int | None
) -> None:
    async with served() as server:
        body, usual = modern(call("regional", **arguments))
        response = await server.post(body, **usual, **headers)
        assert response.json().get("error", {}).get("code") == code


async def test_notifications_are_accepted_and_dropped() -> None:
    async with served() as server:
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        response = await server.post(note, mcp_protocol_version=LATEST_MODERN)
        assert response.status_code == 202
        refused = await server.post(note, mcp_protocol_version="2030-01-01")
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == -32022
        assert server.handler.notifications == []


async def test_an_answer_is_nothing_that_a_client_sends() -> None:
    async with served() as server:
        response = await server.post({"jsonrpc": "2.0", "id": 1, "result": {}}, mcp_protocol_version=LATEST_MODERN)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == -32600


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_there_is_nothing_to_get_or_delete(method: str) -> None:
    async with served() as server:
        headers = heads(mcp_protocol_version=LATEST_MODERN)
        response = await server.http.request(method, server.url, headers=headers)
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"


async def test_ten_thousand_progress_notifications_arrive_complete_and_in_order_before_the_answer() -> None:
    async with served() as server:
        body, headers = modern(call("progress", steps=10_000), progressToken="t")
        response = await server.post(body, **headers)
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["x-accel-buffering"] == "no"
        assert "id:" not in response.text
        messages = messages_in(response.text)
        assert [message["params"]["progress"] for message in messages[:-1]] == list(range(10_000))
        assert text_of(messages[-1]) == "done"


@pytest.mark.parametrize("streamed", [False, True])
async def test_five_megabytes_arrive_whole(*, streamed: bool) -> None:
    async with served() as server:
        body, headers = modern(call("big", size=5_000_000, streamed=streamed))
        response = await server.post(body, **headers)
        message = messages_in(response.text)[-1] if streamed else response.json()
        assert text_of(message) == "x" * 5_000_000


async def test_an_error_after_the_first_word_is_an_event() -> None:
    class Failing(EchoHandler):
        async def _fail(self, context: RequestContext, arguments: dict[str, Any]) -> str:
            context.notify("notifications/message", {"data": "first"})
            return await super()._fail(context, arguments)

    async with served(Failing()) as server:
        body, headers = modern(call("fail", code=-32602))
        response = await server.post(body, **headers)
        assert response.status_code == 200
        assert messages_in(response.text)[-1]["error"]["code"] == -32602


async def test_a_listen_stream_says_what_happens_until_the_server_ends_it() -> None:
    async with served() as server:
        body, headers = modern(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "l1"))
        async with server.http.stream("POST", server.url, json=body, headers=heads(**headers)) as stream:
            said = frames(stream)
            assert (await anext(said))["method"] == "notifications/subscriptions/acknowledged"
            server.handler.gate.set()
            assert (await anext(said))["method"] == "notifications/tools/list_changed"
            assert (await anext(said))["id"] == "l1"
            assert [frame async for frame in said] == []


async def test_closing_a_listen_stream_cancels_it() -> None:
    async with served() as server:
        body, headers = modern(request("subscriptions/listen", {}))
        async with (
            httpx2.AsyncClient(verify=TLS) as leaving,
            leaving.stream("POST", server.url, json=body, headers=heads(**headers)) as stream,
        ):
            await anext(frames(stream))
        await within(server.handler.cancelled.wait())
        await eventually(lambda: server.app.statistics()["modern_requests"] == 0)


async def test_a_client_that_leaves_cancels_its_silent_request() -> None:
    async with served() as server:
        body, headers = modern(call("slow"))
        async with httpx2.AsyncClient(verify=TLS) as leaving:
            slow = asyncio.ensure_future(leaving.post(server.url, json=body, headers=heads(**headers)))
            await within(server.handler.started.wait())
            slow.cancel()
            await asyncio.wait({slow})
        await within(server.handler.cancelled.wait())
        await eventually(lambda: server.app.statistics()["modern_requests"] == 0)


async def test_a_silent_request_gets_a_stream_that_says_that_it_lives() -> None:
    async with served(keepalive=0.02) as server:
        body, headers = modern(call("slow"))
        async with server.http.stream("POST", server.url, json=body, headers=heads(**headers)) as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            chunks = stream.aiter_text()
            text = ""
            while text.count(": keep-alive\n\n") < 2:
                text += await within(anext(chunks))
            server.handler.gate.set()
            async for chunk in chunks:
                text += chunk
        assert text_of(messages_in(text)[-1]) == "slow"


async def test_a_client_that_does_not_read_is_cancelled() -> None:
    class Flooding(EchoHandler):
        async def _slow(self, context: Any, arguments: dict[str, Any]) -> str:
            self.started.set()
            try:
                for _ in range(100_000):
                    context.notify("notifications/message", {"padding": "x" * 50_000})
                    await asyncio.sleep(0)
            finally:
                self.cancelled.set()
            return "slow"

    async with served(Flooding(), max_buffer=1_000_000) as server:
        body, headers = modern(call("slow"))
        content = json.dumps(body).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**16)
        lines = [b"POST /mcp HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(content)]
        lines += [f"{name}: {value}".encode() for name, value in heads(**headers).items()]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + content)
        await within(server.handler.started.wait())
        await within(server.handler.cancelled.wait())
        await eventually(lambda: server.app.statistics()["modern_requests"] == 0)
        writer.close()


async def test_closing_the_application_cancels_what_runs() -> None:
    async with served() as server:
        body, headers = modern(call("slow"))
        slow = asyncio.ensure_future(server.post(body, **headers))
        await within(server.handler.started.wait())
        await server.app.aclose()
        assert (await within(slow)).json()["error"]["code"] == -32800
        assert (await server.post(body, **headers)).status_code == 503


async def test_draining_takes_no_new_request_and_lets_the_others_end() -> None:
    async with served() as server:
        body, headers = modern(call("slow"))
        slow = asyncio.ensure_future(server.post(body, **headers))
        await within(server.handler.started.wait())
        draining = asyncio.ensure_future(server.app.drain(60))
        await eventually(lambda: server.app._modern.is_shut)
        assert (await server.post(body, **headers)).status_code == 503
        server.handler.gate.set()
        assert text_of((await within(slow)).json()) == "slow"
        await within(draining)
