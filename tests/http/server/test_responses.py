"""How answers are framed, and what becomes of applications that do not answer as they should."""

import asyncio
from typing import Any

import pytest
from meshproxy.http.stream import EventStream
from tests.kit.raw_client import App, Receive, Scope, Send, body_of, get, respond, served, small
from tests.kit.waiting import DEADLINE, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_traceback")]


async def test_every_response_says_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(small) as service:
        monkeypatch.setattr("time.time", lambda: 784111777.5)
        client = await service.dial()
        for data in (get(), get(), b"\0"):
            assert (await client.ask(data)).headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
        monkeypatch.setattr("time.time", lambda: 784111778.0)
        await eventually(lambda: not service.server.date_line)
        client = await service.dial()
        assert (await client.ask(get())).headers["date"] == "Sun, 06 Nov 1994 08:49:38 GMT"


def app_of(status: int, headers: list[tuple[bytes, bytes]], *pieces: bytes) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for piece in pieces[:-1]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": pieces[-1]})

    return app


async def test_a_response_of_known_length_is_sent_as_it_is() -> None:
    async with served(app_of(200, [(b"content-length", b"6"), (b"x-name", b"value")], b"abc", b"", b"def")) as service:
        client = await service.dial()
        for _ in range(2):
            response = await client.ask(get())
            assert response.body == b"abcdef"
            assert response.headers.keys() == {"date", "content-length", "x-name"}


async def test_a_response_of_unknown_length_is_chunked_and_empty_pieces_do_not_end_it() -> None:
    async with served(
        app_of(200, [(b"transfer-encoding", b"chunked")], b"", b"abc", b"", b"x" * 100_000, b"")
    ) as service:
        client = await service.dial()
        for _ in range(2):
            response = await client.ask(get())
            assert response.pieces == [b"abc", b"x" * 100_000]
        response = await client.ask(get("/", "Connection: keep-alive", version="1.0"))
        assert response.body == b"abc" + b"x" * 100_000
        assert (response.headers["connection"], "transfer-encoding" in response.headers) == ("close", False)


@pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, 3_000_000])
async def test_a_response_of_any_size_comes_whole(size: int) -> None:
    async with served(app_of(200, [(b"content-length", b"%d" % size)], b"x" * size)) as service:
        client = await service.dial()
        for _ in range(2):
            assert len((await client.ask(get())).body) == size


@pytest.mark.parametrize(
    ("status", "headers", "shown"),
    [
        (204, [(b"content-length", b"0")], set()),
        (204, [], set()),
        (304, [(b"etag", b"x")], {"etag"}),
        (304, [(b"content-length", b"3")], {"content-length"}),
    ],
)
async def test_a_response_that_has_no_body_has_no_framing_for_one(
    status: int, headers: list[tuple[bytes, bytes]], shown: set[str]
) -> None:
    async with served(app_of(status, headers, b"abc", b"def")) as service:
        client = await service.dial()
        await client.send(get() * 2)
        for _ in range(2):
            response = await client.response()
            assert (response.status, response.headers.keys() - {"date"}) == (status, shown)


@pytest.mark.parametrize("headers", [[(b"content-length", b"6")], []])
async def test_the_answer_to_head_is_that_to_get_without_its_body(headers: list[tuple[bytes, bytes]]) -> None:
    async with served(app_of(200, headers, b"abc", b"def")) as service:
        client = await service.dial()
        for version in ("1.1", "1.0"):
            await client.send(get("/", "Connection: keep-alive", version=version).replace(b"GET", b"HEAD") * 2)
            for _ in range(2):
                response = await client.response(to_head=True)
                assert response.status == 200
                assert response.headers.get("content-length") == ("6" if headers else None)
        assert (await client.ask(get())).body == b"abcdef"


async def test_a_status_without_a_name_is_sent() -> None:
    async with served(app_of(299, [], b"x")) as service:
        client = await service.dial()
        assert (await client.ask(get())).status == 299


async def test_each_event_of_a_stream_is_sent_at_once() -> None:
    streams: list[EventStream] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        stream = EventStream(send, 1000, DEADLINE, lambda: None)
        streams.append(stream)
        stream.start()
        await stream.drained()

    async with served(app) as service:
        client = await service.dial()
        await client.send(get())
        head = await client.until(b"\r\n\r\n")
        assert b"text/event-stream" in head
        assert client.buffer == b""
        for event in (b"data: 1\n\n", b"data: 22\n\n"):
            streams[0].write(event)
            assert await client.until(b"\r\n") == b"%x" % len(event)
            assert await client.until(b"\r\n") == event
        streams[0].finish(b"data: 3\n\n")
        assert await client.until(b"\r\n0\r\n\r\n") == b"9\r\ndata: 3\n\n"
        await client.send(get("/", "Connection: close"))
        await eventually(lambda: len(streams) == 2)
        streams[1].finish()
        assert (await client.rest()).endswith(b"\r\n\r\n0\r\n\r\n")


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("a defect")


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def bodiless(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


async def headless(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.body", "body": b"x"})


async def half_hearted(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    raise ValueError("a defect")


async def suicidal(scope: Scope, receive: Receive, send: Send) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("app", [failing, silent, bodiless, headless, half_hearted, suicidal])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_an_application_that_does_not_answer_is_a_500_and_is_logged(
    app: App, method: bytes, events: list[Any]
) -> None:
    async with served(app) as service:
        client = await service.dial()
        await client.send((get("/there") + get("/next")).replace(b"GET", method))
        response = await client.response(to_head=method == b"HEAD")
        assert (response.status, response.headers["connection"], response.body) == (500, "close", b"")
        assert await client.rest() == b""
        client.socket.close()
        await service.idle()
        assert [event["path"] for event in events] == ([] if app is suicidal else ["/there"])


@pytest.mark.parametrize("length", [[], [(b"content-length", b"10")]])
async def test_an_application_that_fails_within_its_answer_leaves_one_that_is_seen_to_be_cut_off(
    length: list[tuple[bytes, bytes]], events: list[Any]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        raise ValueError("a defect")

    async with served(app) as service:
        client = await service.dial()
        await client.send(get() * 2)
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == (b"some" if length else b"4\r\nsome\r\n")
        assert events[0]["event"] == "http.application_failed"


@pytest.mark.parametrize("again", ["http.response.start", "http.response.body"])
async def test_what_an_application_sends_after_its_answer_is_an_error_and_reaches_nobody(
    again: str, events: list[Any]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, scope["path"].encode())
        await send({"type": again, "status": 200, "body": b"more"})

    async with served(app) as service:
        client = await service.dial()
        await client.send(get("/1") + get("/2"))
        for number in (b"/1", b"/2"):
            assert (await client.response()).body == number
        assert (await client.ask(get("/3"))).body == b"/3"
        assert {event["event"] for event in events} == {"http.application_failed"}


async def test_what_an_application_does_after_its_answer_holds_nobody_up_and_ends_with_the_server() -> None:
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        await respond(send)
        assert (await receive())["type"] == "http.disconnect"
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(scope["path"])

    async with served(app) as service:
        client = await service.dial()
        for number in range(3):
            assert (await client.ask(get(f"/{number}"))).status == 200
        assert len(service.server.tasks) == 3
        client.socket.close()
        await eventually(lambda: not service.server.connections)
        assert len(service.server.tasks) == 3
    assert sorted(ended) == ["/0", "/1", "/2"]
