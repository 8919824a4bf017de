"""Whatever a request ends with, whoever listens is told once, and nothing that may not be read by others."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproxy.config.models import MeshConfig
from meshproxy.errors import AnswerLost, RpcError
from meshproxy.observe.record import Record
from meshproxy.relay.downstream import RequestContext, Result
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.memory import connect_memory
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.codec import Raw, opened
from meshproxy.wire.protocol import Era
from tests.kit.clients import ABLE, ELICIT, Client, Legacy, Modern, visitor
from tests.kit.journal import Journal
from tests.kit.messages import call, heads, modern
from tests.kit.raw_client import served
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE, Changes
from tests.kit.wires import Gate, Wire, WireEndpoint

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("client", [Legacy, Modern])
UPSTREAM_ERAS = pytest.mark.parametrize("era", [Era.LEGACY, Era.MODERN])
TEXT = {"content": [{"type": "text", "text": "hello"}]}


class Watched:
    """A server before one wire, and what it has told of its requests."""

    def __init__(self, server: FastMCP, wire: Wire) -> None:
        self.server, self.wire = server, wire
        self.records: list[Record] = []
        self.arguments: list[Any] = []
        self.outcomes: list[Any] = []
        self.changes = Changes()
        self.forget = server.recorder.listen(self._take)

    def _take(self, record: Record, outcome: Any) -> None:
        self.records.append(record)
        self.arguments.append(opened(record.params.get("arguments")))
        self.outcomes.append(outcome)
        self.changes.made()

    async def one(self) -> Record:
        """The only request that has ended."""
        [record] = await self.changes.until(lambda: self.records, lambda: "no request has ended")
        return record


@contextlib.asynccontextmanager
async def watched(
    answer: Any = TEXT, era: Era = Era.LEGACY, kind: type[FastMCP] = FastMCP, **answers: Any
) -> AsyncIterator[Watched]:
    listings = {
        "tools__list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
        "prompts__list": {"prompts": [{"name": "p"}]},
        "resources__list": {"resources": [{"uri": "r://x", "name": "x"}]},
        "resources__templates__list": {"resourceTemplates": [{"uriTemplate": "s://{v}", "name": "v"}]},
    }
    wire = Wire(era, tools__call=answer, **(listings | answers))
    server = kind("m")
    server.add_provider(ProxyProvider(ProxyClient(WireEndpoint(wire, name="up"), name="up"), session="shared"), "n")
    async with server:
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(one.provider.settled() for one in server.composite.mounted))
        yield Watched(server, wire)


@ERAS
@UPSTREAM_ERAS
async def test_a_call_is_told_with_who_what_where_and_how_long(client: type[Client], era: Era) -> None:
    async with watched(era=era) as it:
        caller = client(it.server)
        caller.visitor = caller.caller().visitor = visitor("ada")
        await caller.request("tools/call", {"name": "n_t", "arguments": {"a": 1}})
        record = await it.one()
        assert (record.method, record.name, record.origin, record.upstream) == ("tools/call", "n_t", "t", "up")
        assert (record.principal, record.era, record.upstream_era) == ("key:ada", caller.era, era)
        assert (record.outcome, record.error, record.code, record.reason) == ("success", "", 0, "")
        assert record.is_offered
        assert record.started <= record.sent <= record.answered <= record.ended
        assert record.waiting + record.at_upstream + record.back == pytest.approx(record.seconds)
        assert record.asked_bytes == len('{"a": 1}')
        assert record.answered_bytes >= len('{"content":[{"type":"text","text":"hello"}]}')
        assert it.arguments == [{"a": 1}]
        assert record.params == {}, "what was asked is let go when everybody was told"


@ERAS
@UPSTREAM_ERAS
@pytest.mark.parametrize("more", [{}, {"content": [{"type": "image", "data": "", "mimeType": "image/png"}]}, {"x": 1}])
async def test_a_tool_that_says_that_it_failed_is_a_failure(client: type[Client], era: Era, more: Any) -> None:
    async with watched(TEXT | more | {"isError": True}, era) as it:
        await client(it.server).request("tools/call", {"name": "n_t"})
        record = await it.one()
        assert (record.outcome, record.error) == ("failure", "tool_error")


async def test_a_text_that_looks_like_a_failure_is_none() -> None:
    text = {"content": [{"type": "text", "text": '"isError":true'}], "structuredContent": {"isError": True}}
    async with watched(text) as it:
        await Legacy(it.server).request("tools/call", {"name": "n_t"})
        assert (await it.one()).outcome == "success"


@ERAS
async def test_an_error_is_told_with_its_code_and_its_words(client: type[Client]) -> None:
    async with watched(RpcError(-32602, "no such city")) as it:
        with pytest.raises(RpcError):
            await client(it.server).request("tools/call", {"name": "n_t"})
        record = await it.one()
        assert (record.outcome, record.error, record.code, record.reason) == ("error", "-32602", -32602, "no such city")
        assert (record.name, record.upstream) == ("n_t", "up")


@ERAS
async def test_a_lost_answer_is_told_by_what_happened(client: type[Client]) -> None:
    def lost(_params: Any, _call: Any) -> Any:
        raise AnswerLost("up", "it broke off")

    async with watched(lost) as it:
        with pytest.raises(RpcError, match="broke off"):
            await client(it.server).request("tools/call", {"name": "n_t"})
        record = await it.one()
        assert (record.outcome, record.error, record.code) == ("error", "AnswerLost", -32603)
        assert 0 < record.sent <= record.answered


@ERAS
async def test_a_name_that_nobody_has_is_an_error_of_no_component(client: type[Client]) -> None:
    async with watched() as it:
        with pytest.raises(RpcError):
            await client(it.server).request("tools/call", {"name": "made up"})
        record = await it.one()
        assert (record.outcome, record.code, record.name, record.is_offered) == ("error", -32602, "made up", False)
        assert (record.upstream, record.sent, record.upstream_era) == ("", 0.0, "")
        assert (record.at_upstream, record.back) == (0.0, 0.0)
        assert record.waiting == record.seconds


@ERAS
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "n_t"}),
        ("prompts/get", {"name": "n_p"}),
        ("resources/read", {"uri": "r://n/x"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "n_p"}, "argument": {"name": "a", "value": ""}}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "s://n/{v}"}, "argument": {"name": "v", "value": ""}}),
    ],
)  # fmt: skip
async def test_what_its_caller_may_not_use_is_denied(client: type[Client], method: str, params: Any) -> None:
    async with watched() as it:
        for rules in ([{"deny": ["*"]}], [{"allow": ["*"]}]):
            it.server.take(MeshConfig.model_validate({"access": rules}))
            it.server.composite.refresh()
            caller = client(it.server)
            with contextlib.suppress(RpcError):
                await caller.request(method, params)
        denied, other = it.records
        code = -32002 if (method, client) == ("resources/read", Legacy) else -32602
        assert (denied.outcome, denied.code, denied.upstream) == ("denied", code, "")
        assert denied.name == other.name != ""
        assert other.outcome != "denied"
        assert other.upstream == "up"


@ERAS
async def test_what_its_caller_does_not_agree_to_is_denied(client: type[Client]) -> None:
    async with watched() as it:
        it.server.take(MeshConfig.model_validate({"access": [{"allow": ["*"], "confirm": "destructive"}]}))
        it.server.composite.refresh()
        refusing = client(it.server, answers={"elicitation/create": lambda _: {"action": "decline"}})
        await refusing.call("n_t")
        unable = client(it.server, {})
        with pytest.raises(RpcError):
            await unable.call("n_t")
        *_, declined, not_asked = it.records
        for record in (declined, not_asked):
            assert (record.outcome, record.upstream, record.name, record.origin) == ("denied", "up", "n_t", "t")
        assert it.wire.of("tools/call") == []


@ERAS
async def test_a_call_that_is_given_up_is_told_as_such(client: type[Client]) -> None:
    gate = Gate(TEXT)
    async with watched(gate) as it:
        calling = asyncio.ensure_future(client(it.server, {}).request("tools/call", {"name": "n_t"}))
        await gate.entered.wait()
        calling.cancel()
        record = await it.one()
        assert (record.outcome, record.error, record.upstream) == ("error", "cancelled", "up")
        with pytest.raises(asyncio.CancelledError):
            await calling


async def test_a_question_ends_a_modern_request_and_its_retry_is_another() -> None:
    async def asks(_params: Any, call: Any) -> Any:
        await call.on_request(*ELICIT)
        return TEXT | {"isError": True}

    async with watched(asks) as it:
        await Modern(it.server, ABLE).call("n_t")
        first, second = it.records
        assert (first.outcome, second.outcome) == ("success", "failure")
        assert first.number < second.number


async def test_a_server_that_answers_itself_is_recorded_and_a_defect_told_by_its_name() -> None:
    class Broken(FastMCP):
        async def on_request(self, context: RequestContext, method: str, params: dict[str, Any]) -> Result:
            raise ZeroDivisionError(method)

    async with watched(kind=Broken) as it:
        with pytest.raises(ZeroDivisionError):
            await Legacy(it.server).request("tools/list")
        record = await it.one()
        assert (record.method, record.outcome, record.error, record.reason) == (
            "tools/list",
            "error",
            "ZeroDivisionError",
            "",
        )


async def test_a_listener_that_fails_costs_nobody_anything(journal: Journal) -> None:
    async with watched() as it:

        def fail(_record: Record, _outcome: Any) -> None:
            raise ZeroDivisionError

        forget = it.server.recorder.listen(fail)
        last = Watched(it.server, it.wire)
        assert (await Legacy(it.server).request("ping")) == {}
        assert [record.method for record in (*it.records, *last.records)] == ["ping", "ping"]
        assert "call.unwatched" in [event["event"] for event in journal.all]
        for each in (forget, it.forget, last.forget):
            each()
        await Legacy(it.server).request("ping")
        assert len(it.records) == 1
        assert it.server.recorder.listeners == ()


async def test_a_session_is_told_apart_and_cannot_be_used_by_who_reads_of_it() -> None:
    async with watched() as it:
        one, other = Legacy(it.server), Legacy(it.server)
        for client in (one, one, other):
            await client.request("tools/list")
        first, same, second = it.records
        assert first.session == same.session != second.session
        assert one.session.key not in str(first.shown())
        assert first.shown()["session"] == first.session


async def test_what_is_shown_has_no_empty_fields_and_times_in_seconds() -> None:
    async with watched() as it:
        await Modern(it.server).request("tools/call", {"name": "n_t"})
        shown = (await it.one()).shown()
        assert {"number", "at", "method", "name", "origin", "upstream", "seconds", "parts", "bytes"} <= set(shown)
        assert not {"session", "error", "code", "profile"} & set(shown)
        assert set(shown["parts"]) == {"waiting", "upstream", "back"}
        assert str(it.records[0]) == "<Record 1 tools/call 'n_t' success>"


# The ways in


async def test_a_call_over_memory_is_told_with_its_program() -> None:
    async with watched() as it, connected(connect_memory(it.server), mode="legacy") as client:
        await client.call_tool("n_t", {})
        [called] = [record for record in it.records if record.method == "tools/call"]
        assert [record.method for record in it.records][:1] == ["initialize"]
        assert (called.principal, called.outcome, bool(called.client)) == ("local", "success", True)


async def test_a_client_over_http_that_is_gone_ends_its_call() -> None:
    gate = Gate(TEXT)
    async with watched(gate) as it:
        app = it.server.http_app()
        async with served(app) as serving:
            peer = await serving.dial()
            message, headers = modern(call("n_t"))
            body = json.dumps(message).encode()
            lines = "".join(f"{name}: {value}\r\n" for name, value in heads(**headers).items())
            await peer.send(
                f"POST /mcp HTTP/1.1\r\nhost: localhost\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body
            )
            await gate.entered.wait()
            peer.reset()
            record = await it.one()
            assert (record.outcome, record.error, record.upstream) == ("error", "cancelled", "up")
            await app.aclose()


async def test_raw_answers_that_cannot_be_read_are_errors() -> None:
    async with watched(Raw(b"[1]")) as it:
        with pytest.raises(RpcError):
            await Legacy(it.server).request("tools/call", {"name": "n_t"})
        assert (await it.one()).outcome == "error"
