"""What no request gets past, in either era: who asks, in what form, how much, and where."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from meshproxy.serving.http import HttpApp, HttpSettings
from meshproxy.wire.protocol import LATEST_MODERN
from tests.kit.echo import EchoHandler, raw_post, served
from tests.kit.messages import call, heads, modern, request, text_of
from tests.kit.waiting import within

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("version", ["2025-11-25", LATEST_MODERN])
INITIALIZE = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x"}})


@ERAS
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"nonsense", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b"null", -32600),
        (b"1", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', -32600),
    ],
)
async def test_a_body_that_is_no_message_gets_an_error_that_says_so(version: str, body: bytes, code: int) -> None:
    async with served() as server:
        response = await server.post(body, mcp_protocol_version=version)
        assert response.status_code == 400
        assert response.headers["content-type"] == "application/json"
        error = response.json()["error"]
        assert error["code"] == code
        assert error["message"]
        assert "Traceback" not in response.text


@pytest.mark.parametrize("deep", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
async def test_parameters_that_are_nested_deeper_than_anything_is_read_are_refused(deep: bytes) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + deep + b"}"
    async with served() as server:
        modern = await server.post(body, mcp_protocol_version=LATEST_MODERN)
        legacy = await server.post(body, **await server.open())
    for response in (modern, legacy):
        assert response.json()["error"]["code"] == -32602


@ERAS
async def test_a_byte_order_mark_before_a_body_says_nothing(version: str) -> None:
    async with served() as server:
        if version == LATEST_MODERN:
            body, headers = modern(call("echo", text="hi"))
        else:
            body, headers = call("echo", text="hi"), await server.open()
        response = await server.post(b"\xef\xbb\xbf" + json.dumps(body).encode(), **headers)
        assert response.status_code == 200
        assert text_of(response.json()) == "hi"


@ERAS
async def test_a_body_that_is_not_in_utf_8_is_refused_wherever_that_is(version: str) -> None:
    async with served() as server:
        body, headers = modern(call("echo", text="Größe"))
        if version != LATEST_MODERN:
            headers = await server.open()
        response = await server.post(json.dumps(body, ensure_ascii=False).encode("latin-1"), **headers)
        assert response.status_code == 400
        assert response.json()["error"] == {"code": -32700, "message": "Parse error: it is not in UTF-8"}


async def test_a_malformed_message_is_answered_under_its_id_where_that_can_be_read() -> None:
    async with served() as server:
        response = await server.post(b'{"jsonrpc":"1.0","id":"x","method":"ping"}')
        assert response.json()["id"] == "x"
        assert "data" not in response.json()["error"]


@ERAS
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": ""}, 400),
        ({"host": "evil.example.com"}, 421),
        ({"host": "evil.example.com", "origin": "http://evil.example.com"}, 421),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": None}, 415),
        ({"accept": "application/json"}, 406),
        ({"accept": "text/event-stream"}, 406),
        ({"accept": None}, 406),
        ({"accept": "text/html"}, 406),
    ],
)
async def test_a_request_of_the_wrong_kind_is_refused_before_it_is_read(
    version: str, headers: dict[str, Any], status: int
) -> None:
    async with served() as server:
        given = heads(**{"mcp_protocol_version": version, **headers})
        if "accept" not in given:
            given["accept"] = ""
        response = await server.http.post(server.url, content=b"{}", headers=given)
        assert response.status_code == status
        assert response.json()["error"]["code"] == -32600
        assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:1", "origin": "http://localhost:6274"},
        {"host": "[::1]:80"},
        {"accept": "*/*"},
        {"accept": "Application/*;q=0.5, text/*"},
        {"content_type": "Application/JSON; charset=utf-8"},
        {"mcp_protocol_version": " 2025-11-25"},
    ],
)
async def test_what_means_the_same_is_served_the_same(headers: dict[str, Any]) -> None:
    async with served() as server:
        for _ in range(2):  # the second time it is remembered
            assert (await raw_post(server, INITIALIZE, **headers))[0] == 200


@pytest.mark.parametrize("name", ["host", "origin", "content-type", "mcp-session-id"])
async def test_a_header_that_may_stand_once_and_stands_twice_is_refused(name: str) -> None:
    async with served() as server:
        value = {"host": "localhost", "origin": "http://localhost", "content-type": "application/json"}.get(name, "x")
        lines = [f"{key}: {given}" for key, given in heads(host="localhost").items() if key != name]
        lines += [f"{name}: {value}"] * 2
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(("POST /mcp HTTP/1.1\r\nContent-Length: 2\r\n" + "\r\n".join(lines) + "\r\n\r\n{}").encode())
        assert b" 400 " in await within(reader.readline())
        writer.close()


async def test_names_and_pages_can_be_allowed() -> None:
    async with served(allowed_hosts=("mesh.example.com",), allowed_origins=("https://app.example.com",)) as server:
        headers = {"host": "mesh.example.com:8000", "origin": "https://app.example.com"}
        assert (await server.post(INITIALIZE, **headers)).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(*, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1000

    async with served(max_body=200_000) as server:
        content: Any = pieces() if chunked else b" " * 300_000
        response = await server.http.post(server.url, content=content, headers=heads())
        assert response.status_code == 413
        assert "200000" in response.json()["error"]["message"]
        small = await server.post(b" " * 200_001)
        assert small.status_code == 413
        assert (await server.post(INITIALIZE)).status_code == 200


async def test_a_body_in_many_pieces_is_read_whole() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        body = json.dumps(modern(call("echo", text="x" * 300_000))[0]).encode()
        for start in range(0, len(body), 7_000):
            yield body[start : start + 7_000]

    async with served() as server:
        headers = modern(call("echo"))[1]
        response = await server.http.post(server.url, content=pieces(), headers=heads(**headers))
        assert text_of(response.json()) == "x" * 300_000


async def test_a_path_that_is_none_tells_where_the_endpoint_is() -> None:
    async with served(path="/api/mcp") as server:
        root = f"http://127.0.0.1:{server.port}"
        response = await server.http.get(f"{root}/mcp")
        assert response.status_code == 404
        assert response.text == "Not found. The MCP endpoint is /api/mcp\n"
        assert (await server.http.post(f"{root}/api/mcp/", json=INITIALIZE, headers=heads())).status_code == 200


async def test_the_endpoint_may_be_the_root() -> None:
    async with served(path="/") as server:
        assert (await server.post(INITIALIZE)).status_code == 200


async def test_health_is_told_without_the_protocol() -> None:
    async with served() as server:
        url = f"http://127.0.0.1:{server.port}/healthz"
        response = await server.http.get(url)
        assert response.status_code == 200
        assert response.json() == {"status": "ok"}
        head = await server.http.head(url)
        assert head.status_code == 200
        assert head.content == b""
        assert (await server.http.post(url)).status_code == 405


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS"])
async def test_another_method_is_not_allowed(method: str) -> None:
    async with served() as server:
        response = await server.http.request(method, server.url, headers=heads())
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, POST, DELETE"


async def test_any_asgi_server_starts_and_stops_it() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        events.append("started")
        yield
        events.append("stopped")

    sent: list[str] = []
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await HttpApp(EchoHandler(), lifespan=lifespan)({"type": "lifespan"}, receive, send)
    assert events == ["started", "stopped"]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_start_that_fails_is_told_to_the_asgi_server() -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise ValueError("no upstream")
        yield

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with pytest.raises(ValueError, match="no upstream"):
        await HttpApp(EchoHandler(), HttpSettings(), lifespan=lifespan)({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "no upstream"}]


async def test_a_websocket_is_closed() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await HttpApp(EchoHandler())({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_more_kinds_of_clients_than_are_remembered_are_served_too() -> None:
    async with served() as server:
        for number in range(300):
            accept = f"application/json, text/event-stream, x/{number}"
            assert (await server.post(b"{}", accept=accept)).status_code == 400
        assert len(server.app._posts.passed) < 300
