"""The HTTP client on a socket whose every byte the test decides, on both event loops."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator

import pytest
from meshproxy.http import client_connection as connection_module
from meshproxy.http.client import (
    BadResponse,
    BodyTooLarge,
    ConnectFailed,
    ConnectionLost,
    HttpClient,
    Response,
    TransportError,
    TransportTimeout,
    encode_headers,
)
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def client(server) -> AsyncIterator[HttpClient]:
    made = HttpClient(server.url, connect_timeout=DEADLINE)
    yield made
    await made.aclose()
    assert made.statistics() == {"connections": 0, "idle": 0}
    for peer in server.peers:
        assert await peer.closed()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def begin(client: HttpClient, server, **options) -> tuple["asyncio.Task[Response]", object]:
    """A request that has reached the server over a new connection, and the server's end of it."""
    task = asyncio.create_task(client.request("POST", body=b"{}", **options))
    peer = await server.accept()
    await peer.request()
    return task, peer


async def again(client: HttpClient, peer, **options) -> "asyncio.Task[Response]":
    """A request that has reached the server over a connection that it knows."""
    task = asyncio.create_task(client.request("POST", body=b"{}", **options))
    await peer.request()
    return task


async def result(task: "asyncio.Task[Response]") -> Response:
    async with asyncio.timeout(DEADLINE):
        return await task


async def settled(client: HttpClient, **counts: int) -> None:
    """Wait until the pool is in this state."""
    async with asyncio.timeout(DEADLINE):
        while client.statistics() != counts:
            await asyncio.sleep(0)


class Pushed:
    """What a response pushed."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.end: list[TransportError | None] = []
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()

    def on_data(self, data: bytes) -> None:
        self.pieces.append(data)
        self.arrived.set()

    def on_end(self, error: TransportError | None) -> None:
        self.end.append(error)
        self.ended.set()

    def on_head(self, response: Response) -> None:
        self.response = response
        response.on_data(self.on_data, self.on_end)


# --- requests


async def test_a_request_is_written_as_one_message_with_its_length(server) -> None:
    client = HttpClient(
        server.url + "?a=b c", connect_timeout=DEADLINE, headers={"Accept": "x", "Authorization": "Bearer ü"}
    )
    task = asyncio.create_task(client.request("POST", None, [("Mcp-Method", "tools/call")], b'{"a":1}'))
    peer = await server.accept()
    assert await peer.request() == (
        b"POST /mcp?a=b%20c HTTP/1.1\r\nhost: 127.0.0.1:" + str(server.port).encode() + b"\r\naccept: x\r\n"
        b"authorization: Bearer \xc3\xbc\r\nmcp-method: tools/call\r\ncontent-length: 7\r\n\r\n" + b'{"a":1}'
    )
    peer.answer()
    await result(task)
    await client.aclose()


async def test_get_has_no_length_and_another_target_may_be_named(client, server) -> None:
    task = asyncio.create_task(client.request("GET", "/other?x=1", encode_headers({"a": "b"})))
    peer = await server.accept()
    assert (await peer.request()).endswith(b"\r\na: b\r\n\r\n")
    peer.answer(b"x")
    assert (await result(task)).body == b"x"
    task = asyncio.create_task(client.request("POST"))
    assert (await peer.request()).endswith(b"content-length: 0\r\n\r\n")
    peer.answer()
    await result(task)


async def test_a_large_body_arrives_whole(client, server) -> None:
    body = bytes(range(256)) * 20_000
    task = asyncio.create_task(client.request("POST", body=body))
    peer = await server.accept()
    assert (await peer.request()).endswith(b"\r\n\r\n" + body)
    peer.answer(body)
    assert (await result(task)).body == body
    assert client.statistics() == {"connections": 1, "idle": 1}


async def test_userinfo_becomes_basic_authorization_unless_the_headers_have_one(server) -> None:
    url = server.url.replace("http://", "http://us%40er:p%3Aw@")
    for headers, expected in (
        ({}, b"authorization: Basic dXNAZXI6cDp3\r\n"),
        ({"Authorization": "x"}, b"authorization: x\r\n"),
    ):
        client = HttpClient(url, connect_timeout=DEADLINE, headers=headers)
        task = asyncio.create_task(client.request("GET"))
        peer = await server.accept()
        head = await peer.request()
        assert expected in head
        assert head.count(b"authorization") == 1
        assert b"us" not in head.split(b"\r\n")[1]
        peer.answer()
        await result(task)
        await client.aclose()


async def test_a_host_header_of_the_config_replaces_the_urls(server) -> None:
    client = HttpClient(server.url, connect_timeout=DEADLINE, headers={"Host": "other.example"})
    task = asyncio.create_task(client.request("GET"))
    peer = await server.accept()
    head = await peer.request()
    assert head.count(b"host: ") == 1
    assert b"host: other.example\r\n" in head
    peer.answer()
    await result(task)
    await client.aclose()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", "b\r\nc: d"),
        ("a", "b\n"),
        ("a", "\0"),
        ("a b", "c"),
        ("", "c"),
        ("é", "c"),
        ("Content-Length", "3"),
        ("connection", "x"),
    ],
)
def test_a_header_that_would_forge_or_misframe_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="HTTP header"):
        encode_headers({name: value})


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "mcp", "http://x:99999/", "http://a..ö/"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        HttpClient(url, connect_timeout=1)


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "x"), ("GET", "/a b"), ("GET", "/a\r\nb: c"), ("G T", "/"), ("GET", "http://other/")]
)
async def test_a_target_that_would_forge_is_refused(client, method: str, target: str) -> None:
    with pytest.raises(ValueError, match="cannot send"):
        await client.request(method, target)


# --- responses


async def test_a_response_in_any_two_pieces_is_whole(client, server) -> None:
    text = OK + b"Content-Type: application/json\r\nX-Empty:\r\nSet: a\r\nset: b\r\nContent-Length: 4\r\n\r\nbody"
    task, peer = await begin(client, server)
    for at in range(len(text)):
        peer.send(text[:at])
        await asyncio.sleep(0)
        peer.send(text[at:])
        response = await result(task)
        assert (response.status, response.body, await response.read()) == (200, b"body", b"body")
        assert response.header("content-type") == "application/json"
        assert (response.header("x-empty"), response.header("set"), response.header("none")) == ("", "a, b", None)
        assert not response.is_event_stream
        task = await again(client, peer)
    peer.answer()
    await result(task)
    assert len(server.peers) == 1


async def test_a_field_that_comes_ten_thousand_times_is_one_with_all_its_values(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(OK, b"Set: x\r\n" * 10_000, b"Other: a\r\nOTHER: b\r\nContent-Length: 0\r\n\r\n")
    response = await result(task)
    assert response.header("set") == ", ".join(["x"] * 10_000)
    assert response.header("other") == "a, b"
    task = await again(client, peer)
    peer.send(OK, b"Set: y\r\nContent-Length: 0\r\n\r\n")
    response = await result(task)
    assert (response.header("set"), response.header("other")) == ("y", None)


async def test_chunks_are_joined_and_trailers_change_nothing(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(
        OK
        + b"A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk(b"one ")
        + b"3;ext=1\r\ntwo\r\n0\r\na: c\r\nd: e\r\n\r\n"
    )
    response = await result(task)
    assert (response.body, response.header("a"), response.header("d")) == (b"one two", "b", None)
    assert client.statistics() == {"connections": 1, "idle": 1}


@pytest.mark.parametrize("status", [b"202 Accepted", b"204 No Content", b"304 Not Modified", b"200 OK"])
async def test_a_response_without_a_body_ends_at_its_head(client, server, status: bytes) -> None:
    length = b"" if status[:3] in (b"204", b"304") else b"Content-Length: 0\r\n"
    task, peer = await begin(client, server)
    peer.send(b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\n")
    response = await result(task)
    assert (response.status, response.body) == (int(status[:3]), b"")
    assert client.statistics() == {"connections": 1, "idle": 1}


async def test_informational_answers_are_passed_over(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    await asyncio.sleep(0)
    peer.answer(b"x", b"a: b\r\n")
    response = await result(task)
    assert (response.status, response.body, response.header("link"), response.header("a")) == (200, b"x", None, "b")


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
async def test_blank_lines_after_an_informational_answer_are_no_answer(client, server, cut: int) -> None:
    """However they come: the parser would look for a status line behind them."""
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nLink: x\r\n\r\n"
    rest = b"\r\n" + OK + b"content-length: 1\r\n\r\nx"
    task, peer = await begin(client, server)
    peer.send(data + rest[:cut])
    for _ in range(5):
        await asyncio.sleep(0)
    peer.send(rest[cut:])
    with pytest.raises(BadResponse, match="no status line"):
        await result(task)


async def test_a_body_without_a_length_ends_with_the_connection(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(OK + b"\r\n", b"some ", b"text")
    peer.close()
    assert (await result(task)).body == b"some text"
    await settled(client, connections=0, idle=0)


async def test_redirects_and_refusals_are_handed_to_the_caller(client, server) -> None:
    task, peer = await begin(client, server)
    peer.answer(
        b"no",
        b"Location: /there\r\nWWW-Authenticate: Bearer a\r\nwww-authenticate: Basic\r\n",
        b"307 Temporary Redirect",
    )
    response = await result(task)
    assert (response.status, response.header("location")) == (307, "/there")
    assert response.header("www-authenticate") == "Bearer a, Basic"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(b"hello " * 1000, mtime=0)),
        (b"GZIP", gzip.compress(b"hello " * 500, mtime=0) + gzip.compress(b"hello " * 500, mtime=0)),
        (b"deflate", zlib.compress(b"hello " * 1000)),
        (b"deflate", zlib.compress(b"hello " * 1000)[2:-4]),
        (b"identity", b"hello " * 1000),
    ],
)
async def test_compressed_answers_are_read_although_nobody_asked_for_them(
    client, server, coding: bytes, body: bytes
) -> None:
    for cut in (len(body), 1, 11):
        task = asyncio.create_task(client.request("POST"))
        peer = server.peers[0] if server.peers else await server.accept()
        assert b"accept-encoding" not in await peer.request()
        pieces = [chunk(body[at : at + cut]) for at in range(0, len(body), cut)]
        peer.send(
            OK + b"Content-Encoding: " + coding + b"\r\nTransfer-Encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n"
        )
        assert (await result(task)).body == b"hello " * 1000


async def test_an_empty_answer_may_claim_to_be_compressed(client, server) -> None:
    task, peer = await begin(client, server)
    peer.answer(b"", b"Content-Encoding: gzip\r\n", b"202 Accepted")
    assert (await result(task)).body == b""


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        (b"Content-Encoding: br\r\n", b"x", "'br', which was not asked for"),
        (b"Content-Encoding: gzip\r\n", b"plain text", "not what its content-encoding says"),
        (b"Content-Encoding: gzip\r\n", gzip.compress(b"x" * 100, mtime=0)[:-9], "ends in the middle"),
    ],
)
async def test_a_coding_that_cannot_be_read_is_an_error(
    client, server, headers: bytes, body: bytes, message: str
) -> None:
    task, peer = await begin(client, server)
    peer.answer(body, headers)
    with pytest.raises(BadResponse, match=message):
        await result(task)


async def test_a_body_over_the_bound_is_refused_compressed_or_not(server) -> None:
    client = HttpClient(server.url, connect_timeout=DEADLINE, max_body=1000)
    task, peer = await begin(client, server)
    peer.answer(b"x" * 1000)
    assert len((await result(task)).body) == 1000
    task = await again(client, peer)
    peer.answer(b"x" * 1001)
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        await result(task)
    assert await peer.closed()
    task, peer = await begin(client, server)
    peer.answer(gzip.compress(b"x" * 50_000_000, mtime=0), b"Content-Encoding: gzip\r\n")
    with pytest.raises(BodyTooLarge):
        await result(task)
    task, peer = await begin(client, server, stream=True)
    peer.answer(b"x" * 1001)
    response = await result(task)
    with pytest.raises(BodyTooLarge):
        await response.read()
    task = await again(client, peer)
    peer.send(CHUNKED, chunk(b"x" * 1001))
    response = await result(task)
    with pytest.raises(BodyTooLarge):
        await response.read()
    assert await peer.closed()
    await client.aclose()


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"a: " + b"x" * 300_000,
        b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        b"\n" + OK + b"Content-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_an_error_and_closes(client, server, text: bytes) -> None:
    task, peer = await begin(client, server)
    peer.send(text)
    with pytest.raises(BadResponse) as caught:
        await result(task)
    assert caught.value.sent
    assert await peer.closed()


@pytest.mark.parametrize(
    "text", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", OK + b"Content-Length: 5\r\n\r\nabc", CHUNKED[:-2] + b"\r\n3\r\nab"]
)
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_connection_that_ends_in_the_answer_is_lost_after_sending(
    client, server, text: bytes, way: str
) -> None:
    task, peer = await begin(client, server)
    peer.send(text)
    if way == "close":
        peer.close()
    else:
        peer.reset()
    with pytest.raises(ConnectionLost, match=r"before it answered|in the middle of the answer") as caught:
        await (await result(task)).read()
    assert caught.value.sent
    await settled(client, connections=0, idle=0)


async def test_five_megabytes_arrive_whole(client, server) -> None:
    body = b"0123456789abcdef" * 327_680
    task, peer = await begin(client, server)
    peer.answer(body)
    assert (await result(task)).body == body
    task = await again(client, peer)
    peer.send(CHUNKED, chunk(body), b"0\r\n\r\n")
    assert await (await result(task)).read() == body


# --- streams


async def test_an_event_stream_is_handed_out_at_its_head_and_iterated(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(CHUNKED)
    response = await result(task)
    assert response.is_event_stream
    assert client.statistics() == {"connections": 1, "idle": 0}
    peer.send(chunk(b"one"))
    assert await anext(response) == b"one"
    peer.send(chunk(b"two"), chunk(b"three"), b"0\r\n\r\n")
    assert await response.read() == b"twothree"
    assert await response.read() == b"twothree"
    assert client.statistics() == {"connections": 1, "idle": 1}
    assert [piece async for piece in response] == [b"twothree"]
    assert [piece async for piece in response] == []


async def test_a_stream_that_breaks_off_gives_what_came_and_then_the_error(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(CHUNKED, chunk(b"one"))
    response = await result(task)
    assert await anext(response) == b"one"
    peer.close()
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="in the middle"):
            await anext(response)
    with pytest.raises(ConnectionLost):
        await response.read()


async def test_a_slow_reader_stops_the_server_and_then_gets_everything(client, server) -> None:
    task, peer = await begin(client, server, stream=True)
    piece, count = b"x" * 65536, 320
    peer.send(OK + b"Content-Length: %d\r\n\r\n" % (len(piece) * count), *[piece] * count)
    response = await result(task)
    async with asyncio.timeout(DEADLINE):
        while not response._connection._paused:
            await asyncio.sleep(0)
    held = response._size
    for _ in range(50):
        await asyncio.sleep(0)
    assert response._size == held < 1_000_000
    assert peer.writer.transport.get_write_buffer_size() > 0
    size = 0
    async for data in response:
        size += len(data)
    assert size == len(piece) * count
    assert client.statistics() == {"connections": 1, "idle": 1}
    task = await again(client, peer)
    peer.answer(b"next")
    assert (await result(task)).body == b"next"


async def test_a_paused_response_that_ended_leaves_its_connection_readable(client, server) -> None:
    pushed = Pushed()

    def on_head(response: Response) -> None:
        response.on_data(lambda _: response.pause(), pushed.on_end)

    task, peer = await begin(client, server, on_head=on_head)
    peer.answer(b"x")
    await result(task)
    assert pushed.end == [None]
    task = await again(client, peer)
    peer.answer(b"next")
    assert (await result(task)).body == b"next"


async def test_a_push_consumer_may_pause_and_resume(client, server) -> None:
    pushed = Pushed()
    task, peer = await begin(client, server, on_head=pushed.on_head)
    peer.send(CHUNKED, chunk(b"one"))
    await pushed.arrived.wait()
    pushed.response.pause()
    peer.send(chunk(b"two"), b"0\r\n\r\n")
    for _ in range(20):
        await asyncio.sleep(0)
    assert pushed.pieces == [b"one"]
    pushed.response.resume()
    await result(task)
    assert (pushed.pieces, pushed.end) == ([b"one", b"two"], [None])


async def test_a_pushed_body_wakes_the_requester_once_at_its_end(client, server) -> None:
    pushed = Pushed()
    task, peer = await begin(client, server, on_head=pushed.on_head)
    peer.send(CHUNKED, chunk(b"one"))
    async with asyncio.timeout(DEADLINE):
        await pushed.arrived.wait()
    assert not task.done()
    peer.send(chunk(b"two"), b"0\r\n\r\n")
    response = await result(task)
    assert (response.body, pushed.pieces, pushed.end) == (b"", [b"one", b"two"], [None])


async def test_push_may_begin_late_and_gets_what_had_arrived(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(CHUNKED + chunk(b"one"))
    response = await result(task)
    pushed = Pushed()
    pushed.on_head(response)
    async with asyncio.timeout(DEADLINE):
        await pushed.arrived.wait()
    peer.send(chunk(b"two"), b"0\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        await pushed.ended.wait()
    assert b"".join(pushed.pieces) == b"onetwo"
    late = Pushed()
    task = await again(client, peer)
    peer.answer(b"whole")
    late.on_head(await result(task))
    assert (late.pieces, late.end) == ([b"whole"], [None])


async def test_a_pushed_body_that_breaks_off_tells_both_its_consumer_and_the_requester(client, server) -> None:
    pushed = Pushed()
    task, peer = await begin(client, server, on_head=pushed.on_head)
    peer.send(CHUNKED, chunk(b"one"))
    peer.close()
    with pytest.raises(ConnectionLost) as caught:
        await result(task)
    assert (pushed.pieces, pushed.end) == ([b"one"], [caught.value])


async def test_an_exception_of_a_push_consumer_ends_the_exchange_and_nothing_else(client, server) -> None:
    refusal = RuntimeError("too much")

    def refuse(*_: object) -> None:
        raise refusal

    pushed = Pushed()
    other, its_peer = await begin(client, server)
    for on_head in (refuse, lambda response: response.on_data(refuse, pushed.on_end)):
        task, peer = await begin(client, server, on_head=on_head)
        peer.send(CHUNKED + chunk(b"one") + chunk(b"two"))
        with pytest.raises(BadResponse, match="too much") as caught:
            await result(task)
        assert caught.value.__cause__ is refusal
        assert await peer.closed()
    assert pushed.end == [caught.value]
    its_peer.answer(b"fine")
    response = await result(other)
    response.on_data(refuse, pushed.on_end)  # late: the connection is already somebody else's
    assert pushed.end[1].__cause__ is refusal
    assert client.statistics() == {"connections": 1, "idle": 1}


async def test_release_hands_the_answer_out_and_keeps_the_connection_for_the_end(client, server) -> None:
    pushed = Pushed()

    def on_head(response: Response) -> None:
        response.on_data(lambda data: (pushed.on_data(data), response.release()), pushed.on_end)

    task, peer = await begin(client, server, on_head=on_head)
    peer.send(CHUNKED, chunk(b"answer"))
    response = await result(task)
    assert (pushed.pieces, client.statistics()) == ([b"answer"], {"connections": 1, "idle": 0})
    response.release()
    peer.send(chunk(b": a late comment"), b"0\r\n\r\n")
    await settled(client, connections=1, idle=1)
    assert (pushed.pieces, pushed.end) == ([b"answer"], [])
    task = await again(client, peer)
    peer.answer(b"next")
    assert (await result(task)).body == b"next"


async def test_a_released_response_that_goes_on_loses_its_connection(client, server, monkeypatch) -> None:
    task, peer = await begin(client, server)
    peer.send(CHUNKED)
    (await result(task)).release()
    peer.send(chunk(b"x" * 70_000))
    assert await peer.closed()
    monkeypatch.setattr(connection_module, "_LINGER", 0.01)
    task, peer = await begin(client, server)
    peer.send(CHUNKED)
    (await result(task)).release()
    assert await peer.closed()
    task, peer = await begin(client, server, on_head=Response.release)
    peer.send(CHUNKED)
    assert (await result(task)).status == 200
    assert await peer.closed()


async def test_close_drops_the_connection_only_if_the_body_is_not_complete(client, server) -> None:
    task, peer = await begin(client, server)
    peer.answer(b"x")
    response = await result(task)
    response.close()
    assert client.statistics() == {"connections": 1, "idle": 1}
    pushed = Pushed()
    task = await again(client, peer)
    peer.send(CHUNKED)
    response = await result(task)
    pushed.on_head(response)
    response.close()
    response.close()
    assert pushed.end == []
    assert await peer.closed()
    await settled(client, connections=0, idle=0)


async def test_close_within_a_push_fails_the_requester(client, server) -> None:
    def on_head(response: Response) -> None:
        response.on_data(lambda _: response.close(), lambda _: None)

    task, peer = await begin(client, server, on_head=on_head)
    peer.send(CHUNKED + chunk(b"one") + chunk(b"two") + b"0\r\n\r\n")
    with pytest.raises(ConnectionLost, match="closed before its end"):
        await result(task)
    assert await peer.closed()


# --- the pool


async def test_a_connection_is_reused_and_the_last_one_first(client, server) -> None:
    first, one = await begin(client, server)
    second, two = await begin(client, server)
    one.answer(b"1")
    await result(first)
    two.answer(b"2")
    await result(second)
    assert client.statistics() == {"connections": 2, "idle": 2}
    for _ in range(3):
        task = await again(client, two)
        two.answer(b"again")
        assert (await result(task)).body == b"again"
    assert len(server.peers) == 2


async def test_a_hundred_requests_at_once_have_a_hundred_connections(client, server) -> None:
    tasks = [asyncio.create_task(client.request("POST", body=b"%d" % n)) for n in range(100)]
    peers = [await server.accept() for _ in range(100)]
    for peer in peers:
        peer.answer((await peer.request()).rpartition(b"\r\n\r\n")[2])
    assert [(await result(task)).body for task in tasks] == [b"%d" % n for n in range(100)]
    assert client.statistics() == {"connections": 100, "idle": 100}
    assert "idle=100" in repr(client)


async def test_no_more_idle_connections_are_kept_than_allowed(server) -> None:
    client = HttpClient(server.url, connect_timeout=DEADLINE, max_idle=2)
    tasks = [await begin(client, server) for _ in range(4)]
    for task, peer in tasks:
        peer.answer()
        await result(task)
    await settled(client, connections=2, idle=2)
    assert await tasks[0][1].closed()
    assert await tasks[1][1].closed()
    await client.aclose()


@pytest.mark.parametrize(
    "headers", [b"Connection: close\r\n", b"Keep-Alive: timeout=1\r\n", b"Keep-Alive: max=5, timeout=0\r\n"]
)
async def test_a_server_that_does_not_keep_connections_is_taken_at_its_word(client, server, headers: bytes) -> None:
    task, peer = await begin(client, server)
    peer.answer(b"x", headers)
    assert (await result(task)).body == b"x"
    assert await peer.closed()
    await settled(client, connections=0, idle=0)


async def test_an_http_1_0_server_keeps_connections_only_if_it_says_so(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx")
    await result(task)
    task = await again(client, peer)
    peer.send(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx")
    assert (await result(task)).body == b"x"
    assert await peer.closed()


async def test_an_announced_idle_time_is_honoured_a_second_early(client, server) -> None:
    task, peer = await begin(client, server)
    peer.answer(b"", b"Keep-Alive: timeout=30, max=100\r\n")
    response = await result(task)
    assert response._connection.deadline - response._connection.idle_since == 29
    task = await again(client, peer)
    peer.answer(b"", b"Keep-Alive: timeout=3000\r\n")
    response = await result(task)
    assert response._connection.deadline - response._connection.idle_since == 55


async def closed_while_idle(client: HttpClient, server, seconds: float) -> None:
    """A request, after which the server closes the connection as if it had been idle for so long."""
    task, peer = await begin(client, server)
    peer.answer()
    response = await result(task)
    response._connection.idle_since -= seconds
    peer.close()
    await settled(client, connections=0, idle=0)


async def kept_for(client: HttpClient, server) -> float:
    """Seconds for which a connection is kept now."""
    task, peer = await begin(client, server)
    peer.answer()
    connection = (await result(task))._connection
    seconds = connection.deadline - connection.idle_since
    connection.close()
    await settled(client, connections=0, idle=0)
    return seconds


async def test_a_server_that_closes_what_is_idle_at_one_age_finds_no_request_on_what_is_nearly_as_old(
    client, server
) -> None:
    await closed_while_idle(client, server, 5.1)
    # That may have been the end of the server.
    assert await kept_for(client, server) == pytest.approx(55)
    await closed_while_idle(client, server, 20)
    assert await kept_for(client, server) == pytest.approx(55)
    await closed_while_idle(client, server, 5.1)
    await closed_while_idle(client, server, 5.0)
    assert await kept_for(client, server) == pytest.approx(4, abs=0.5)
    for _ in range(2):
        await closed_while_idle(client, server, 1.0)
    assert await kept_for(client, server) == pytest.approx(0.5, abs=0.1)


async def test_a_server_that_ends_with_all_its_connections_says_nothing_of_how_long_it_keeps_them(
    client, server
) -> None:
    begun = [await begin(client, server) for _ in range(3)]
    for task, peer in begun:
        peer.answer()
        (await result(task))._connection.idle_since -= 5
    for _, peer in begun:
        peer.close()
    await settled(client, connections=0, idle=0)
    assert await kept_for(client, server) == pytest.approx(55)


async def test_idle_connections_are_closed_after_their_time(server) -> None:
    client = HttpClient(server.url, connect_timeout=DEADLINE, idle_timeout=0.05)
    task, peer = await begin(client, server)
    peer.answer()
    await result(task)
    assert await peer.closed()
    await settled(client, connections=0, idle=0)
    assert client.pool._timer is None
    await client.aclose()


@pytest.mark.parametrize("goodbye", [b"", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"])
async def test_a_connection_closed_under_our_feet_is_not_used_again(client, server, goodbye: bytes) -> None:
    task, peer = await begin(client, server)
    peer.answer()
    await result(task)
    peer.send(goodbye)
    peer.close()
    await settled(client, connections=0, idle=0)
    task, peer = await begin(client, server)
    peer.answer(b"x")
    assert (await result(task)).body == b"x"


async def test_a_connection_that_was_idle_is_asked_about_before_it_is_used(client, server) -> None:
    task, peer = await begin(client, server)
    peer.answer()
    response = await result(task)
    connection = response._connection
    assert not connection.has_news()
    connection.idle_since -= 5
    task = await again(client, peer)  # still good
    peer.answer()
    await result(task)
    connection.idle_since -= 5
    connection._transport.pause_reading()  # the loop has not seen the end yet, the system has
    peer.close()
    async with asyncio.timeout(DEADLINE):
        while not connection.has_news():
            await asyncio.sleep(0)
    task, peer = await begin(client, server)
    peer.answer(b"x")
    assert (await result(task)).body == b"x"


async def test_a_reused_connection_that_dies_after_the_request_is_lost_and_never_retried(client, server) -> None:
    task, peer = await begin(client, server)
    peer.answer()
    await result(task)
    task = await again(client, peer)
    peer.reset()
    with pytest.raises(ConnectionLost) as caught:
        await result(task)
    assert caught.value.sent
    assert server.accepted.empty()
    assert len(server.peers) == 1


async def test_bytes_after_the_answer_are_no_answer_to_the_next_request(client, server) -> None:
    extra = OK + b"Content-Length: 4\r\n\r\nevil"
    for tail in (extra, extra[:3], b"x"):
        task, peer = await begin(client, server)
        peer.send(OK + b"Content-Length: 1\r\n\r\nx" + tail)
        assert (await result(task)).body == b"x"
        assert await peer.closed()
    task, peer = await begin(client, server)
    peer.answer(b"x")
    await result(task)
    peer.send(extra)
    assert await peer.closed()


async def test_an_answer_before_the_request_was_taken_is_delivered_and_the_connection_dropped(server) -> None:
    client = HttpClient(server.url, connect_timeout=DEADLINE)
    task = asyncio.create_task(client.request("POST", body=b"x" * 30_000_000))
    peer = await server.accept()
    peer.answer(b"too large", status=b"413 Content Too Large")
    response = await result(task)
    assert (response.status, response.body) == (413, b"too large")
    await settled(client, connections=0, idle=0)
    await client.aclose()


# --- time, cancellation, closing


async def test_an_answer_that_does_not_come_in_time_is_a_timeout_of_that_request_only(client, server) -> None:
    slow, slow_peer = await begin(client, server, timeout=DEADLINE)
    task, peer = await begin(client, server, timeout=0.3)
    with pytest.raises(TransportTimeout, match="in time") as caught:
        await result(task)
    assert caught.value.sent
    assert await peer.closed()
    slow_peer.send(OK + b"Content-Length: 3\r\n\r\na")
    assert not slow.done()
    slow_peer.send(b"bc")
    assert (await result(slow)).body == b"abc"


async def test_a_whole_body_has_to_come_in_time_and_a_stream_only_its_head(client, server) -> None:
    task, peer = await begin(client, server, timeout=0.3)
    peer.send(OK + b"Content-Length: 3\r\n\r\na")
    with pytest.raises(TransportTimeout):
        await result(task)
    task, peer = await begin(client, server, timeout=0.3)
    peer.send(CHUNKED)
    response = await result(task)
    assert response._connection.deadline == float("inf")
    short, _ = await begin(client, server, timeout=0.31)
    with pytest.raises(TransportTimeout):
        await result(short)
    peer.send(chunk(b"late"), b"0\r\n\r\n")
    assert await response.read() == b"late"


async def test_a_cancelled_request_closes_its_connection_and_no_other(client, server) -> None:
    other, its_peer = await begin(client, server)
    task, peer = await begin(client, server)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await peer.closed()
    its_peer.answer(b"fine")
    assert (await result(other)).body == b"fine"
    assert client.statistics() == {"connections": 1, "idle": 1}


async def test_a_request_cancelled_when_its_answer_is_complete_keeps_the_connection(client, server) -> None:
    task, peer = await begin(client, server, on_head=lambda _: task.cancel())
    peer.answer(b"x")
    with pytest.raises(asyncio.CancelledError):
        await result(task)
    assert client.statistics() == {"connections": 1, "idle": 1}


async def test_a_request_cancelled_at_the_head_of_a_stream_closes_it(client, server) -> None:
    task, peer = await begin(client, server, on_head=lambda _: task.cancel())
    peer.send(CHUNKED)
    with pytest.raises(asyncio.CancelledError):
        await result(task)
    assert await peer.closed()


async def test_a_cancelled_reader_leaves_the_stream_readable(client, server) -> None:
    task, peer = await begin(client, server)
    peer.send(CHUNKED)
    response = await result(task)
    reader = asyncio.create_task(anext(response))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    peer.send(chunk(b"one"), b"0\r\n\r\n")
    assert await response.read() == b"one"


async def test_closing_the_client_fails_what_is_under_way_and_refuses_the_rest(server) -> None:
    client = HttpClient(server.url, connect_timeout=DEADLINE)
    task, peer = await begin(client, server)
    streaming, stream_peer = await begin(client, server)
    stream_peer.send(CHUNKED)
    response = await result(streaming)
    idle, idle_peer = await begin(client, server)
    idle_peer.answer()
    await result(idle)
    await client.aclose()
    assert client.statistics() == {"connections": 0, "idle": 0}
    with pytest.raises(ConnectionLost, match="the client was closed"):
        await result(task)
    with pytest.raises(ConnectionLost, match="the client was closed"):
        await response.read()
    for each in (peer, stream_peer, idle_peer):
        assert await each.closed()
    with pytest.raises(ConnectFailed, match="closed") as caught:
        await client.request("GET")
    assert not caught.value.sent
    await client.aclose()
    await HttpClient(server.url, connect_timeout=1).aclose()


async def test_small_messages_are_not_held_back_by_the_system(client, server) -> None:
    task, peer = await begin(client, server)
    peer.answer()
    sock = (await result(task))._connection._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_response_leaves_no_cycle_for_the_collector(client, server) -> None:
    import gc
    import weakref

    task, peer = await begin(client, server)
    peer.answer(b"x")
    gc.disable()
    try:
        reference = weakref.ref(await result(task))
        del task
        await asyncio.sleep(0)
        assert reference() is None
    finally:
        gc.enable()
