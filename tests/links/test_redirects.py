"""A redirect that begins while a link is open is followed within the origin, or told at once. Byte by byte, on both event loops."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from meshproxy.errors import AnswerLost, UpstreamUnavailable
from meshproxy.links import session_stream
from meshproxy.links.redirects import origin_of, resolved, shown
from meshproxy.links.streamable import HttpEndpoint
from tests.kit.links import Calls, Listens, call, connect
from tests.kit.waiting import DEADLINE
from tests.kit.web import SESSION, Web, chunk, encode, event, refuse, stream
from tests.links.test_sse import SseWeb

pytestmark = pytest.mark.anyio

DONE = {"content": [{"type": "text", "text": "done"}]}


class Moving(Web):
    """Redirects what comes to its first URL, once `moved` has a status and a location."""

    moved: tuple[int, bytes] | None = None

    async def _serve(self, peer) -> None:
        self.on = {key: self._redirecting(behave) for key, behave in self.on.items()}
        await super()._serve(peer)

    def _redirecting(self, behave):
        async def redirect(request):
            if self.moved is not None and request.target == "/mcp":
                status, location = self.moved
                lines = b"location: " + location + b"\r\n" if location else b""
                request.peer.answer(headers=lines, status=b"%d Elsewhere" % status)
            else:
                await behave(request)

        return redirect

    async def _unknown(self, request) -> None:
        await self._redirecting(super()._unknown)(request)


@pytest.fixture(params=["legacy", "modern"])
async def web(server, request) -> AsyncIterator[Moving]:
    made = Moving(server, modern=request.param == "modern")
    yield made
    await made.stop()


@pytest.fixture
async def link(web):
    endpoint = HttpEndpoint("w", web.url)
    made = await connect(endpoint)
    yield made
    await endpoint.aclose()
    assert endpoint.statistics() == {"links": 0, "connections": 0, "idle": 0}
    assert not [task for task in asyncio.all_tasks() if "meshproxy" in task.get_coro().cr_code.co_filename]


def targets(web, tool: str = "tools/call") -> list[str]:
    return [request.target for request in web.told(tool)]


@pytest.mark.parametrize("location", [b"/new/mcp?a=b", b"new/mcp?a=b", b"//127.0.0.1:%d/new/mcp?a=b#c"])
async def test_a_call_follows_a_redirect_within_the_origin(web, link, location):
    web.moved = (307, location % web.raw.port if b"%d" in location else location)
    assert (await call(link, "x", at=1))["echo"]["arguments"] == {"at": 1}
    assert targets(web) == ["/mcp", "/new/mcp?a=b"]
    first, second = web.told("tools/call")
    assert (first.message, first.headers) == (second.message, second.headers)
    # For the time being: the next one asks at the old place again.
    assert (await call(link, "x", at=2))["echo"]["arguments"] == {"at": 2}
    assert targets(web) == ["/mcp", "/new/mcp?a=b"] * 2
    assert not link.calls
    assert link.is_open


async def test_what_has_moved_for_good_is_asked_at_its_new_place(web, link):
    web.moved = (308, b"/new")
    await call(link, "x")
    await call(link, "x")
    again = await connect(link._endpoint)
    await call(again, "x")
    assert targets(web) == ["/mcp", "/new", "/new", "/new"]


async def test_a_call_that_is_answered_by_events_follows_too(web, link):
    async def streams(request):
        stream(
            request,
            event(encode(method="notifications/message", params={"data": 1})),
            event(encode(id=request.id, result=DONE)),
        )

    web.on["streams"] = web._redirecting(streams)
    web.moved = (307, b"/new")
    mine = Calls()
    assert await call(link, "streams", mine) == DONE
    assert mine.told == [("notifications/message", {"data": 1})]


@pytest.mark.parametrize(
    ("status", "location", "reason"),
    [
        (
            307,
            b"https://other.example/mcp?token=1",
            "it redirects to https://other.example/mcp, which is another origin",
        ),
        (308, b"https://127.0.0.1/mcp", "it redirects to https://127.0.0.1/mcp, which is another origin"),
        (301, b"/new", r"it redirects to /new \(HTTP 301\): set that as the url"),
        (302, b"https://u:p@login.example/a?b", r"it redirects to https://login.example/a \(HTTP 302\)"),
        (303, b"/login", r"it redirects to /login \(HTTP 303\)"),
        (307, b"/mcp", "it redirects more than 3 times, last to /mcp: check the url"),
        (307, b"", "it answered HTTP 307, a redirect that leads nowhere: check the url"),
        (300, b"", "it answered HTTP 300, a redirect that leads nowhere: check the url"),
        (307, b"http://[::1/mcp", r"it redirects to a place that is none \(HTTP 307\)"),
        (307, b"http://127.0.0.1:99999/", r"it redirects to http://127.0.0.1:99999/ \(HTTP 307\)"),
        (307, b"mailto:admin@example.com", r"it redirects to admin@example.com \(HTTP 307\)"),
    ],
)
async def test_any_other_redirect_is_told_at_once(web, link, status, location, reason):
    web.moved = (status, location)
    with pytest.raises(UpstreamUnavailable, match=reason) as raised:
        await call(link, "x")
    assert "token" not in raised.value.reason
    assert "u:p" not in raised.value.reason
    assert not link.calls
    web.moved = None
    assert (await call(link, "x"))["echo"]["name"] == "x"


async def test_what_the_new_place_refuses_is_told_with_the_way_there(web, link):
    async def login(request):
        if request.target == "/login":
            request.peer.answer(b"<html>", b"content-type: text/html\r\n")
        else:
            request.peer.answer(headers=b"location: /login\r\n", status=b"307 Temporary Redirect")

    web.on["tools/call"] = web.on["x"] = login
    with pytest.raises(
        AnswerLost, match=r"it redirects to /login \(HTTP 307\), and there: it answered HTTP 200 with text/html"
    ):
        await call(link, "x")


async def test_the_time_of_a_call_includes_its_redirects(web, link):
    async def never(request):
        await asyncio.Event().wait()

    web.on["slow"] = web._redirecting(never)
    web.moved = (307, b"/new")
    with pytest.raises(AnswerLost, match=r"and there: no answer within 0.3 s"):
        await call(link, "slow", Calls(timeout=0.3))
    assert not link.calls


async def test_a_connect_that_fails_where_it_was_redirected_to_begins_at_the_given_url_again(web):
    web.moved = (308, b"/new")
    endpoint = HttpEndpoint("w", web.url)
    await (await connect(endpoint)).aclose()
    assert endpoint.url.endswith("/new")
    kept, web.moved = dict(web.on), None
    web.on |= {key: refuse(404) for key in ("initialize", "server/discover")}
    with pytest.raises(UpstreamUnavailable, match="there is no MCP endpoint at this URL"):
        await connect(endpoint)
    web.on = kept
    count = len(web.requests)
    assert (await connect(endpoint)).is_open
    assert {request.target for request in web.requests[count:]} == {"/mcp"}
    await endpoint.aclose()


# What is no call: legacy upstreams alone have it.


@pytest.fixture
async def legacy(server) -> AsyncIterator[Moving]:
    made = Moving(server)
    yield made
    await made.stop()


async def test_the_answer_to_a_question_follows(legacy):
    async def asks(request):
        stream(request, event(encode(id="q", method="elicitation/create", params={"message": "?"})), end=False)
        legacy.moved = (307, b"/new")
        await legacy.changes.until(lambda: [one for one in legacy.told("answer") if one.target == "/new"])
        request.peer.send(chunk(event(encode(id=request.id, result=DONE))), b"0\r\n\r\n")

    legacy.on["asks"] = asks
    endpoint = HttpEndpoint("w", legacy.url)
    link = await connect(endpoint)
    assert await call(link, "asks", Calls(timeout=DEADLINE)) == DONE
    assert legacy.told("answer")[-1].headers["mcp-session-id"] == SESSION
    await endpoint.aclose()


async def test_a_stream_is_resumed_where_it_has_moved_to(legacy):
    async def breaks(request):
        stream(request, b"id: 7\nretry: 1\ndata:\n\n", end=False)
        legacy.moved = (302, b"/new")
        request.peer.close()

    async def resumes(request):
        stream(request, event(encode(id=legacy.told("tools/call")[0].id, result=DONE)))

    legacy.on["breaks"], legacy.on["GET"] = breaks, legacy._redirecting(resumes)
    endpoint = HttpEndpoint("w", legacy.url)
    link = await connect(endpoint)
    assert await call(link, "breaks") == DONE
    assert [request.target for request in legacy.told("GET")] == ["/mcp", "/new"]
    assert legacy.told("GET")[-1].headers["last-event-id"] == "7"
    await endpoint.aclose()


async def test_a_stream_that_leads_to_another_origin_loses_the_answer(legacy):
    async def breaks(request):
        stream(request, b"id: 7\nretry: 1\ndata:\n\n", end=False)
        legacy.moved = (302, b"https://other.example/")
        request.peer.close()

    legacy.on["breaks"] = breaks
    endpoint = HttpEndpoint("w", legacy.url)
    link = await connect(endpoint)
    legacy.on["GET"] = legacy._redirecting(refuse(405))
    with pytest.raises(
        AnswerLost, match=r"when it was to be resumed, it redirects to https://other.example/, which is another"
    ):
        await call(link, "breaks")
    await endpoint.aclose()


@pytest.mark.parametrize("location", [b"/new", b"https://other.example/"])
async def test_the_sessions_own_stream_follows_or_is_done_without(legacy, monkeypatch, location):
    monkeypatch.setattr(session_stream, "RETRY", 0.01)

    async def opens(request):
        if request.target == "/new":
            stream(request, event(encode(method="notifications/tools/list_changed")), end=False)
        else:
            stream(request)
            legacy.moved = (307, location)

    legacy.on["GET"] = legacy._redirecting(opens)
    endpoint, listener = HttpEndpoint("w", legacy.url), Listens()
    link = await connect(endpoint, listener)
    await link.listen()
    if location == b"/new":
        await legacy.request("GET", 3)
        while not listener.told:
            await asyncio.sleep(0)
        assert listener.told == [("notifications/tools/list_changed", {})]
    else:
        await legacy.request("GET", 2)
        await asyncio.wait([link._standing._task], timeout=DEADLINE)
    assert link.is_open
    await endpoint.aclose()


async def test_the_transport_of_2024_follows_with_its_stream_and_its_messages(server):
    from meshproxy.links.sse import SseEndpoint

    class Moved(SseWeb):
        async def open(self, request):
            if request.target == "/mcp":
                request.peer.answer(headers=b"location: /v2/sse\r\n", status=b"301 Moved Permanently")
            else:
                await super().open(request)

        async def _unknown(self, request):
            if request.target.startswith("/v2/messages"):
                request.peer.answer(headers=b"location: /v3/messages\r\n", status=b"307 Temporary Redirect")
            else:
                await super()._unknown(request)

    web = Moved(server)
    web.endpoint = b"messages?session=1"
    endpoint = SseEndpoint("w", web.url)
    link = await connect(endpoint)
    assert (await call(link, "x"))["echo"]["name"] == "x"
    assert [request.target for request in web.told("tools/call")] == ["/v2/messages?session=1", "/v3/messages"]

    async def away(request):
        request.peer.answer(headers=b"location: https://other.example/\r\n", status=b"307 Temporary Redirect")

    web.on["y"] = away
    with pytest.raises(UpstreamUnavailable, match="which is another origin"):
        await call(link, "y")
    assert not link.calls
    await endpoint.aclose()
    await web.stop()


# The words.


def test_an_origin_is_scheme_host_and_port_whatever_they_are_written_as():
    assert origin_of("HTTP://Example.COM/a") == origin_of("http://u:p@example.com:80/b?c")
    assert origin_of("https://example.com") == origin_of("https://example.com:443")
    assert len({origin_of(url) for url in ("http://a", "https://a", "http://b", "http://a:8080")}) == 4


@pytest.mark.parametrize("location", ["http://[", "http://a:b/", "mailto:a@b"])
def test_what_names_no_place_resolves_to_none(location):
    assert resolved("http://example.com/mcp", location) is None


def test_a_place_is_shown_without_secrets_and_in_one_short_line():
    assert shown("https://u:p@example.com/a?token=1#x") == "https://example.com/a"
    assert shown("/ä\x85" + "x" * 500) == "/??" + "x" * 197
    assert shown("?a=b") == "a place that is none"
