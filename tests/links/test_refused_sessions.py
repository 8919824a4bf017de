"""A session of which every request is refused is opened anew, whatever the status and the words; a request that is refused for itself costs no session."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.links import session_check
from meshproxy.links.sse import SseEndpoint
from meshproxy.links.streamable import HttpEndpoint
from tests.kit.links import Listens, call, connect
from tests.kit.waiting import within
from tests.kit.web import Behaviour, Web, accept, answer, error, never, refuse
from tests.links.test_sse import SseWeb

pytestmark = pytest.mark.anyio

EXPIRED = "the session has expired"


@pytest.fixture
async def web(server) -> AsyncIterator[Web]:
    made = Web(server)
    yield made
    await made.stop()


@pytest.fixture
async def listener():
    return Listens()


@pytest.fixture
async def link(web, listener):
    endpoint = HttpEndpoint("w", web.url)
    yield await connect(endpoint, listener)
    await endpoint.aclose()


def forget(web: Web, how: Behaviour) -> None:
    """From now on everything is refused so."""
    for key in ("x", "tools/list", "ping", "notifications/x"):
        web.on[key] = how


NOT_CARRIED_OUT = {
    "400 without a word": refuse(400),
    "400 with a text": refuse(400, b"Bad Request: Session not initialized"),
    "400 with JSON that is no message": refuse(400, b'{"error": "unknown session"}', b"application/json"),
    "400 with a message": error(400, -32000, "Bad Request: No valid session ID provided"),
    "404 without a word": refuse(404),
    "409 without a word": refuse(409),
    "409 with a message": error(409, -32000, "Session conflict"),
    "410 with a page": refuse(410, b"<h1>Gone</h1>", b"text/html"),
    "422 with a text": refuse(422, b"no"),
}


@pytest.mark.parametrize("how", NOT_CARRIED_OUT.values(), ids=NOT_CARRIED_OUT.keys())
async def test_a_session_that_is_refused_has_expired_and_the_request_may_be_sent_again(web, link, listener, how):
    forget(web, how)
    with pytest.raises(UpstreamUnavailable, match=EXPIRED):
        await call(link, "x")
    assert listener.closed == [EXPIRED]
    assert link.has_expired
    assert not link.is_open


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_server_error_that_speaks_of_the_session_ends_it_and_what_it_left_open_is_not_sent_again(
    web, link, listener, status
):
    forget(web, refuse(status, b"Internal error: unknown session"))
    with pytest.raises((AnswerLost, UpstreamUnavailable), match=f"HTTP {status}"):
        await call(link, "x")
    assert listener.closed == [EXPIRED]


@pytest.mark.parametrize("status", [400, 404, 409, 500])
async def test_an_answer_to_the_request_itself_is_its_answer_and_the_next_one_has_another_session(
    web, link, listener, status
):
    forget(web, error(status, -32000, "Session not found", ...))
    if status == 404:
        with pytest.raises(UpstreamUnavailable, match=EXPIRED):
            await call(link, "x")
    else:
        with pytest.raises(RpcError, match="Session not found"):
            await call(link, "x")
    assert listener.closed == [EXPIRED]


@pytest.mark.parametrize(
    "how",
    [
        refuse(400),
        refuse(409, b"no such page"),
        refuse(500, b"the session of the database was closed"),
        error(400, -32602, "no such session of the shop", ...),
    ],
)
async def test_a_request_that_is_refused_for_itself_costs_no_session(web, link, listener, how):
    web.on["x"] = how
    for _ in range(3):
        with pytest.raises((RpcError, UpstreamUnavailable, AnswerLost)):
            await call(link, "x")
    assert await call(link, "y")
    assert link.is_open
    assert not listener.closed
    # It is not asked about each time.
    assert len(web.told("tools/list")) == 1


@pytest.mark.parametrize("status", [401, 403, 407, 413, 429, 500, 503])
async def test_what_is_not_of_the_session_is_not_asked_about(web, link, listener, status):
    forget(web, refuse(status))
    with pytest.raises((UpstreamUnavailable, AnswerLost)):
        await call(link, "x")
    assert link.is_open
    assert not web.told("tools/list")


async def test_who_wonders_at_the_same_time_asks_once(web, link, listener, monkeypatch):
    monkeypatch.setattr(session_check, "TRUSTED", 0.0)
    web.on["x"] = refuse(400)
    refusals = await within(asyncio.gather(*(call(link, "x") for _ in range(5)), return_exceptions=True))
    assert all("HTTP 400" in str(refusal) for refusal in refusals)
    assert 1 <= len(web.told("tools/list")) <= 5
    web.on["tools/list"] = refuse(400)
    refusals = await within(asyncio.gather(*(call(link, "x") for _ in range(5)), return_exceptions=True))
    assert all(EXPIRED in str(refusal) for refusal in refusals)
    assert listener.closed == [EXPIRED]


async def test_one_that_offers_no_tools_is_pinged(web, listener):
    async def initialize(request):
        result = {"protocolVersion": "2025-11-25", "capabilities": {"prompts": {}}}
        answer(request, result, b"mcp-session-id: s\r\n")

    web.on["initialize"] = initialize
    endpoint = HttpEndpoint("w", web.url)
    link = await connect(endpoint, listener)
    web.on["x"] = refuse(400)
    with pytest.raises(UpstreamUnavailable, match="HTTP 400"):
        await call(link, "x")
    assert web.told("ping")
    await endpoint.aclose()


async def test_nobody_there_to_know_the_session_is_no_word_of_it(web, link, listener):
    async def hang_up(request):
        request.peer.close()

    web.on["x"], web.on["tools/list"] = refuse(400), hang_up
    with pytest.raises(UpstreamUnavailable, match="HTTP 400"):
        await call(link, "x")
    assert not listener.closed


async def test_a_notification_that_is_refused_tells_of_it_too(web, link, listener):
    forget(web, refuse(400))
    await link.notify("notifications/x")
    assert listener.closed == [EXPIRED]


async def test_a_link_that_is_closed_while_it_is_asked_leaves_nothing(web, link, listener):
    web.on["x"], web.on["tools/list"] = refuse(400), never
    calling = asyncio.create_task(call(link, "x"))
    await web.request("tools/list")
    await within(link.aclose())
    with pytest.raises(AnswerLost):
        await within(calling)


# The older transport, whose session is its stream


@pytest.fixture
async def sse(server) -> AsyncIterator[SseWeb]:
    made = SseWeb(server)
    yield made
    await made.stop()


@pytest.mark.parametrize("how", NOT_CARRIED_OUT.values(), ids=NOT_CARRIED_OUT.keys())
async def test_a_stream_whose_messages_are_refused_has_expired(sse, listener, how):
    endpoint = SseEndpoint("w", sse.url)
    link = await connect(endpoint, listener)
    waiting = asyncio.create_task(call(link, "y"))
    sse.on["y"] = accept
    await sse.request("tools/call")
    forget(sse, how)
    with pytest.raises(UpstreamUnavailable, match=EXPIRED):
        await within(call(link, "x"))
    # What was taken before is lost.
    with pytest.raises(AnswerLost, match=EXPIRED):
        await within(waiting)
    assert listener.closed == [EXPIRED]
    assert link.has_expired
    await endpoint.aclose()


@pytest.mark.parametrize("status", [400, 409, 500])
async def test_a_message_that_is_refused_for_itself_costs_no_stream(sse, listener, status):
    endpoint = SseEndpoint("w", sse.url)
    link = await connect(endpoint, listener)
    sse.on["x"] = refuse(status, b"not in this session of the shop" if status == 500 else b"no")
    with pytest.raises((UpstreamUnavailable, AnswerLost), match=f"HTTP {status}"):
        await within(call(link, "x"))
    assert await call(link, "y")
    assert not listener.closed
    assert len(sse.told("tools/list")) == 1
    await endpoint.aclose()


async def test_without_a_session_nothing_is_asked(web, listener):
    async def initialize(request):
        answer(request, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}})

    web.on |= {"initialize": initialize, "notifications/x": accept, "x": refuse(400, b"what session?")}
    endpoint = HttpEndpoint("w", web.url)
    link = await connect(endpoint, listener)
    with pytest.raises(UpstreamUnavailable, match="HTTP 400"):
        await call(link, "x")
    assert not web.told("tools/list")
    assert link.is_open
    await endpoint.aclose()
