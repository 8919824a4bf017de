"""Spans are named, related and attributed as the conventions say, in both eras, and reach from the caller to the upstream."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from meshproxy.errors import RpcError
from meshproxy.observe import logs
from meshproxy.relay.traces import Traces
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.protocol import Era
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.kit.clients import Client, Legacy, Modern
from tests.kit.waiting import DEADLINE
from tests.kit.wires import Wire, WireEndpoint

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("client", [Legacy, Modern])
UPSTREAM_ERAS = pytest.mark.parametrize("era", [Era.LEGACY, Era.MODERN])
TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER = "11111111111111111111111111111111"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
AMBIENT = f"00-{OTHER}-2222222222222222-01"
TEXT = {"content": [{"type": "text", "text": "hello"}]}


class Traced:
    def __init__(self, server: FastMCP, wire: Wire, exporter: InMemorySpanExporter) -> None:
        self.server, self.wire, self.exporter = server, wire, exporter

    def spans(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.kind is kind]

    def pair(self) -> tuple[ReadableSpan, ReadableSpan]:
        """The only span that is for the client, and the one for the upstream."""
        [server], [client] = self.spans(SpanKind.SERVER), self.spans(SpanKind.CLIENT)
        return server, client


@contextlib.contextmanager
def tracing(server: FastMCP) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider)
    server.recorder.tracer = traces
    forget = server.recorder.listen(traces.take)
    yield exporter
    forget()
    provider.shutdown()


@contextlib.asynccontextmanager
async def traced(answer: Any = TEXT, era: Era = Era.LEGACY) -> AsyncIterator[Traced]:
    wire = Wire(
        era,
        tools__call=answer,
        tools__list={"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
        prompts__list={"prompts": [{"name": "p"}]},
        prompts__get={"messages": []},
        resources__list={"resources": [{"uri": "r://x", "name": "x"}]},
        resources__read={"contents": []},
    )
    server = FastMCP("m")
    server.add_provider(ProxyProvider(ProxyClient(WireEndpoint(wire, name="up"), name="up"), session="shared"), "n")
    async with server:
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(one.provider.settled() for one in server.composite.mounted))
        with tracing(server) as exporter:
            yield Traced(server, wire, exporter)


@ERAS
@UPSTREAM_ERAS
async def test_a_call_has_a_span_for_its_client_and_one_below_it_for_its_upstream(
    client: type[Client], era: Era
) -> None:
    async with traced(era=era) as it:
        caller = client(it.server)
        await caller.request("tools/call", {"name": "n_t", "arguments": {}})
        server, below = it.pair()
        assert (server.name, below.name) == ("tools/call n_t", "tools/call t")
        assert (server.parent, below.parent.span_id) == (None, server.context.span_id)
        assert server.context.trace_id == below.context.trace_id
        assert server.attributes is not None
        common = {"mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool"}
        expected = {
            **common,
            "gen_ai.tool.name": "n_t",
            "jsonrpc.request.id": server.attributes["jsonrpc.request.id"],
            "mcp.protocol.version": caller.caller().version,
            "network.transport": "pipe",
        }
        sessions = {"mcp.session.id"} if client is Legacy else set()
        assert {key: value for key, value in server.attributes.items() if key not in sessions} == expected
        assert isinstance(expected["jsonrpc.request.id"], str)
        assert dict(below.attributes or {}) == {
            **common,
            "gen_ai.tool.name": "t",
            "meshproxy.upstream": "up",
            "mcp.protocol.version": it.wire.version,
        }
        assert server.status.status_code is below.status.status_code is StatusCode.UNSET


@ERAS
@UPSTREAM_ERAS
async def test_the_context_comes_from_the_caller_and_goes_to_the_upstream(client: type[Client], era: Era) -> None:
    async with traced(era=era) as it:
        meta = {"traceparent": PARENT, "tracestate": "v=1", "baggage": "user=ada", "kept": 1}
        params = {"name": "n_t", "arguments": {}, "_meta": meta}
        await client(it.server).request("tools/call", params, headers={"traceparent": AMBIENT})
        server, below = it.pair()
        assert f"{server.context.trace_id:032x}" == TRACE
        assert f"{server.parent.span_id:016x}" == "b7ad6b7169203331"
        [link] = server.links
        assert f"{link.context.trace_id:032x}" == OTHER
        [sent] = it.wire.of("tools/call")
        assert sent["_meta"]["traceparent"] == f"00-{TRACE}-{below.context.span_id:016x}-01"
        assert (sent["_meta"]["tracestate"], sent["_meta"]["baggage"]) == ("v=1", "user=ada")
        assert sent["_meta"]["kept"] == 1
        assert server.attributes is not None
        assert server.attributes["network.transport"] == "tcp"


async def test_what_the_http_request_says_is_the_parent_where_meta_says_nothing() -> None:
    async with traced() as it:
        await Legacy(it.server).request("tools/call", {"name": "n_t"}, headers={"traceparent": AMBIENT})
        server, _ = it.pair()
        assert f"{server.context.trace_id:032x}" == OTHER
        assert not server.links


async def test_a_url_is_told_in_the_headers_too() -> None:
    heard: list[Any] = []

    def note(_params: Any, call: Any) -> Any:
        heard.append(dict(call.headers))
        return TEXT

    async with traced(note) as it:
        await Legacy(it.server).request("tools/call", {"name": "n_t"})
        _, below = it.pair()
        assert heard[0]["traceparent"].split("-")[2] == f"{below.context.span_id:016x}"


@ERAS
async def test_prompts_and_resources_are_named_as_the_conventions_say(client: type[Client]) -> None:
    async with traced() as it:
        caller = client(it.server)
        await caller.request("prompts/get", {"name": "n_p"})
        await caller.request("resources/read", {"uri": "r://n/x"})
        await caller.request("tools/list")
        found = {span.name: dict(span.attributes or {}) for span in it.spans(SpanKind.SERVER)}
        assert list(found) == ["prompts/get n_p", "resources/read", "tools/list"]
        assert found["prompts/get n_p"]["gen_ai.prompt.name"] == "n_p"
        assert found["resources/read"]["mcp.resource.uri"] == "r://n/x"
        below = {span.name: dict(span.attributes or {}) for span in it.spans(SpanKind.CLIENT)}
        assert list(below) == ["prompts/get p", "resources/read"]
        assert below["resources/read"]["mcp.resource.uri"] == "r://x"


async def test_a_tool_that_says_that_it_failed_is_an_error_on_both_sides() -> None:
    async with traced(TEXT | {"isError": True}) as it:
        await Modern(it.server).request("tools/call", {"name": "n_t"})
        for span in it.pair():
            assert span.status.status_code is StatusCode.ERROR
            assert (span.attributes or {})["error.type"] == "tool_error"
            assert "rpc.response.status_code" not in (span.attributes or {})


@pytest.mark.parametrize(("code", "is_server_error"), [(-32602, False), (-32603, True), (-31999, True)])
async def test_an_error_of_the_callers_is_none_of_who_served_him(code: int, is_server_error: bool) -> None:  # noqa: FBT001
    async with traced(RpcError(code, "no such city")) as it:
        with pytest.raises(RpcError):
            await Modern(it.server).request("tools/call", {"name": "n_t"})
        server, below = it.pair()
        for span in (server, below):
            assert (span.attributes or {})["rpc.response.status_code"] == str(code)
        assert (server.status.status_code is StatusCode.ERROR) is is_server_error
        assert ((server.attributes or {}).get("error.type") == str(code)) is is_server_error
        assert (below.status.status_code, (below.attributes or {})["error.type"]) == (StatusCode.ERROR, str(code))


async def test_no_session_id_that_could_be_used_is_in_a_span() -> None:
    async with traced() as it:
        caller = Legacy(it.server)
        await caller.request("tools/list")
        [span] = it.spans(SpanKind.SERVER)
        shown = str((span.attributes or {})["mcp.session.id"])
        assert shown
        assert caller.session.key not in shown


async def test_what_never_left_has_no_span_below_it_and_what_is_not_traced_is_passed_as_it_came() -> None:
    async with traced() as it:
        with pytest.raises(RpcError):
            await Legacy(it.server).request("tools/call", {"name": "unknown"})
        assert len(it.spans(SpanKind.SERVER)) == 1
        assert it.spans(SpanKind.CLIENT) == []
        it.server.recorder.tracer = None
        await Legacy(it.server).request("tools/call", {"name": "n_t", "_meta": {"traceparent": PARENT}})
        assert it.wire.of("tools/call")[0]["_meta"]["traceparent"] == PARENT
        assert len(it.spans(SpanKind.SERVER)) == 1


async def test_what_is_logged_on_the_way_of_a_call_says_which_trace_it_is_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handlers = logging.root.handlers[:]
    logs.configure(form="json")
    log = structlog.get_logger("test")

    class Told(FastMCP):
        async def on_request(self, context: Any, method: str, params: dict[str, Any]) -> Any:
            log.warning("told")
            return {}

    try:
        async with Told("m") as server:
            with tracing(server) as exporter:
                await Modern(server).request("tools/list", {"_meta": {"traceparent": PARENT}})
                log.warning("apart")
            [span] = exporter.get_finished_spans()
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
        logging.root.handlers[:] = handlers
    # Whatever else is logged meanwhile, such as a warning about what an earlier test left to be collected, is none of the two.
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [told], [apart] = ([line for line in lines if line["event"] == event] for event in ("told", "apart"))
    assert told["trace_id"] == TRACE
    assert span.context is not None
    assert told["span_id"] == f"{span.context.span_id:016x}"
    assert "trace_id" not in apart
