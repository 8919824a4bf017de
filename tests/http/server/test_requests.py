"""Requests in every form that they may come in, one after another on their connections."""

import asyncio

import pytest
from meshproxy.http.server_connection import SLICE, Connection
from meshproxy.http.server_turns import MAX_AHEAD
from tests.kit.raw_client import Receive, Scope, Send, chunked, echo, get, post, respond, served
from tests.kit.waiting import eventually, within

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_traceback")]


async def test_a_connection_serves_one_request_after_another() -> None:
    async with served(echo) as service:
        client = await service.dial()
        for number in range(3):
            response = await client.ask(post(b"%d" % number, target=f"/{number}"))
            assert response.status == 200
            assert "connection" not in response.headers
            assert (response.json["path"], response.json["body"]) == (f"/{number}", str(number))
        assert len(service.server.connections) == 1


async def test_the_scope_says_what_was_asked_of_whom_and_by_whom() -> None:
    async with served(echo) as service:
        client = await service.dial()
        told = (
            await client.ask(post(b"x", "X-Name:  some \t value \t ", "Empty:", target="/a%20b/%C3%A9%2f?q=%20&r"))
        ).json
        assert (told["method"], told["http_version"]) == ("POST", "1.1")
        assert (told["path"], told["raw_path"], told["query_string"]) == ("/a b/\u00e9/", "/a%20b/%C3%A9%2f", "q=%20&r")
        assert told["headers"] == [
            ["host", "localhost"],
            ["content-length", "1"],
            ["x-name", "some \t value"],
            ["empty", ""],
        ]
        assert told["client"] == list(client.socket.getsockname())
        assert told["server"] == ["127.0.0.1", service.port]


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        ("http://example.com/a?b", "/a", "b", "example.com"),
        ("http://user:secret@example.com:81/a//b", "/a//b", "", "example.com:81"),
        ("http://example.com", "/", "", "example.com"),
        ("http://example.com?b=/c", "/", "b=/c", "example.com"),
        ("//example.com/a", "//example.com/a", "", "localhost"),
        ("*", "*", "", "localhost"),
    ],
)
async def test_a_target_in_absolute_form_names_the_host_and_the_path(
    target: str, path: str, query: str, host: str
) -> None:
    async with served(echo) as service:
        client = await service.dial()
        told = (await client.ask(get(target).replace(b"GET *", b"OPTIONS *"))).json
        assert (told["path"], told["query_string"], told["headers"]) == (path, query, [["host", host]])


async def test_requests_that_are_sent_ahead_are_answered_in_order_and_one_at_a_time() -> None:
    running: list[str] = []
    gate, started = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        running.append(scope["path"])
        assert len(running) == 1
        started.set()
        await gate.wait()
        running.clear()
        await respond(send, scope["path"].encode())

    async with served(app) as service:
        client = await service.dial()
        count = 10 * MAX_AHEAD
        await client.send(b"".join(get(f"/{number}") for number in range(count // 2)))
        await within(started.wait())
        assert running == ["/0"]
        await client.send(b"".join(get(f"/{number}") for number in range(count // 2, count)))
        gate.set()
        for number in range(count):
            assert (await client.response()).body == b"/%d" % number


async def test_a_client_that_sends_too_many_requests_ahead_is_made_to_wait() -> None:
    gate = asyncio.Event()
    began: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began.append(scope["path"])
        await gate.wait()
        await respond(send, scope["path"].encode())

    async with served(app) as service:
        client = await service.dial()
        padding = f"X-Padding: {'x' * 8000}"
        count = 2000
        sending = asyncio.ensure_future(client.send(b"".join(get(f"/{number}", padding) for number in range(count))))
        await eventually(lambda: bool(service.server.connections) and service.connection._is_held)
        assert len(service.connection._ahead) < count / 4
        gate.set()
        for number in range(count):
            assert (await client.response()).body == b"/%d" % number
        await sending
        assert began == [f"/{number}" for number in range(count)]


async def test_of_thousands_of_tiny_requests_in_one_read_few_wait_at_a_time_and_all_are_answered() -> None:
    gate = asyncio.Event()
    most = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal most
        await gate.wait()
        most = max(most, len(service.connection._ahead))
        await respond(send, scope["path"].encode())

    async with served(app) as service:
        client = await service.dial()
        count = 14_000
        tiny = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(count))
        ends = b"POST /last HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
        sending = asyncio.ensure_future(client.send(tiny + ends))
        await eventually(lambda: bool(service.server.connections) and bool(service.connection._rest))
        gate.set()
        for number in range(count):
            assert (await client.response()).body == b"/%d" % number
        assert (await client.response()).body == b"/last"
        await sending
        assert most <= SLICE / 18 + MAX_AHEAD


async def test_a_client_that_leaves_while_its_requests_wait_takes_them_along() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await respond(send)

    async with served(app) as service:
        client = await service.dial()
        sending = asyncio.ensure_future(client.send(b"GET / HTTP/1.1\r\n\r\n" * 12_000))
        await eventually(lambda: bool(service.server.connections) and bool(service.connection._rest))
        await sending
        service.connection.abort()
        gate.set()
        await service.idle()


@pytest.mark.parametrize(
    "data",
    [
        chunked(b"abc", b"defg", b"h" * 300),
        chunked(b"abc", b"defg", b"h" * 300, trailers=b"X-Name: trailer\r\nHost: evil\r\n"),
        chunked(b"abcdefg", b"h" * 300).replace(b"\r\n7\r\n", b'\r\n0007;name=value;other="quo;ted"\r\n'),
        chunked(b"abcdefg" + b"h" * 300).replace(b"chunked", b"CHUNKED"),
        post(b"abcdefg" + b"h" * 300),
    ],
    ids=["chunks", "trailers", "extensions", "upper", "length"],
)
async def test_a_body_is_the_same_however_it_is_framed_and_trailers_are_no_headers(data: bytes) -> None:
    async with served(echo) as service:
        client = await service.dial()
        for _ in range(2):
            told = (await client.ask(data)).json
            assert told["body"] == "abcdefg" + "h" * 300
            assert len(told["headers"]) == 2


SPLIT = {
    "length": post(b"some body", "X-Name: value"),
    "chunks": chunked(b"some", b" body", lines=("X-Name: value",), trailers=b"X-Trailer: t\r\n"),
    "upgrade": post(b"some body", "X-Name: value", "Connection: Upgrade", "Upgrade: h2c"),
}


@pytest.mark.parametrize("data", SPLIT.values(), ids=SPLIT)
async def test_a_request_may_be_split_anywhere(data: bytes, read_sizes: list[int]) -> None:
    async with served(echo) as service:
        client = await service.dial()
        for place in range(1, len(data)):
            read_sizes.clear()
            await client.send(data[:place])
            await eventually(lambda: sum(read_sizes) == place)  # noqa: B023  # within the turn
            told = (await client.ask(data[place:])).json
            assert told["body"] == "some body"
            assert ["x-name", "value"] in told["headers"]
            assert ["x-trailer", "t"] not in told["headers"]


@pytest.mark.parametrize("data", SPLIT.values(), ids=SPLIT)
async def test_a_request_may_come_byte_by_byte_and_together_with_the_next(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Connection.data_received

    def data_received(self: Connection, data: bytes) -> None:
        for place in range(len(data)):
            real(self, data[place : place + 1])

    async with served(echo) as service:
        client = await service.dial()
        for _ in range(2):
            await client.send(data * 3)
            for _ in range(3):
                assert (await client.response()).json["body"] == "some body"
            monkeypatch.setattr(Connection, "data_received", data_received)


@pytest.mark.parametrize("value", ["100-continue", "100-Continue", "100-CONTINUE "])
async def test_a_client_that_asks_whether_to_send_its_body_is_told_so_when_it_is_wanted(value: str) -> None:
    async with served(echo) as service:
        client = await service.dial()
        for _ in range(2):
            head, body = post(b"some body", f"Expect: {value}").split(b"\r\n\r\n")
            await client.send(head + b"\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
            response = await client.ask(body)
            assert response.json["body"] == "some body"
            assert ["expect", value.strip()] in response.json["headers"]


async def test_nobody_is_told_to_send_what_is_there_or_who_did_not_ask_or_who_is_too_old(read_sizes: list[int]) -> None:
    async with served(echo) as service:
        client = await service.dial()
        await client.send(post(b"body", "Expect: 100-continue"))
        assert (await client.response()).status == 200
        for data in (
            post(b"body"),
            post(b"body", "Expect: something"),
            post(b"body", "Expect: 100-continue", "Connection: keep-alive", version="1.0"),
        ):
            read_sizes.clear()
            await client.send(data[:-4])
            await eventually(lambda: sum(read_sizes) > 0)
            await client.send(data[-4:])
            assert (await client.response()).status == 200


async def test_a_body_that_is_refused_is_not_asked_for_and_the_connection_ends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"no", 413)

    async with served(app) as service:
        client = await service.dial()
        response = await client.ask(post(b"some body", "Expect: 100-continue")[:-9])
        assert (response.status, response.headers["connection"]) == (413, "close")
        assert await client.rest() == b""


async def test_http_1_0_ends_with_the_answer_unless_the_client_asks_otherwise() -> None:
    async with served(echo) as service:
        client = await service.dial()
        for _ in range(2):
            response = await client.ask(post(b"x", "Connection: Keep-Alive", version="1.0"))
            assert (response.headers["connection"], response.json["http_version"]) == ("keep-alive", "1.0")
        response = await client.ask(post(b"x", version="1.0"))
        assert response.headers["connection"] == "close"
        assert await client.rest() == b""


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, CLOSE"])
async def test_a_client_that_wants_the_end_gets_its_answer_and_nothing_else(value: str) -> None:
    async with served(echo) as service:
        client = await service.dial()
        await client.send(get("/", f"Connection: {value}") + b"\r\n" + get("/2") + b"garbage \0")
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        assert await client.rest() == b""
        await service.idle()


async def test_an_application_that_wants_the_end_gets_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"bye", 200, (b"connection", b"close"))

    async with served(app) as service:
        client = await service.dial()
        response = await client.ask(get())
        assert (response.body, response.headers["connection"]) == (b"bye", "close")
        assert await client.rest() == b""
