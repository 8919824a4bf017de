"""Handlers in the shape of FastMCP's clients, at real upstreams: what they are given, and what the upstream gets."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CreateMessageResult, ElicitResult, Root, TextContent
from meshproxy.links.target import Command
from meshproxy.relay.answerers import MODEL
from meshproxy.relay.handlers import Handlers
from meshproxy.serving.fastmcp import FastMCPProxy
from meshproxy.upstream.client import ProxyClient
from tests.kit.clients import ELICIT, ROOTS, SAMPLE, Legacy, Modern
from tests.kit.light import LIGHT
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

UPSTREAM = Command(sys.executable, ["-IS", LIGHT])
FORM = [ELICIT[0], {**ELICIT[1], "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}]
URL = ["elicitation/create", {"mode": "url", "message": "Log in", "url": "https://x/", "elicitationId": "1"}]


async def answers(question: list[Any], client: type[Legacy] | type[Modern] = Legacy, **handlers: Any) -> Any:
    """What an upstream is answered that asks in the middle of a call."""
    async with asyncio.timeout(DEADLINE), FastMCPProxy(ProxyClient(UPSTREAM, **handlers)) as server:
        said = await client(server).call("echo", ask=[[question]])
    (answer,) = said["structuredContent"]["answers"]
    return answer


async def test_roots_may_be_a_list_of_whatever_names_them(tmp_path: Path) -> None:
    roots = ["file:///a", tmp_path, Root(uri="file:///b", name="b"), {"uri": "file:///c"}]
    assert await answers(ROOTS, roots=roots) == {
        "roots": [
            {"uri": "file:///a"},
            {"uri": tmp_path.as_uri()},
            {"uri": "file:///b", "name": "b"},
            {"uri": "file:///c"},
        ]
    }


async def test_roots_may_be_a_function_sync_or_async_of_the_context() -> None:
    def now(context: Any) -> list[str]:
        return [f"file:///{context.downstream.era}"]

    async def later(context: Any) -> list[str]:
        return now(context)

    for roots in (now, later):
        assert await answers(ROOTS, roots=roots) == {"roots": [{"uri": "file:///legacy"}]}


async def test_sampling_is_given_the_messages_the_parameters_and_the_context() -> None:
    seen = []

    def sample(messages: Any, params: Any, context: Any) -> str:
        seen.append((messages, params.max_tokens, context.downstream.era))
        return "four"

    assert await answers(SAMPLE, sampling_handler=sample) == {
        "role": "assistant",
        "model": MODEL,
        "content": {"type": "text", "text": "four"},
    }
    assert seen == [([], 1, "legacy")]


async def test_sampling_may_give_a_result_of_the_sdk() -> None:
    async def sample(_messages: Any, _params: Any, _context: Any) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", model="m", content=TextContent(text="x"), stop_reason="endTurn")

    answer = await answers(SAMPLE, sampling_handler=sample)
    assert (answer["model"], answer["stopReason"], answer["content"]["text"]) == ("m", "endTurn", "x")


async def test_an_elicitation_is_accepted_with_the_content_that_is_given() -> None:
    async def elicit(message: str, response_type: Any, _params: Any, _context: Any) -> Any:
        return response_type(name=message)

    assert await answers(FORM, elicitation_handler=elicit) == {"action": "accept", "content": {"name": "What is it?"}}


async def test_an_elicitation_may_be_declined_and_a_url_has_no_type() -> None:
    types = []

    def elicit(_message: str, response_type: Any, params: Any, _context: Any) -> ElicitResult:
        types.append((response_type, getattr(params, "url", None)))
        return ElicitResult(action="decline")

    assert await answers(URL, elicitation_handler=elicit) == {"action": "decline"}
    assert types == [(None, "https://x/")]


@dataclass
class Form:
    name: str


async def test_content_may_be_a_dataclass() -> None:
    def elicit(_message: str, _response_type: Any, _params: Any, _context: Any) -> Form:
        return Form("Ada")

    assert await answers(FORM, elicitation_handler=elicit) == {"action": "accept", "content": {"name": "Ada"}}


async def test_handlers_in_the_shape_of_ours_stay_what_they_are_and_may_be_sync() -> None:
    async def asked(_context: Any, params: Any) -> dict[str, Any]:
        return {"roots": []}

    def at_once(_context: Any, _params: Any) -> dict[str, Any]:
        return {"action": "cancel"}

    client = ProxyClient(UPSTREAM, roots=asked, sampling_handler=asked, handlers=Handlers(elicitation=asked))
    assert (client.handlers.roots, client.handlers.sampling, client.handlers.elicitation) == (asked, asked, asked)
    assert client.handlers.log is Handlers().log
    assert client.new().handlers == client.handlers
    assert await answers(ELICIT, elicitation_handler=at_once) == {"action": "cancel"}


async def test_an_answer_that_is_none_is_the_callers_error_and_no_traceback() -> None:
    answer = await answers(ROOTS, roots=lambda _context: 1)
    assert answer["code"] == -32603
    assert "Traceback" not in str(answer)


@pytest.mark.parametrize(
    "handlers",
    [
        {"roots": lambda _1, _2, _3: []},
        {"sampling_handler": lambda _: ""},
        {"elicitation_handler": lambda _1, _2, _3: {}},
        {"log_handler": lambda: None},
        {"progress_handler": lambda _: None},
    ],
    ids=lambda handlers: next(iter(handlers)),
)
def test_a_handler_that_takes_anything_else_is_refused_when_it_is_given(handlers: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=rf"{next(iter(handlers))} takes the context and the parameters, or"):
        ProxyClient(UPSTREAM, **handlers)
    with pytest.raises(TypeError, match=r"must be a function|must be a list"):
        ProxyClient(UPSTREAM, **dict.fromkeys(handlers, 1))


async def test_log_lines_and_progress_are_heard_in_order_sync_or_async() -> None:
    heard: list[Any] = []
    last = asyncio.Event()

    async def log(message: Any) -> None:
        heard.append((message.level, message.data))
        if message.data == "last":
            last.set()

    def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    told = [["notifications/message", {"level": "info", "data": word}] for word in ("first", "last")]
    told.insert(1, ["notifications/progress", {"progressToken": "p", "progress": 1, "total": 2, "message": "half"}])
    client = ProxyClient(UPSTREAM, log_handler=log, progress_handler=progress)
    async with asyncio.timeout(DEADLINE), FastMCPProxy(client) as server:
        await Legacy(server).call("echo", _token="p", notify=told)
        await last.wait()
    assert [line for line in heard if len(line) == 2] == [("info", "first"), ("info", "last")]


async def test_a_handler_that_fails_is_told_in_the_log_and_ends_nothing(journal: Any) -> None:
    async def log(_message: Any) -> None:
        raise ValueError("mine")

    client = ProxyClient(UPSTREAM, log_handler=log)
    async with asyncio.timeout(DEADLINE), FastMCPProxy(client) as server:
        told = [["notifications/message", {"level": "info", "data": 1}]]
        assert await Legacy(server).call("echo", notify=told)
        assert (await journal.until("handler.failed"))["error"] == "ValueError('mine')"
