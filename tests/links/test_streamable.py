"""Links over streamable HTTP, byte by byte and against servers of the SDK, on both event loops."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from meshproxy.errors import AnswerLost, AnswerTooLarge, RpcError, UpstreamUnavailable
from meshproxy.links import following, session_stream, streamable
from meshproxy.links.post import routing
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.wire.codec import loads, opened
from meshproxy.wire.protocol import Era
from tests.kit.links import CAPABILITIES, CLIENT, Calls, Listens, call, connect
from tests.kit.waiting import DEADLINE, eventually
from tests.kit.web import (
    DISCOVERED,
    EVENTS,
    SESSION,
    Web,
    accept,
    answer,
    chunk,
    encode,
    error,
    event,
    never,
    refuse,
    stream,
)

pytestmark = pytest.mark.anyio

DONE = {"content": [{"type": "text", "text": "done"}]}


@pytest.fixture
async def web(server) -> AsyncIterator[Web]:
    made = Web(server)
    yield made
    await made.stop()


@pytest.fixture
async def modern_web(server) -> AsyncIterator[Web]:
    made = Web(server, modern=True)
    yield made
    await made.stop()


@pytest.fixture
async def listener():
    return Listens()


@pytest.fixture
async def link(web, listener):
    endpoint = HttpEndpoint("w", web.url)
    made = await connect(endpoint, listener)
    yield made
    await closed(endpoint)


@pytest.fixture
async def modern(modern_web):
    endpoint = HttpEndpoint("w", modern_web.url, {"Authorization": "ours"})
    made = await connect(endpoint)
    yield made
    await closed(endpoint)


async def closed(endpoint):
    """Close an endpoint, which leaves no connection and no task of ours."""
    await endpoint.aclose()
    assert endpoint.statistics() == {"links": 0, "connections": 0, "idle": 0}
    assert not [task for task in asyncio.all_tasks() if "meshproxy" in task.get_coro().cr_code.co_filename]


def notification(method, **params):
    return encode(method=method, params=params)


# Opening.


async def test_the_handshake_says_what_each_era_wants_to_hear(web, link):
    assert (link.era, link.version, link.session) == (Era.LEGACY, "2025-11-25", SESSION)
    discover, initialize, initialized = web.requests
    assert discover.headers["mcp-protocol-version"] == "2026-07-28"
    assert discover.headers["mcp-method"] == "server/discover"
    assert initialize.headers.keys().isdisjoint({"mcp-protocol-version", "mcp-method", "mcp-session-id"})
    assert initialize.headers["accept"] == "application/json, text/event-stream"
    assert initialize.message["params"] == {
        "protocolVersion": "2025-11-25",
        "capabilities": CAPABILITIES,
        "clientInfo": CLIENT,
    }
    await call(link, "x")
    for request in (initialized, web.requests[-1]):
        assert request.headers["mcp-session-id"] == SESSION
        assert request.headers["mcp-protocol-version"] == "2025-11-25"
        assert "mcp-method" not in request.headers
    assert len(web.raw.peers) == 1


async def test_the_handshake_may_be_answered_with_an_event_stream(web):
    async def initialize(request):
        result = {"protocolVersion": "2025-06-18", "capabilities": {}}
        head = EVENTS.replace(b"\r\n\r\n", b"\r\nMcp-Session-Id: other\r\n\r\n")
        request.peer.send(head, chunk(event(encode(id=request.id, result=result))), b"0\r\n\r\n")

    web.on["initialize"] = initialize
    endpoint = HttpEndpoint("w", web.url)
    link = await connect(endpoint)
    assert (link.version, link.session) == ("2025-06-18", "other")
    await closed(endpoint)


async def test_a_second_link_does_not_probe_again(web, link):
    endpoint = link._endpoint
    again = await connect(endpoint)
    assert len(web.told("server/discover")) == 1
    assert len(web.told("initialize")) == 2
    await again.aclose()


async def test_a_silent_probe_does_not_keep_the_handshake_waiting(web):
    web.on["server/discover"] = never
    endpoint = HttpEndpoint("w", web.url)
    link = await connect(endpoint)
    assert link.era is Era.LEGACY
    await closed(endpoint)


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (401, b"", b"text/plain", "it answered HTTP 401: it wants credentials: set `headers` of this upstream"),
        (
            401,
            b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
            b"application/json",
            "it wants credentials",
        ),
        (403, b"", b"text/plain", "it refuses us: set or check `headers` of this upstream"),
        (404, b"<h1>Nope</h1>", b"text/html", "it answered HTTP 404: there is no MCP endpoint at this URL"),
        (405, b"", b"text/plain", "set `transport: sse`"),
        (400, b"what do you mean?", b"text/plain", "^w: it answered HTTP 400: what do you mean\\?$"),
        (500, b"<h1>Oops</h1>", b"text/html", "^w: it answered HTTP 500$"),
        (503, b"", b"text/plain", "it is not able to answer now"),
        (
            200,
            b"<h1>Our shop</h1>",
            b"text/html; charset=utf-8",
            "HTTP 200 with text/html, which is not MCP: check the url",
        ),
        (200, b"", b"text/plain", "HTTP 200 without a body, which is not MCP"),
        (202, b"", b"text/plain", "HTTP 202 without a body, which is not MCP"),
    ],
)
async def test_what_is_no_mcp_server_is_told_in_words_that_help(web, status, body, kind, reason):
    web.on["initialize"] = web.on["server/discover"] = refuse(status, body, kind)
    endpoint = HttpEndpoint("w", web.url)
    with pytest.raises(UpstreamUnavailable, match=reason) as raised:
        await connect(endpoint)
    assert "\n" not in raised.value.reason
    await closed(endpoint)


async def test_an_error_of_mcp_as_the_handshakes_answer_is_told(web):
    web.on["initialize"] = error(400, -32000, "we are closed", ...)
    with pytest.raises(UpstreamUnavailable, match="refused the handshake: we are closed"):
        await connect(HttpEndpoint("w", web.url))


async def test_nobody_at_the_port_is_told(server):
    endpoint = HttpEndpoint("w", "http://127.0.0.1:9/mcp")
    with pytest.raises(UpstreamUnavailable, match=r"cannot connect to 127\.0\.0\.1:9"):
        await connect(endpoint)
    await closed(endpoint)


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "mcp"])
async def test_a_url_that_is_none_is_told(url):
    with pytest.raises(UpstreamUnavailable, match="http"):
        await connect(HttpEndpoint("w", url))


async def test_a_server_that_never_answers_is_given_up(server):
    endpoint = HttpEndpoint("w", server.url)
    with pytest.raises(UpstreamUnavailable, match=r"it did not answer initialize within 0\.2 s"):
        await connect(endpoint, timeout=0.2)
    await closed(endpoint)


@pytest.mark.parametrize("key", ["server/discover", "initialize", "notifications/initialized"])
async def test_a_connect_that_is_cancelled_leaves_nothing(web, key):
    web.on[key] = never
    endpoint = HttpEndpoint("w", web.url)
    connecting = asyncio.create_task(connect(endpoint))
    await web.request(key)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert endpoint.statistics()["links"] == 0
    assert len(web.told("DELETE")) == (key == "notifications/initialized")
    await closed(endpoint)


async def test_a_redirect_within_the_origin_is_followed_and_remembered(web):
    async def redirect(request):
        if request.target == "/mcp":
            request.peer.answer(headers=b"location: /mcp/\r\n", status=b"307 Temporary Redirect")
        else:
            await old[request.key](request)

    old = dict(web.on)
    web.on["server/discover"] = web.on["initialize"] = redirect
    endpoint = HttpEndpoint("w", web.url)
    link = await connect(endpoint)
    await call(link, "x")
    again = await connect(endpoint)
    assert [request.target for request in web.requests].count("/mcp") == 1
    assert again.is_open
    await closed(endpoint)


@pytest.mark.parametrize(
    ("status", "location", "reason"),
    [
        (
            307,
            b"https://other.example/mcp?token=1",
            "it redirects to https://other.example/mcp, which is another origin",
        ),
        (302, b"https://u:p@login.example/a?b", "it redirects to https://login.example/a \\(HTTP 302\\)"),
        (308, b"/mcp", "it redirects more than 3 times"),
    ],
)
async def test_any_other_redirect_is_told(web, status, location, reason):
    async def redirect(request):
        request.peer.answer(headers=b"location: " + location + b"\r\n", status=b"%d Found" % status)

    web.on["server/discover"] = web.on["initialize"] = redirect
    endpoint = HttpEndpoint("w", web.url)
    with pytest.raises(UpstreamUnavailable, match=reason) as raised:
        await connect(endpoint)
    assert "token" not in raised.value.reason
    await closed(endpoint)


# Calls.


async def test_an_answer_may_be_json_or_an_event_stream(web, link):
    async def streams(request):
        stream(request, event(encode(id=request.id, result=DONE)))

    web.on["streams"] = streams
    assert (await call(link, "json"))["echo"]["name"] == "json"
    assert await call(link, "streams") == DONE
    assert not link.calls
    assert len(web.raw.peers) == 1


async def test_an_event_stream_is_read_without_a_task_until_it_ends_without_the_answer(web, link):
    """A task for each is a third of what a call costs."""

    async def streams(request):
        stream(request, event(notification("notifications/message", data=1)), end=False)
        await may_go_on.wait()
        request.peer.send(chunk(event(encode(id=request.id, result=DONE))), b"0\r\n\r\n")

    async def breaks(request):
        stream(request, b"retry: 60000\nid: e-0\ndata:\n\n")

    def following():
        return [task for task in asyncio.all_tasks() if "outcome" in repr(task.get_coro())]

    may_go_on = asyncio.Event()
    web.on["streams"], web.on["breaks"] = streams, breaks
    await call(link, "json")
    mine = Calls()
    waiting = asyncio.create_task(call(link, "streams", mine))
    await eventually(lambda: mine.told)
    assert not following()
    may_go_on.set()
    assert await waiting == DONE
    waiting = asyncio.create_task(call(link, "breaks", mine))
    await eventually(following)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_error_is_handed_on_as_it_came_whatever_its_status(web, link):
    async def fails(request):
        stream(request, event(encode(id=request.id, error={"code": -5, "message": "no", "data": [None]})))

    web.on["fails"] = fails
    web.on["refuses"] = error(400, -32602, "bad", ...)
    with pytest.raises(RpcError) as raised:
        await call(link, "fails")
    assert (raised.value.code, raised.value.message, opened(raised.value.data)) == (-5, "no", [None])
    with pytest.raises(RpcError, match="bad"):
        await call(link, "refuses")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_a_stream_may_be_cut_at_every_byte(web, link, newline):
    mine = Calls()

    def body(request):
        told = event(notification("notifications/message", data="ä\u2028"), event="message")
        return (b": hello\n\nid: 1\nretry: 5\ndata:\n\n" + told + event(encode(id=request.id, result=DONE))).replace(
            b"\n", newline
        )

    async def cut(request):
        data, at = body(request), request.message["params"]["arguments"]["at"]
        request.peer.send(EVENTS, chunk(data[:at]) if at else b"")
        await request.peer.writer.drain()
        await asyncio.sleep(0)
        request.peer.send(chunk(data[at:]), b"0\r\n\r\n")

    async def crumble(request):
        for byte in EVENTS + chunk(body(request)) + b"0\r\n\r\n":
            request.peer.send(bytes([byte]))
            await request.peer.writer.drain()
            await asyncio.sleep(0)

    web.on["cut"], web.on["crumble"] = cut, crumble
    assert await call(link, "crumble", mine) == DONE
    size = 200
    for at in range(size):
        assert await call(link, "cut", mine, at=at) == DONE
    assert mine.told == [("notifications/message", {"data": "ä\u2028"})] * (size + 1)


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_of_5_mb_arrives_whole(web, link, streamed):
    text = "ä" * 2_500_000

    async def large(request):
        if streamed:
            stream(request, event(encode(id=request.id, result={"text": text})))
        else:
            answer(request, {"text": text})

    web.on["large"] = large
    assert (await call(link, "large"))["text"] == text


async def test_an_answer_over_the_bound_is_lost_and_says_so(web):
    async def large(request):
        stream(request, event(encode(id=request.id, result={"text": "x" * 2000})))

    async def whole(request):
        answer(request, {"text": "x" * 2000})

    web.on["large"], web.on["whole"] = large, whole
    endpoint = HttpEndpoint("w", web.url, max_message=1000)
    link = await connect(endpoint)
    for tool in ("large", "whole"):
        with pytest.raises(AnswerLost, match="larger than the bound of 1000 bytes"):
            await call(link, tool)
    assert (await call(link, "x"))["echo"]
    await closed(endpoint)


@pytest.mark.parametrize("size", [20_000, 2_000_000])
async def test_an_answer_that_is_larger_than_its_call_allows_fails_that_call_alone(web, link, size):
    async def stream_of(request):
        stream(request, event(encode(id=request.id, result={"text": "x" * size})))

    async def whole(request):
        answer(request, {"text": "x" * size})

    async def endless(request):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        request.peer.send(head, *(chunk(b"x" * 1000) for _ in range(20)))

    web.on["stream"], web.on["whole"], web.on["endless"] = stream_of, whole, endless
    for _ in range(2):
        # The second answer comes over a connection that knows the head of the first.
        for tool in ("stream", "whole", "endless"):
            with pytest.raises(AnswerTooLarge) as error:
                await call(link, tool, Calls(max_result=10_000, timeout=60))
            assert (
                error.value.reason == "it is larger than 10kB: ask for less, or raise `limits.result` of this upstream"
            )
        for tool in ("stream", "whole"):
            assert len((await call(link, tool, Calls(max_result=2 * size)))["text"]) == size
            assert len((await call(link, tool))["text"]) == size


async def test_ten_thousand_progress_notifications_come_in_order_and_before_the_answer(web, link, listener):
    async def works(request):
        token = request.message["params"]["_meta"]["progressToken"]
        steps = [event(notification("notifications/progress", progressToken=token, progress=n)) for n in range(10_000)]
        strange = event(notification("notifications/progress", progressToken="other", progress=1))
        stream(request, strange, *steps, event(encode(id=request.id, result=DONE)))

    web.on["works"] = works
    wants = Calls(wants_progress=True)
    assert await call(link, "works", wants) == DONE
    assert [told[1]["progress"] for told in wants.told] == list(range(10_000))
    assert not listener.told


async def test_what_comes_on_a_calls_stream_belongs_to_that_call(web, link, listener):
    async def asks(request):
        word = request.message["params"]["arguments"]["word"]
        told = event(notification("notifications/message", data=word))
        asked = event(encode(id=f"q-{word}", method="elicitation/create", params={"message": word}))
        stream(request, told, asked, end=False)
        while not (answers := [one for one in web.told("answer") if one.id == f"q-{word}"]):
            await asyncio.sleep(0.001)
        request.peer.send(chunk(event(encode(id=request.id, result=answers[0].message["result"]))), b"0\r\n\r\n")

    web.on["asks"] = asks
    calls = {word: Calls(owner=word) for word in "abcde"}
    for word, one in calls.items():
        one.answer = {"action": "accept", "content": {"word": word}}
    results = await asyncio.gather(*(call(link, "asks", one, word=word) for word, one in calls.items()))
    assert [result["content"]["word"] for result in results] == list(calls)
    for word, one in calls.items():
        assert one.told == [("notifications/message", {"data": word})]
        assert one.asked == [("elicitation/create", {"message": word})]
    assert (listener.told, listener.asked) == ([], [])
    assert all(request.headers["mcp-session-id"] == SESSION for request in web.told("answer"))


async def test_what_comes_on_the_stream_of_nobodys_request_goes_to_the_listener(web, link, listener):
    async def listing(request):
        stream(request, event(notification("notifications/message", data=1)), event(encode(id=request.id, result={})))

    web.on["tools/list"] = listing
    await link.request("tools/list", {})
    assert listener.told == [("notifications/message", {"data": 1})]


async def test_noise_on_a_stream_costs_nothing(web, link, listener):
    async def strange(request):
        stream(
            request,
            event(b"nonsense"),
            event(encode(id=99, result={})),
            event(b"x", event="ping"),
            event(encode(method="notifications/message", params=[1])),
            event(encode(id=request.id, result=DONE)),
        )

    web.on["strange"] = strange
    assert await call(link, "strange", Calls()) == DONE
    assert not listener.told


async def test_a_receiver_that_fails_does_not_cost_the_call_its_answer(web, link):
    async def logs(request):
        stream(request, event(notification("notifications/message")), event(encode(id=request.id, result=DONE)))

    def fail(*_):
        raise ZeroDivisionError

    web.on["logs"] = logs
    mine = Calls()
    mine.on_notification = fail
    assert await call(link, "logs", mine) == DONE


async def test_questions_end_with_the_call_that_they_belong_to(web, link):
    async def asks(request):
        stream(request, event(encode(id="q", method="roots/list")), end=False)
        await asking.being_asked.wait()
        request.peer.send(chunk(event(encode(id=request.id, result=DONE))), b"0\r\n\r\n")

    web.on["asks"] = asks
    asking = Calls()
    asking.answer = asyncio.get_running_loop().create_future()
    assert await call(link, "asks", asking) == DONE
    async with asyncio.timeout(DEADLINE):
        await asking.cancelled.wait()
    assert not web.told("answer")


async def test_a_question_that_the_upstream_takes_back_is_not_answered(web, link):
    async def asks(request):
        stream(request, event(encode(id="q", method="roots/list")), end=False)
        await asking.being_asked.wait()
        request.peer.send(chunk(event(notification("notifications/cancelled", requestId="q"))))
        await asking.cancelled.wait()
        request.peer.send(chunk(event(encode(id=request.id, result=DONE))), b"0\r\n\r\n")

    web.on["asks"] = asks
    asking = Calls()
    asking.answer = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(DEADLINE):
        assert await call(link, "asks", asking) == DONE
    assert not web.told("answer")


# Ends of calls.


async def test_a_call_that_is_given_up_is_cancelled_by_a_notification(web, link):
    web.on["never"] = never
    waiting = asyncio.create_task(call(link, "never"))
    request = await web.request("tools/call")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    cancelled = await web.request("notifications/cancelled")
    assert cancelled.message["params"]["requestId"] == request.id
    assert await call(link, "x")
    assert not link.calls


@pytest.mark.parametrize("begun", [False, True])
async def test_a_call_that_takes_too_long_is_lost_and_cancelled(web, link, begun):
    async def slow(request):
        if begun:
            stream(request, event(notification("notifications/message", data=1)), end=False)
        await never(request)

    web.on["slow"] = slow
    with pytest.raises(AnswerLost, match=r"no answer within 0\.1 s"):
        await call(link, "slow", Calls(timeout=0.1))
    await web.request("notifications/cancelled")


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_connection_that_ends_without_the_answer_loses_it_and_repeats_nothing(web, link, how, begun):
    async def ends(request):
        if begun:
            stream(request, event(notification("notifications/message", data=1)), end=False)
            await request.peer.writer.drain()
        getattr(request.peer, how)()

    web.on["ends"] = ends
    with pytest.raises(AnswerLost):
        await call(link, "ends")
    assert len(web.told("tools/call")) == 1
    assert link.is_open
    assert await call(link, "x")


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(web, link):
    for _ in range(20):
        assert await call(link, "x")
        web.raw.peers[-1].close()
        await eventually(lambda: not link.http.statistics()["connections"])
    assert len(web.told("tools/call")) == 20


async def test_a_request_that_cannot_leave_may_be_repeated(web, link):
    web.raw.server.close()
    for peer in web.raw.peers:
        peer.reset()
    await eventually(lambda: not link.http.statistics()["connections"])
    with pytest.raises(UpstreamUnavailable, match="cannot connect"):
        await call(link, "x")


@pytest.mark.parametrize(
    "body", [b"", b"oops", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Session not found"}}']
)
async def test_a_session_that_has_expired_is_told_and_was_not_used(web, link, listener, body):
    web.on["x"] = refuse(404, body)
    with pytest.raises(UpstreamUnavailable, match="the session has expired"):
        await call(link, "x")
    assert listener.closed == ["the session has expired"]
    assert not link.is_open
    with pytest.raises(UpstreamUnavailable, match="the session has expired"):
        await call(link, "x")
    del web.on["x"]
    await link.aclose()
    assert not web.told("DELETE")
    again = await connect(link._endpoint)
    assert await call(again, "x")


async def test_every_request_of_a_session_that_has_expired_is_told_so(web, link, listener):
    """Also those that are answered after the first has told of it, and while the link is closed because of that."""
    waiting = asyncio.Event()
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}'

    async def late(exchange):
        await waiting.wait()
        await refuse(404, body)(exchange)

    web.on["x"], web.on["y"] = refuse(404, body), late
    second = asyncio.create_task(call(link, "y"))
    await eventually(lambda: web.told("tools/call"))
    with pytest.raises(UpstreamUnavailable, match="the session has expired"):
        await call(link, "x")
    assert link.has_expired
    closing = asyncio.create_task(link.aclose())
    await asyncio.sleep(0)
    waiting.set()
    with pytest.raises(UpstreamUnavailable, match="the session has expired"):
        await second
    await closing
    assert listener.closed == ["the session has expired"]


async def test_a_session_that_is_not_known_may_be_said_with_400(web, link, listener):
    web.on["x"] = error(400, -32000, "Bad Request: No valid session ID provided")
    with pytest.raises(UpstreamUnavailable, match="the session has expired"):
        await call(link, "x")
    assert listener.closed


async def test_a_notification_tells_of_an_expired_session_too(web, link, listener):
    web.on["notifications/roots/list_changed"] = refuse(404)
    await link.notify("notifications/roots/list_changed")
    assert listener.closed == ["the session has expired"]


async def test_a_notification_that_fails_is_nobodys_problem(web, link, listener):
    async def hang_up(request):
        request.peer.close()

    for behaviour in (refuse(500), hang_up, accept):
        web.on["notifications/x"] = behaviour
        await link.notify("notifications/x", {"a": 1})
    assert link.is_open
    assert not listener.closed


# Resumption.


async def test_a_stream_that_breaks_off_is_resumed_where_it_ended(web, link):
    async def breaks(request):
        first = event(notification("notifications/message", data=1), id="e-1")
        stream(request, b"retry: 1\nid: e-0\ndata:\n\n", first, end=False)
        await request.peer.writer.drain()
        request.peer.close()

    async def resumes(request):
        count = len(web.told("GET"))
        if count == 1:
            stream(request, event(notification("notifications/message", data=2), id="e-2"))
        else:
            stream(request, event(encode(id=web.told("tools/call")[0].id, result=DONE), id="e-3"))

    web.on["breaks"], web.on["GET"] = breaks, resumes
    mine = Calls(timeout=DEADLINE)
    assert await call(link, "breaks", mine) == DONE
    assert [told[1]["data"] for told in mine.told] == [1, 2]
    first, second = web.told("GET")
    assert (first.headers["last-event-id"], second.headers["last-event-id"]) == ("e-1", "e-2")
    assert first.headers["mcp-session-id"] == SESSION
    assert len(web.told("tools/call")) == 1
    # What broke off was not ended; the second stream was, without the answer.
    assert mine.ends == 1


async def test_a_stream_that_is_ended_on_purpose_is_polled_and_its_call_told(web, link):
    async def ends(request):
        stream(request, b"retry: 1\nid: e-0\ndata:\n\n")

    async def resumes(request):
        stream(request, event(encode(id=web.told("tools/call")[0].id, result=DONE)))

    web.on["ends"], web.on["GET"] = ends, resumes
    mine = Calls()
    assert await call(link, "ends", mine) == DONE
    assert mine.ends == 1


async def test_a_stream_that_cannot_be_resumed_loses_the_answer(web, link):
    async def ends(request):
        stream(request, b"retry: 1\nid: e-0\ndata:\n\n")

    web.on["ends"] = ends
    with pytest.raises(AnswerLost, match="HTTP 405 came when it was to be resumed"):
        await call(link, "ends")


async def test_a_stream_that_brings_nothing_any_more_is_given_up(web, link):
    async def ends(request):
        stream(request, b"retry: 1\nid: e-0\ndata:\n\n")

    web.on["ends"] = web.on["GET"] = ends
    with pytest.raises(AnswerLost):
        await call(link, "ends")
    assert len(web.told("GET")) == following.MAX_RESUMPTIONS


async def test_the_time_of_a_call_includes_its_resumption(web, link):
    async def ends(request):
        stream(request, b"retry: 20000\nid: e-0\ndata:\n\n")

    web.on["ends"] = ends
    with pytest.raises(AnswerLost, match=r"no answer within 0\.1 s"):
        await call(link, "ends", Calls(timeout=0.1))
    await web.request("notifications/cancelled")


async def test_a_session_may_expire_before_the_resumption(web, link, listener):
    async def ends(request):
        stream(request, b"retry: 1\nid: e-0\ndata:\n\n")

    web.on["ends"], web.on["GET"] = ends, refuse(404)
    with pytest.raises(AnswerLost):
        await call(link, "ends")
    assert listener.closed == ["the session has expired"]


# The standing stream.


async def test_the_standing_stream_brings_what_belongs_to_no_call(web, link, listener):
    async def opens(request):
        stream(
            request,
            event(notification("notifications/tools/list_changed"), id="g-1"),
            event(encode(id="q", method="roots/list")),
            event(encode(id="p", method="ping")),
            end=False,
        )
        await never(request)

    web.on["GET"] = opens
    listener.answer = {"roots": []}
    await link.listen()
    await link.listen()
    await web.request("answer", 2)
    assert listener.told == [("notifications/tools/list_changed", {})]
    assert {request.id: request.message["result"] for request in web.told("answer")} == {"q": {"roots": []}, "p": {}}
    assert len(web.told("GET")) == 1
    assert web.told("GET")[0].headers["accept"] == "text/event-stream"


async def test_the_standing_stream_is_opened_again_where_it_ended(web, link, listener):
    async def opens(request):
        number = len(web.told("GET"))
        fields = {"id": f"g-{number}"} | ({"retry": 1} if number == 1 else {})
        stream(request, event(notification("notifications/x", n=number), **fields), end=number < 3)
        if number == 3:
            await never(request)

    web.on["GET"] = opens
    await link.listen()
    third = await web.request("GET", 3)
    assert [request.headers.get("last-event-id") for request in web.told("GET")[:2]] == [None, "g-1"]
    assert third.headers["last-event-id"] == "g-2"
    await eventually(lambda: [told[1]["n"] for told in listener.told] == [1, 2, 3])


@pytest.mark.parametrize("behaviour", [refuse(405), refuse(400), refuse(200, b"<p>", b"text/html")])
async def test_that_there_is_no_standing_stream_is_no_error(web, link, listener, behaviour):
    web.on["GET"] = behaviour
    async with asyncio.timeout(DEADLINE):
        await link.listen()
    assert await call(link, "x")
    assert not listener.closed
    assert len(web.told("GET")) == 1


@pytest.mark.parametrize("statuses", [[404], [200, 404], [200, 400]])
async def test_the_standing_stream_tells_of_an_expired_session(web, link, listener, statuses):
    async def opens(request):
        status = statuses[len(web.told("GET")) - 1]
        if status == 200:
            stream(request, b"retry: 1\nid: g-1\ndata:\n\n")
        else:
            await refuse(status)(request)

    web.on["GET"] = opens
    await link.listen()
    async with asyncio.timeout(DEADLINE):
        await listener.ended.wait()
    assert listener.closed == ["the session has expired"]


async def test_the_standing_stream_tells_when_nobody_is_there_any_more(web, link, listener, monkeypatch):
    monkeypatch.setattr(session_stream, "RETRY", 0.001)

    async def opens(request):
        stream(request, end=False)
        await never(request)

    web.on["GET"] = opens
    await link.listen()
    web.raw.server.close()
    for peer in web.raw.peers:
        peer.reset()
    async with asyncio.timeout(DEADLINE):
        await listener.ended.wait()
    assert "cannot connect" in listener.closed[0]


async def test_a_stream_that_is_slow_to_open_is_not_waited_for(web, link, monkeypatch):
    monkeypatch.setattr(session_stream, "OPENING", 0.01)
    web.on["GET"] = never
    async with asyncio.timeout(DEADLINE):
        await link.listen()


# Closing.


async def test_closing_ends_the_session_and_what_is_under_way(web, link, listener):
    async def asks(request):
        stream(request, event(encode(id="q", method="roots/list")), end=False)
        await never(request)

    async def opens(request):
        stream(request, end=False)
        await never(request)

    web.on["GET"], web.on["never"], web.on["asks"] = opens, never, asks
    await link.listen()
    asking = Calls()
    asking.answer = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(call(link, "never")), asyncio.create_task(call(link, "asks", asking))]
    async with asyncio.timeout(DEADLINE):
        await asking.being_asked.wait()
        await web.request("tools/call", 2)
        await link.aclose()
        for task in tasks:
            with pytest.raises(AnswerLost, match="the link is closed"):
                await task
        await asking.cancelled.wait()
    (delete,) = web.told("DELETE")
    assert delete.headers["mcp-session-id"] == SESSION
    assert not listener.closed
    await link.aclose()
    assert len(web.told("DELETE")) == 1
    with pytest.raises(UpstreamUnavailable, match="the link is closed"):
        await call(link, "x")


async def test_a_caller_that_is_cancelled_while_the_link_closes_is_cancelled(web, link):
    web.on["never"] = never
    waiting = asyncio.create_task(call(link, "never"))
    await web.request("tools/call")
    waiting.cancel()
    await link.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_close_that_is_cancelled_leaves_nothing(web, link):
    web.on["DELETE"] = never
    closing = asyncio.create_task(link.aclose())
    await web.request("DELETE")
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert link._endpoint.statistics()["links"] == 0


async def test_a_farewell_that_is_not_answered_is_bounded(web, link, monkeypatch):
    monkeypatch.setattr(streamable, "FAREWELL", 0.05)
    web.on["DELETE"] = never
    async with asyncio.timeout(DEADLINE):
        await link.aclose()


# The modern era.


async def test_a_modern_request_repeats_what_it_is_about_in_headers(modern_web, modern):
    assert (modern.era, modern.version, modern.session) == (Era.MODERN, "2026-07-28", None)
    assert modern.server == DISCOVERED
    mine = Calls(
        headers={
            "mcp-param-region": "eu",
            "x-request-id": "7",
            "authorization": "theirs",
            "mcp-session-id": "forged",
            "content-length": "5",
            "Mcp-Method": "forged",
        }
    )
    for name in ("plain", "grüße"):
        await call(modern, name, mine)
    await modern.request("resources/read", {"uri": "a://b c"})
    await modern.request("tasks/get", {"taskId": "t-1"})
    await modern.request("tools/list", {})
    plain, encoded, read, task, listing = (request.headers for request in modern_web.requests[1:])
    assert plain["mcp-protocol-version"] == "2026-07-28"
    assert (plain["mcp-method"], plain["mcp-name"], encoded["mcp-name"]) == (
        "tools/call",
        "plain",
        "=?base64?Z3LDvMOfZQ==?=",
    )
    assert (read["mcp-name"], task["mcp-name"], "mcp-name" in listing) == ("a://b c", "t-1", False)
    assert (plain["mcp-param-region"], plain["x-request-id"]) == ("eu", "7")
    assert plain["authorization"] == "ours"
    assert "mcp-session-id" not in plain


async def test_a_header_that_cannot_be_sent_is_told(modern):
    with pytest.raises(UpstreamUnavailable, match="x-bad"):
        await call(modern, "x", Calls(headers={"x-bad": "a\r\nb"}))


async def test_a_modern_call_that_is_given_up_is_cancelled_by_the_end_of_its_stream(modern_web, modern):
    async def slow(request):
        stream(request, event(notification("notifications/message", data=1)), end=False)
        assert await request.peer.reader.read() == b""
        closed.set()

    closed = asyncio.Event()
    modern_web.on["slow"] = slow
    mine = Calls()
    waiting = asyncio.create_task(call(modern, "slow", mine))
    await eventually(lambda: mine.told)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(DEADLINE):
        await closed.wait()
    assert await call(modern, "x")
    assert not modern_web.told("notifications/cancelled")


async def test_a_modern_error_is_handed_on_as_it_came(modern_web, modern):
    modern_web.on["x"] = error(404, -32601, "Method not found", ...)
    with pytest.raises(RpcError) as raised:
        await call(modern, "x")
    assert raised.value.code == -32601
    assert modern.is_open


async def test_a_modern_upstream_has_no_standing_stream_session_or_notifications(modern_web, modern):
    await modern.listen()
    await modern.notify("notifications/roots/list_changed")
    await modern.aclose()
    assert [request.key for request in modern_web.requests] == ["server/discover"]


async def test_a_modern_subscription_is_a_call_that_lasts(modern_web, modern):
    async def listens(request):
        updated = notification("notifications/resources/updated", uri="a://b")
        stream(
            request,
            event(notification("notifications/subscriptions/acknowledged")),
            b": ping\n\n",
            event(updated),
            end=False,
        )
        await ended.wait()
        request.peer.send(chunk(event(encode(id=request.id, result={}))), b"0\r\n\r\n")

    ended = asyncio.Event()
    modern_web.on["subscriptions/listen"] = listens
    mine = Calls()
    listening = asyncio.create_task(modern.request("subscriptions/listen", {"notifications": {}}, mine))
    await eventually(lambda: len(mine.told) == 2)
    ended.set()
    assert loads(await listening) == {}
    assert [told[0] for told in mine.told] == [
        "notifications/subscriptions/acknowledged",
        "notifications/resources/updated",
    ]


async def test_a_modern_stream_is_never_resumed(modern_web, modern):
    async def ends(request):
        stream(request, b"retry: 1\nid: e-0\ndata:\n\n")

    modern_web.on["ends"] = ends
    with pytest.raises(AnswerLost, match="ended without it"):
        await call(modern, "ends")
    assert not modern_web.told("GET")


# Servers of the SDK.


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_call_of_the_sdks_server_can_be_cancelled(era, shared_server, tmp_path):
    endpoint = HttpEndpoint("basic", shared_server("basic", era=era).url)
    link = await connect(endpoint)
    marker = tmp_path / "marker"
    waiting = asyncio.create_task(call(link, "hold", marker=str(marker)))
    await eventually(marker.with_suffix(".started").exists)
    waiting.cancel()
    await eventually(marker.with_suffix(".cancelled").exists)
    await closed(endpoint)


async def test_the_sdks_server_asks_and_is_answered(shared_server):
    endpoint = HttpEndpoint("basic", shared_server("basic", era="legacy").url)
    link = await connect(endpoint)
    mine = Calls()
    mine.answer = {"action": "accept", "content": {"answer": "42"}}
    answered = await call(link, "ask", mine, n=3)
    assert len(mine.asked) == 3
    assert json.dumps(mine.answer) in answered["content"][0]["text"]
    await closed(endpoint)


async def test_a_refusal_that_calls_itself_an_event_stream_is_a_refusal(web, link):
    async def refuses(request):
        request.peer.send(EVENTS.replace(b"200 OK", b"418 Teapot"), chunk(b"data: x\n\n"))
        await never(request)

    web.on["x"] = web.on["GET"] = refuses
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(UpstreamUnavailable, match="it answered HTTP 418"):
            await call(link, "x")
        await link.listen()
    assert link.is_open


def test_header_lines_of_long_names_are_not_remembered() -> None:
    short, long = "x" * 256, "x" * 257
    assert routing("resources/read", short) is routing("resources/read", short)
    assert routing("resources/read", long) == b"mcp-method: resources/read\r\nmcp-name: %b\r\n" % long.encode()
    assert routing("resources/read", long) is not routing("resources/read", long)
