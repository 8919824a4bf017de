"""Links over the HTTP+SSE transport of 2024, byte by byte and against a server of the SDK, on both event loops."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.links.sse import SseEndpoint
from meshproxy.wire.protocol import Era
from tests.kit.links import Calls, Listens, call, connect
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.web import INITIALIZED, Request, Web, accept, chunk, encode, error, event, never, refuse, stream

pytestmark = pytest.mark.anyio

DONE = {"content": [{"type": "text", "text": "done"}]}


class SseWeb(Web):
    """Names `/messages?session=1` as the place for messages, and sends what comes there its answers on the stream."""

    def __init__(self, raw) -> None:
        super().__init__(raw)
        self.on |= {"GET": self.open, "initialize": self.initialize}
        self.endpoint = b"/messages?session=1"
        self.stream: Request | None = None

    async def open(self, request: Request) -> None:
        self.stream = request
        stream(request, event(self.endpoint, event="endpoint"), end=False)

    async def initialize(self, request: Request) -> None:
        await accept(request)
        self.send(encode(id=request.id, result=INITIALIZED))

    async def _unknown(self, request: Request) -> None:
        await accept(request)
        self.send(encode(id=request.id, result={"echo": request.message.get("params")}))

    def send(self, message: bytes) -> None:
        assert self.stream is not None
        self.stream.peer.send(chunk(event(message)))


@pytest.fixture
async def web(server) -> AsyncIterator[SseWeb]:
    made = SseWeb(server)
    yield made
    await made.stop()


@pytest.fixture
async def listener():
    return Listens()


@pytest.fixture
async def link(web, listener):
    endpoint = SseEndpoint("w", web.url, {"Authorization": "ours"})
    made = await connect(endpoint, listener)
    yield made
    await closed(endpoint)


async def closed(endpoint):
    """Close an endpoint, which leaves no connection and no task of ours."""
    await endpoint.aclose()
    assert endpoint.statistics() == {"links": 0, "connections": 0, "idle": 0}
    assert not [task for task in asyncio.all_tasks() if "meshproxy" in task.get_coro().cr_code.co_filename]


async def test_messages_go_where_the_stream_says_and_answers_come_on_it(web, link):
    assert (link.era, link.version) == (Era.LEGACY, "2025-11-25")
    assert (await call(link, "x", a=1))["echo"] == {"name": "x", "arguments": {"a": 1}}
    get, *posts = web.requests
    assert (get.method, get.target, get.headers["accept"]) == ("GET", "/mcp", "text/event-stream")
    assert [post.key for post in posts] == ["initialize", "notifications/initialized", "tools/call"]
    assert {post.target for post in posts} == {"/messages?session=1"}
    assert {request.headers["authorization"] for request in web.requests} == {"ours"}


async def test_a_calls_headers_travel_and_the_configured_ones_win(web, link):
    await call(link, "x", Calls(headers={"x-request-id": "7", "authorization": "theirs", "content-type": "text/plain"}))
    headers = web.told("tools/call")[0].headers
    assert (headers["x-request-id"], headers["authorization"], headers["content-type"]) == (
        "7",
        "ours",
        "application/json",
    )
    with pytest.raises(UpstreamUnavailable, match="x-bad"):
        await call(link, "x", Calls(headers={"x-bad": "\n"}))


async def test_answers_find_their_requests_in_any_order_and_cut_at_any_byte(web, link):
    async def hold(request):
        await accept(request)
        held.append(request)
        if len(held) == 10:
            data = b"".join(
                event(encode(id=one.id, result={"n": one.message["params"]["arguments"]["n"]})) for one in held[::-1]
            )
            for byte in data:
                web.stream.peer.send(chunk(bytes([byte])))
                await web.stream.peer.writer.drain()
                await asyncio.sleep(0)

    held: list[Request] = []
    web.on["hold"] = hold
    results = await asyncio.gather(*(call(link, "hold", n=n) for n in range(10)))
    assert [result["n"] for result in results] == list(range(10))


async def test_an_answer_of_5_mb_arrives_whole(web, link):
    async def large(request):
        await accept(request)
        web.send(encode(id=request.id, result={"text": "x" * 5_000_000}))

    web.on["large"] = large
    assert len((await call(link, "large"))["text"]) == 5_000_000


async def test_an_event_over_the_bound_ends_the_link(web, listener):
    async def large(request):
        await accept(request)
        web.send(encode(id=request.id, result={"text": "x" * 5000}))

    web.on["large"] = large
    endpoint = SseEndpoint("w", web.url, max_message=1000)
    link = await connect(endpoint, listener)
    with pytest.raises(AnswerLost, match="larger than the bound"):
        await call(link, "large")
    assert listener.closed
    await closed(endpoint)


async def test_progress_reaches_its_call_and_the_rest_the_listener(web, link, listener):
    async def works(request):
        await accept(request)
        token = request.message["params"]["_meta"]["progressToken"]
        web.send(encode(method="notifications/progress", params={"progressToken": token, "progress": 1}))
        web.send(encode(method="notifications/message", params={"data": 1}))
        web.send(b"this is no message")
        web.send(encode(id="q", method="elicitation/create", params={}))

    async def answered(request):
        await accept(request)
        web.send(encode(id=web.told("tools/call")[0].id, result=DONE))

    web.on["works"], web.on["answer"] = works, answered
    mine = Calls(wants_progress=True)
    assert await call(link, "works", mine) == DONE
    assert [told[1]["progress"] for told in mine.told] == [1]
    assert listener.told == [("notifications/message", {"data": 1})]
    assert web.told("answer")[0].message["result"] == {"action": "decline"}


async def test_a_call_that_is_given_up_is_cancelled_by_a_notification(web, link):
    web.on["never"] = accept
    waiting = asyncio.create_task(call(link, "never"))
    request = await web.request("tools/call")
    waiting.cancel()
    await asyncio.wait([waiting])
    cancelled = await web.request("notifications/cancelled")
    assert cancelled.message["params"]["requestId"] == request.id


@pytest.mark.parametrize(
    ("behaviour", "kind", "reason"),
    [
        (refuse(404, b"Could not find session"), UpstreamUnavailable, "it answered HTTP 404"),
        (refuse(500), AnswerLost, "it answered HTTP 500"),
        (error(400, -32602, "bad"), RpcError, "bad"),
        (
            refuse(500, b'{"jsonrpc":"2.0","id":2,"result":{}}', b"application/json"),
            AnswerLost,
            "HTTP 500 with a result",
        ),
    ],
)
async def test_a_message_that_is_not_accepted_fails_its_call_alone(web, link, behaviour, kind, reason):
    web.on["x"] = behaviour
    with pytest.raises(kind, match=reason):
        await call(link, "x")
    assert await call(link, "y")


async def test_a_post_whose_connection_ends_loses_its_answer(web, link):
    async def hangs_up(request):
        request.peer.close()

    web.on["x"] = hangs_up
    with pytest.raises(AnswerLost, match="closed the connection"):
        await call(link, "x")
    assert await call(link, "y")


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_the_end_of_the_stream_is_the_end_of_the_link(web, link, listener, how):
    async def ends(request):
        await accept(request)
        getattr(web.stream.peer, how)()

    web.on["ends"] = ends
    with pytest.raises(AnswerLost):
        await call(link, "ends")
    assert len(listener.closed) == 1
    with pytest.raises(UpstreamUnavailable):
        await call(link, "x")


async def test_closing_ends_what_is_under_way(web, link, listener):
    web.on["never"] = accept
    waiting = asyncio.create_task(call(link, "never"))
    await web.request("tools/call")
    await link.aclose()
    with pytest.raises(AnswerLost, match="the link is closed"):
        await waiting
    assert not listener.closed
    await eventually(web.stream.peer.reader.at_eof)


@pytest.mark.parametrize("key", ["GET", "initialize", "notifications/initialized"])
async def test_a_connect_that_is_cancelled_leaves_nothing(web, key):
    web.on[key] = never
    endpoint = SseEndpoint("w", web.url)
    connecting = asyncio.create_task(connect(endpoint))
    await web.request(key)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await closed(endpoint)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (
            refuse(404, b"<p>", b"text/html"),
            "no event stream at this URL; if it is a newer server, set `transport: streamable-http`",
        ),
        (refuse(405), "set `transport: streamable-http`"),
        (refuse(401), "set `headers` of this upstream"),
        (refuse(200, b"<p>Our shop</p>", b"text/html"), "HTTP 200 with text/html, which is not MCP"),
        (error(500, -1, "no"), "^w: it answered HTTP 500 instead of an event stream$"),
        (never, r"it did not answer initialize within 0\.2 s"),
    ],
)
async def test_what_is_no_event_stream_is_told_in_words_that_help(web, behaviour, reason):
    web.on["GET"] = behaviour
    endpoint = SseEndpoint("w", web.url)
    with pytest.raises(UpstreamUnavailable, match=reason):
        await connect(endpoint, timeout=0.2 if behaviour is never else DEADLINE)
    await closed(endpoint)


@pytest.mark.parametrize("place", [b"https://127.0.0.1/x", b"http://evil.example/x", b"//evil.example:1/x"])
async def test_messages_are_not_sent_to_another_origin(web, place):
    web.endpoint = place
    endpoint = SseEndpoint("w", web.url)
    with pytest.raises(UpstreamUnavailable, match="to be sent to another origin"):
        await connect(endpoint)
    await closed(endpoint)


async def test_a_stream_that_ends_at_once_is_told(web):
    async def ends(request):
        stream(request, b": hello\n\n")

    web.on["GET"] = ends
    endpoint = SseEndpoint("w", web.url)
    with pytest.raises(UpstreamUnavailable, match="the event stream ended"):
        await connect(endpoint)
    await closed(endpoint)


async def test_the_place_may_be_named_by_a_whole_url(web):
    web.endpoint = web.url.encode() + b"/other"
    endpoint = SseEndpoint("w", web.url)
    await connect(endpoint)
    assert web.told("initialize")[0].target == "/mcp/other"
    await closed(endpoint)


async def test_a_server_of_the_sdk_is_spoken_to(shared_server, tmp_path):
    endpoint = SseEndpoint("basic", shared_server("basic", transport="sse", era="legacy").url)
    listener, mine = Listens(), Calls(wants_progress=True)
    link = await connect(endpoint, listener)
    await call(link, "progress", mine, n=3)
    assert [told[1]["progress"] for told in mine.told] == [1, 2, 3]
    listener.answer = {"action": "accept", "content": {"answer": "42"}}
    assert "42" in (await call(link, "ask"))["content"][0]["text"]
    marker = tmp_path / "marker"
    waiting = asyncio.create_task(call(link, "hold", marker=str(marker)))
    await eventually(marker.with_suffix(".started").exists)
    waiting.cancel()
    await eventually(marker.with_suffix(".cancelled").exists)
    await closed(endpoint)
