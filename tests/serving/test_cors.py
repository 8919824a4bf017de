"""A page in a browser can use the endpoint, of either era, if its origin is allowed; and no other page can."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.kit import echo
from tests.kit.echo import Served, served
from tests.kit.messages import call, frames, messages_in, modern, request, text_of
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

PAGE = "https://chat.example.com"
SAFELISTED = {"accept", "accept-language", "content-language"}
READABLE = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"}


@pytest.fixture(params=["own", "uvicorn"], autouse=True)
def run_app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "run_app", echo.own_server if request.param == "own" else echo.uvicorn_server)


class Blocked(Exception):
    """The browser keeps the answer from the page: all that the page hears is "TypeError: Failed to fetch"."""


class Browser:
    """`fetch` of a page, as the Fetch standard has it (4.8 to 4.10), without a cache for preflights."""

    def __init__(self, server: Served, origin: str = PAGE) -> None:
        self.server = server
        self.origin = origin
        self.preflights = 0

    @contextlib.asynccontextmanager
    async def fetch(
        self, method: str, content: bytes = b"", headers: dict[str, str] | None = None, path: str | None = None
    ) -> AsyncIterator[httpx2.Response]:
        url = self.server.url if path is None else f"http://127.0.0.1:{self.server.port}{path}"
        headers = headers or {}
        unsafe = sorted({name.lower() for name in headers} - SAFELISTED)
        if method not in ("GET", "HEAD", "POST") or unsafe:
            await self._preflight(url, method, unsafe)
        sent = {**headers, "origin": self.origin}
        async with self.server.http.stream(method, url, content=content, headers=sent) as response:
            self._check(response)
            exposed = {name.strip().lower() for name in response.headers["access-control-expose-headers"].split(",")}
            for name in set(response.headers) - exposed - READABLE:
                del response.headers[name]
            yield response

    async def post(self, message: Any, **headers: str | None) -> tuple[httpx2.Response, str]:
        content = message if isinstance(message, bytes) else echo.json.dumps(message).encode()
        async with self.fetch("POST", content, echo.heads(**headers)) as response:
            return response, (await response.aread()).decode()

    async def _preflight(self, url: str, method: str, unsafe: list[str]) -> None:
        self.preflights += 1
        asked = {"origin": self.origin, "access-control-request-method": method}
        if unsafe:
            asked["access-control-request-headers"] = ",".join(unsafe)
        answer = await self.server.http.request("OPTIONS", url, headers=asked)
        self._check(answer)
        if not 200 <= answer.status_code < 300:
            raise Blocked(f"the preflight was answered {answer.status_code}")
        methods = {one.strip() for one in answer.headers.get("access-control-allow-methods", "").split(",")}
        allowed = {one.strip().lower() for one in answer.headers.get("access-control-allow-headers", "").split(",")}
        if method not in methods | {"GET", "HEAD", "POST"} or not set(unsafe) <= allowed:
            raise Blocked(f"{method} with {unsafe} is not allowed")

    def _check(self, response: httpx2.Response) -> None:
        # One value, and not two: a browser takes no list.
        if response.headers.get_list("access-control-allow-origin") != [self.origin]:
            raise Blocked(f"HTTP {response.status_code} is not for {self.origin}")
        assert "Origin" in response.headers["vary"]


async def test_a_page_has_a_session_from_its_first_request_to_its_last() -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        browser = Browser(server)
        greeting = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "page", "version": "1"}}
        response, _ = await browser.post(request("initialize", greeting, 0))
        session = {"mcp_session_id": response.headers["mcp-session-id"], "mcp_protocol_version": "2025-11-25"}
        assert (await browser.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, **session))[
            0
        ].status_code == 202
        response, text = await browser.post(call("echo", text="hi"), **session)
        assert response.headers["content-type"] == "application/json"
        assert text_of(echo.json.loads(text)) == "hi"
        response, text = await browser.post(call("progress", 2, {"progressToken": 1}, steps=2), **session)
        assert response.headers["content-type"] == "text/event-stream"
        assert messages_in(text)[-1]["id"] == 2
        heads = echo.heads(accept="text/event-stream", content_type=None, **session)
        async with browser.fetch("GET", headers=heads) as stream:
            assert stream.headers["content-type"] == "text/event-stream"
        async with browser.fetch("GET", headers={**heads, "Last-Event-ID": "9-9"}) as refused:
            assert refused.status_code == 400
        heads = echo.heads(content_type=None, **session)
        async with browser.fetch("DELETE", headers=heads) as ended:
            assert ended.status_code == 200
        assert (await browser.post(request("ping"), **session))[0].status_code == 404
        assert browser.preflights == 8


async def test_a_page_of_the_modern_era_calls_and_listens() -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        browser = Browser(server)
        message, heads = modern(call("echo", text="hi"))
        _, text = await browser.post(message, **heads, mcp_param_region="eu", authorization="Bearer x")
        assert text_of(echo.json.loads(text)) == "hi"
        message, heads = modern(call("progress", 2, {"progressToken": 1}, steps=2))
        _, text = await browser.post(message, **heads)
        assert messages_in(text)[-1]["id"] == 2
        message, heads = modern(request("subscriptions/listen", {"notifications": {}}))
        content = echo.json.dumps(message).encode()
        async with browser.fetch("POST", content, echo.heads(**heads)) as stream, asyncio.timeout(DEADLINE):
            async for frame in frames(stream):
                assert frame["method"] == "notifications/subscriptions/acknowledged"
                break


@pytest.mark.parametrize(
    ("status", "content", "headers"),
    [
        (400, b"{", {}),
        (400, b"{}", {}),
        (400, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {}),
        (404, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"mcp_session_id": "gone"}),
        (406, b"{}", {"accept": "text/html"}),
        (413, b"x" * 2000, {}),
        (415, b"{}", {"content_type": "text/plain"}),
        (421, b"{}", {"host": "evil.example.com"}),
        (400, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"mcp_protocol_version": "2026-07-28"}),
    ],
)
async def test_a_page_learns_why_it_is_refused(status: int, content: bytes, headers: dict[str, str]) -> None:
    async with served(allowed_origins=(PAGE,), max_body=1000) as server:
        response, _ = await Browser(server).post(content, **headers)
        assert response.status_code == status


async def test_a_page_learns_that_the_server_is_about_to_end_and_that_there_is_nothing_elsewhere() -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        browser = Browser(server)
        async with browser.fetch("GET", path="/healthz") as healthy:
            assert healthy.status_code == 200
        metadata = "/.well-known/oauth-protected-resource/mcp"
        async with browser.fetch("GET", headers={"MCP-Protocol-Version": "2025-11-25"}, path=metadata) as missing:
            assert missing.status_code == 404
        await server.app.aclose()
        response = await server.http.post(server.url, content=b"{}", headers={**echo.heads(), "origin": PAGE})
        assert response.status_code == 503
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "Retry-After" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("https://chat.example.com", "https://chat.example.com:8443"),
        ("http://app.test:*", "http://app.test:3000"),
        ("*", "http://anything.example"),
        ("*", "null"),
        ("null", "null"),
        ("https://Chat.Example.com/", "https://chat.example.com"),
        ("https://other.example.com", "http://localhost:6274"),
        ("https://other.example.com", "http://[::1]:6274"),
    ],
)
async def test_an_origin_may_be_allowed_in_several_ways(allowed: str, origin: str) -> None:
    async with served(allowed_origins=(allowed,)) as server:
        response, _ = await Browser(server, origin).post(request("ping"))
        assert response.status_code == 400


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "http://chat.example.com", "null", "https://chat.example.com.evil.com"]
)
async def test_no_other_page_gets_past_its_preflight_or_reads_an_answer(origin: str) -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        asked = {"origin": origin, "access-control-request-method": "POST"}
        for path in ("/mcp", "/elsewhere", "/healthz"):
            answer = await server.http.request("OPTIONS", f"http://127.0.0.1:{server.port}{path}", headers=asked)
            assert "access-control-allow-origin" not in answer.headers
        response = await server.post(request("ping"), origin=origin)
        assert response.status_code == 403
        assert "add it to server.allowed_origins" in response.text
        assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_preflight_by_a_foreign_name_is_refused() -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        asked = {"origin": PAGE, "access-control-request-method": "POST", "host": "evil.example.com"}
        assert (await server.http.request("OPTIONS", server.url, headers=asked)).status_code == 421


async def test_a_page_may_come_from_the_internet_to_a_private_address_if_the_browser_asks() -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        asked = {"origin": PAGE, "access-control-request-method": "POST"}
        answer = await server.http.request("OPTIONS", server.url, headers=asked)
        assert "access-control-allow-private-network" not in answer.headers
        asked["access-control-request-private-network"] = "true"
        answer = await server.http.request("OPTIONS", server.url, headers=asked)
        assert answer.headers["access-control-allow-private-network"] == "true"
        assert answer.status_code == 204
        assert not answer.content


async def test_what_is_no_header_name_is_not_repeated() -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        asked = {
            "origin": PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": 'x-a, b c,,X-A,*"d',
        }
        allowed = (await server.http.request("OPTIONS", server.url, headers=asked)).headers[
            "access-control-allow-headers"
        ]
        assert allowed.endswith("mcp-session-id, x-a")


async def test_what_is_no_page_is_told_nothing_of_it() -> None:
    async with served(allowed_origins=(PAGE,)) as server:
        headers = await server.open()
        for _ in range(2):
            response = await server.post(call("echo", text="hi"), **headers)
            assert text_of(response.json()) == "hi"
            assert not {"vary", "access-control-allow-origin"} & set(response.headers)
        response = await server.http.request("OPTIONS", server.url)
        assert response.status_code == 405
