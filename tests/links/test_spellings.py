"""Servers that spell their messages a little wrong are understood over every transport, and the log says once what was wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproxy.eras.translate import opened_result
from meshproxy.errors import AnswerLost, RpcError
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.link import Link
from meshproxy.links.sse import SseEndpoint
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.wire.codec import opened
from tests.kit.journal import Journal
from tests.kit.links import Calls, Listens, call, connect, scripted
from tests.kit.spelling import HALF, SPELLINGS, UNSAID, WORD, half, plain
from tests.kit.waiting import DEADLINE
from tests.kit.web import INITIALIZED, Request, Web, accept, chunk, encode, event, stream

pytestmark = pytest.mark.anyio

RESULT = {"content": [{"type": "text", "text": WORD}]}
TRANSPORTS = ["stdio", "json", "stream", "sse"]


class Speller(Web):
    """A server at a URL that answers by `transport`, each message in the `spell` of the test."""

    def __init__(self, raw: Any, transport: str, spell: Any) -> None:
        super().__init__(raw)
        self.transport, self.spell = transport, spell
        self.events: Request | None = None
        self.on["initialize"] = self._initialize
        if transport == "sse":
            self.on["GET"] = self._open

    async def _open(self, request: Request) -> None:
        self.events = request
        stream(request, event(b"/messages", event="endpoint"), end=False)

    async def _initialize(self, request: Request) -> None:
        await self.say(request, {"jsonrpc": "2.0", "id": request.id, "result": INITIALIZED})

    async def _unknown(self, request: Request) -> None:
        outcome = (
            {"error": {"code": -7, "message": WORD}}
            if request.message["params"].get("name") == "no"
            else {"result": RESULT}
        )
        await self.say(request, {"jsonrpc": "2.0", "id": request.id, **outcome})

    async def say(self, request: Request, message: dict[str, Any]) -> None:
        data = self.spell(message)
        if self.transport == "json":
            request.peer.answer(data, b"content-type: application/json; charset=utf-8\r\n")
        elif self.transport == "stream":
            stream(request, event(data))
        elif self.events is not None:
            await accept(request)
            self.events.peer.send(chunk(event(data)))


@pytest.fixture
async def reach(server: Any) -> AsyncIterator[Any]:
    """`reach(transport, spell)`: the endpoint of a server whose messages are spelled so; `reach.web` is the server, if it is at a URL."""
    made = Reach(server)
    yield made
    if made.endpoint is not None:
        await made.endpoint.aclose()
    if made.web is not None:
        await made.web.stop()


class Reach:
    def __init__(self, server: Any) -> None:
        self.server = server
        self.endpoint: Endpoint | None = None
        self.web: Speller | None = None

    def __call__(self, transport: str, spelling: str) -> Endpoint:
        if transport == "stdio":
            self.endpoint = scripted(spelling)
        else:
            self.web = Speller(self.server, transport, half if spelling == HALF else SPELLINGS[spelling])
            self.endpoint = (SseEndpoint if transport == "sse" else HttpEndpoint)("w", self.web.url)
        return self.endpoint


async def word(link: Link, relayed: Any) -> Any:
    """What the tool answers, read as the relay reads it, since the link does not read a result that is relayed."""
    result = await link.request("tools/call", {"name": "word"}, relayed)
    content = opened(opened_result("tools/call", result)[1]["content"])
    return opened(content[0])["text"]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_server_is_understood(transport: str, spelling: str, reach: Reach, journal: Journal) -> None:
    endpoint = reach(transport, spelling)
    link = await connect(endpoint)
    expected = WORD if spelling != "another encoding" else "Gr\ufffd\ufffde"
    for relayed in (None, Calls(timeout=DEADLINE), Calls(timeout=DEADLINE)):
        assert await word(link, relayed) == expected
        if relayed and spelling == "company":
            # What comes with the answer comes before it, to whoever the transport can tell.
            told = relayed if transport in ("json", "stream") else None
            assert told is None or told.told == [("notifications/message", {"level": "info", "data": "first"})]
    said = [entry for entry in journal.all if entry["level"] == "warning"]
    # A body of JSON is the answer to what it is the response to, however it is numbered.
    is_unsaid = spelling in UNSAID or (transport, spelling) == ("json", "its id as a text")
    assert [(entry["event"], entry["upstream"]) for entry in said] == (
        [] if is_unsaid else [("upstream.mended", endpoint.name)]
    )
    # A second session of the same server is no news.
    await link.aclose()
    await (await connect(endpoint)).aclose()
    assert len([entry for entry in journal.all if entry["level"] == "warning"]) == len(said)


@pytest.mark.parametrize("transport", ["json", "stream", "sse"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_an_error_is_understood_likewise(transport: str, spelling: str, reach: Reach) -> None:
    link = await connect(reach(transport, spelling))
    with pytest.raises(RpcError) as refused:
        await call(link, "no", Calls(timeout=DEADLINE))
    assert refused.value.code == -7
    assert refused.value.message in (WORD, "Gr\ufffd\ufffde")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("is_relayed", [False, True])
async def test_an_answer_that_nobody_can_read_is_the_end_of_its_request_alone(
    transport: str, reach: Reach, *, is_relayed: bool
) -> None:
    link = await connect(reach(transport, HALF))
    with pytest.raises(AnswerLost, match=r"cannot be read|is not MCP"):
        async with asyncio.timeout(DEADLINE):
            await call(link, "word", Calls() if is_relayed else None)
    assert link.is_open


@pytest.mark.parametrize(
    "head", [b"content-type: application/json\r\n", b"Content-Type: text/plain;charset=utf-8\r\n", b""]
)
async def test_an_event_stream_is_read_that_calls_itself_something_else(head: bytes, reach: Reach) -> None:
    link = await connect(reach("json", "members of its own"))

    async def behave(request: Request) -> None:
        note = encode(method="notifications/message", params={"level": "info", "data": "first"})
        answered = encode(id=request.id, result=RESULT)
        request.peer.answer(b": hello\n\n" + event(note) + event(answered, event="message", id="1"), head)

    assert reach.web is not None
    reach.web.on["word"] = behave
    relayed = Calls()
    assert await word(link, relayed) == WORD
    assert relayed.told == [("notifications/message", {"level": "info", "data": "first"})]


async def test_null_for_no_parameters_is_none_and_a_progress_token_may_be_a_text_on_pipes(reach: Reach) -> None:
    listener, relayed = Listens(), Calls(wants_progress=True)
    link = await connect(reach("stdio", "plain"), listener)
    answered = await call(link, "nulls", relayed)
    assert json.loads(answered["content"][0]["text"])["result"] == listener.answer
    assert listener.told == [("notifications/tools/list_changed", {})]
    assert listener.asked == [("roots/list", {})]
    assert [(method, params["progress"]) for method, params in relayed.told] == [("notifications/progress", 1)]


async def test_null_for_no_parameters_is_none_and_a_progress_token_may_be_a_text_on_a_stream(reach: Reach) -> None:
    link = await connect(reach("stream", "members of its own"))

    async def behave(request: Request) -> None:
        token = str(request.message["params"]["_meta"]["progressToken"])
        stream(
            request,
            event(encode(method="notifications/tools/list_changed", params=None)),
            event(encode(method="notifications/progress", params={"progressToken": token, "progress": 1})),
            event(encode(id="q", method="roots/list", params=None)),
            end=False,
        )
        assert reach.web is not None
        asked = await reach.web.request("answer")
        request.peer.send(chunk(event(encode(id=request.id, result={"answered": asked.message}))), b"0\r\n\r\n")

    assert reach.web is not None
    reach.web.on["nulls"] = behave
    relayed = Calls(wants_progress=True)
    assert (await call(link, "nulls", relayed))["answered"]["result"] == relayed.answer
    assert [method for method, _ in relayed.told] == ["notifications/tools/list_changed", "notifications/progress"]
    assert relayed.asked == [("roots/list", {})]


@pytest.mark.parametrize("transport", ["json", "stream"])
async def test_an_error_without_an_id_is_the_answer_to_what_it_is_the_response_to(transport: str, reach: Reach) -> None:
    link = await connect(reach(transport, "members of its own"))
    assert reach.web is not None
    web = reach.web

    async def behave(request: Request) -> None:
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "first"}}
        if transport == "stream":
            stream(request, event(plain(note)), event(encode(id=None, error={"code": -7, "message": "no"})))
        else:
            await web.say(request, {"jsonrpc": "2.0", "id": None, "error": {"code": -7, "message": "no"}})

    web.on["x"] = behave
    with pytest.raises(RpcError, match="no"):
        await call(link, "x", Calls(timeout=DEADLINE))
