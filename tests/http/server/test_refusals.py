"""What is no request, what could be read as two, what is too much, and what takes too long."""

import asyncio
import contextlib
from typing import Any

import pytest
from meshproxy.http.server_connection import MAX_FIELDS, MAX_HEAD
from meshproxy.http.server_turns import HIGH_WATER
from tests.kit.raw_client import Receive, Scope, Send, chunked, echo, get, post, respond, served, turns
from tests.kit.waiting import DEADLINE, eventually, within

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_traceback")]


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\2\3",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"FOO / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\rHost: x\r\r",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET a HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.7\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        get("/", "A: b\0c"),
        get("/", "A: b\x01c"),
        get("/", "A: b\rc"),
        get("/", "A: b\nC: d"),
        get("/", "A: b\r"),
        get("/", "A: b", " folded"),
        get("/", "A\0: b"),
        get("/", "A : b"),
        get("/", ": b"),
        get("/", "no colon"),
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        post(b"abc", "Content-Length: 3"),
        post(b"abc", "Content-Length: 4"),
        post(b"abc", "Transfer-Encoding: chunked"),
        post(b"abc", "Transfer-Encoding: identity"),
        chunked(b"abc", lines=("Content-Length: 3",)),
        chunked(b"abc", lines=("Transfer-Encoding: chunked",)),
        chunked(b"abc", lines=("Transfer-Encoding: identity",)),
        chunked(b"abc", trailers=b"Content-Length: 3\r\n"),
        *(
            chunked(b"abc").replace(b": chunked", b": " + value)
            for value in (
                b"chunked, chunked",
                b"gzip",
                b"xchunked",
                b"chunked;q=1",
                b"\x0bchunked",
                b"",
                b"chunked, gzip",
                b"gzip, chunked",
                b", chunked",
            )
        ),
        *(
            post(b"abc").replace(b": 3", b": " + value)
            for value in (
                b"3, 3",
                b"+3",
                b"-3",
                b"0x3",
                b"3 3",
                b"",
                b"1_0",
                b"99999999999999999999",
                b"\xb3",
                b"three",
            )
        ),
        *(
            chunked(b"abc").replace(b"\r\n3\r\n", b"\r\n" + value + b"\r\n")
            for value in (b"0x3", b"+3", b"-3", b"3 ", b"", b"g", b"3;a\nb", b"11111111111111111", b"3\n")
        ),
        chunked(b"abc").replace(b"abc\r\n", b"abcd\r\n"),
        chunked(b"abc").replace(b"abc\r\n", b"abc\n"),
        chunked(b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"),
        chunked(b"abc", lines=("Connection: keep-alive",)).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
async def test_what_is_no_request_or_could_be_read_as_two_is_refused_and_ends_the_connection(data: bytes) -> None:
    bodies: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            assert message["more_body"]
            bodies.append(message)

    async with served(app) as service:
        client = await service.dial()
        response = await client.ask(data + get("/smuggled"))
        assert (response.status, response.headers["connection"]) == (400, "close")
        assert await client.rest() == b""
        client.socket.close()
        await service.idle()


@pytest.mark.parametrize("version", ["2.0", "0.9"])
async def test_other_versions_are_refused(version: str) -> None:
    async with served(echo) as service:
        client = await service.dial()
        response = await client.ask(get(version=version))
        assert (response.status, response.headers["connection"]) == (505, "close")
        assert await client.rest() == b""


async def test_nobody_gets_a_tunnel() -> None:
    async with served(echo) as service:
        client = await service.dial()
        response = await client.ask(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n\x16\x03\x01")
        assert (response.status, response.headers["connection"]) == (501, "close")
        assert await client.rest() == b""


async def test_a_wish_for_another_protocol_is_not_heard_and_the_body_is_the_requests() -> None:
    lines = (
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        "Upgrade: h2c",
    )
    async with served(echo) as service:
        client = await service.dial()
        await client.send(post(b"one", *lines) + chunked(b"two", lines=lines) + get("/three", *lines) + post(b"four"))
        for body in ("one", "two", "", "four"):
            response = await client.response()
            assert (response.status, response.json["body"]) == (200, body)
        websocket = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")
        assert (await client.ask(get("/", *websocket))).status == 200
        assert (await client.ask(post(b"five", *lines, "Connection: close"))).json["body"] == "five"
        assert await client.rest() == b""


async def test_requests_before_garbage_are_answered_first() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await respond(send, scope["path"].encode())

    async with served(app) as service:
        client = await service.dial()
        await client.send(get("/1") + get("/2") + b"\0 garbage\r\n\r\n")
        await eventually(lambda: bool(service.server.connections) and bool(service.connection._refusal))
        gate.set()
        assert [(await client.response()).body for _ in range(2)] == [b"/1", b"/2"]
        assert (await client.response()).status == 400
        assert await client.rest() == b""


async def test_an_application_that_answers_a_broken_body_has_the_last_word() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await respond(send, b"broken", 422)

    async with served(app) as service:
        client = await service.dial()
        response = await client.ask(chunked(b"abc").replace(b"\r\n0\r\n", b"\r\nxyz\r\n"))
        assert (response.status, response.headers["connection"]) == (422, "close")
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "data",
    [
        get("/" + "x" * MAX_HEAD),
        get("/", "X-Big: " + "x" * MAX_HEAD),
        get("/", *(f"X-Name-{number}: {'x' * 1000}" for number in range(MAX_HEAD // 1000))),
        get("/", *["A: b"] * MAX_FIELDS),
    ],
    ids=["target", "field", "fields", "count"],
)
async def test_a_head_that_is_too_large_is_refused_and_one_that_is_not_is_served(
    data: bytes, read_sizes: list[int]
) -> None:
    async with served(echo) as service:
        for step in (len(data), 50_000, 100):
            client = await service.dial()
            for place in range(0, len(data), step):
                await client.send(data[place : place + step])
            response = await client.response()
            assert (response.status, response.headers["connection"]) == (431, "close")
            assert await client.rest() == b""
        client = await service.dial()
        fits = get("/", *["A: b"] * (MAX_FIELDS - 1)) + get("/", "X-Big: " + "x" * (MAX_HEAD - 100))
        await client.send(post(b"x" * 200_000) + fits)
        for _ in range(3):
            assert (await client.response()).status == 200


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (get()[:-2] + b"X-Big: ", b"x" * 1000),
        (get()[:-2], b"X-Name: x\r\n" * 100),
        (b"GET /", b"x" * 1000),
        (chunked(b"abc")[:-2] + b"X-Big: ", b"x" * 1000),
        (chunked(b"abc")[:-2], b"X-Name: x\r\n" * 100),
        (chunked(b"abc")[:-5] + b"3;", b"x" * 1000),
    ],
    ids=["field", "fields", "target", "trailer", "trailers", "extension"],
)
async def test_what_is_no_body_and_never_ends_is_refused(start: bytes, piece: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with served(app) as service:
        client = await service.dial()
        await client.send(start)
        await eventually(lambda: bool(service.server.connections))
        connection = service.connection
        sent = 0
        while not connection._refusal:
            await client.send(piece)
            sent += len(piece)
            assert sent < 32 * MAX_HEAD
            await asyncio.sleep(0)
        assert (await client.response()).status == 431
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "start", [b"", b"G", get()[:-1], get() + get()[:-5]], ids=["nothing", "byte", "head", "second"]
)
async def test_a_connection_that_is_idle_or_stops_in_a_head_is_closed(start: bytes) -> None:
    async with served(echo, keep_alive=0.05, head_timeout=0.05) as service:
        client = await service.dial()
        await client.send(start)
        await client.rest()
        await service.idle()


async def test_a_head_that_drips_is_closed_at_its_deadline_and_an_idle_connection_is_not() -> None:
    async with served(echo, keep_alive=DEADLINE, head_timeout=0.05) as service:
        idle = await service.dial()
        assert (await idle.ask(get())).status == 200
        dripping = await service.dial()
        await dripping.send(get()[:-2])
        closed = asyncio.ensure_future(dripping.rest())
        while not closed.done():
            with contextlib.suppress(ConnectionError):
                await dripping.send(b"X")
            await turns(service, 1)
        with contextlib.suppress(ConnectionResetError):  # it sent what nobody read
            assert await closed == b""
        assert (await idle.ask(get())).status == 200


async def test_a_client_whose_body_drips_is_left_and_one_whose_body_is_slow_is_not() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            if not message["more_body"]:
                await respond(send)
                return

    async with served(app, keep_alive=DEADLINE, head_timeout=0.05) as service:
        slow = await service.dial()
        await slow.send(post(b"x" * 100_000)[:-1])
        dripping = await service.dial()
        await dripping.send(post(b"x" * 100_000)[:-99_999])
        closed = asyncio.ensure_future(dripping.rest())
        while not closed.done():
            with contextlib.suppress(ConnectionError):
                await dripping.send(b"x")
            await turns(service, 1)
        with contextlib.suppress(ConnectionResetError):
            assert await closed == b""
        assert (await slow.ask(b"x")).status == 200


async def test_a_client_that_stops_within_a_body_is_left() -> None:
    told = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    async with served(app, keep_alive=0.05) as service:
        client = await service.dial()
        await client.send(post(b"some body")[:-5])
        assert await client.rest() == b""
        await within(told.wait())
        await service.idle()


async def test_neither_a_slow_application_nor_a_slow_answer_is_left() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await respond(send, b"x" * 10_000_000)

    async with served(app, send_buffer=50_000, keep_alive=0.3, head_timeout=0.1) as service:
        client = await service.dial(receive_buffer=10_000)
        await client.send(get() + post(b"x" * HIGH_WATER)[:-1])
        await turns(service, 10)
        gate.set()
        await client.until(b"\r\n\r\n")
        for _ in range(20):
            assert set(await client.exactly(500_000)) == set(b"x")
            await turns(service, 1)


async def test_a_client_that_takes_nothing_of_its_answer_is_left() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x" * 20_000_000)

    async with served(app, keep_alive=0.05) as service:
        client = await service.dial(receive_buffer=10_000)
        await client.send(get("/", "Connection: close"))
        await eventually(lambda: bool(service.server.connections))
        await service.idle()
