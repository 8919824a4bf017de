"""`Traces`: a span for each request of a client, and one below it for what of it goes to an upstream. Place: relay.

Source: OpenTelemetry's semantic conventions for MCP. The context of the caller is taken from `params._meta`, as SEP-414 has it, and what its HTTP request says of one is a link,
or the parent where `_meta` says nothing. An upstream is told of the span that is for it in the same place, and in the HTTP headers of the call.

It is made only where somebody wants traces, so that nothing of OpenTelemetry is imported elsewhere.
"""

from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TracerProvider

from meshproxy.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RESOURCE_NOT_FOUND
from meshproxy.observe.record import DENIED, Record
from meshproxy.relay.call import Call
from meshproxy.wire.codec import mapping, opened

__all__ = ["Traces"]

_FIELDS: Final = ("traceparent", "tracestate", "baggage")
_CALLERS_OWN: Final = frozenset({PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, RESOURCE_NOT_FOUND})
"""Codes that say that the caller erred, so that the span of who served it is none of an error."""
_URIS: Final = frozenset({"resources/read", "resources/subscribe", "resources/unsubscribe"})

Attributes = dict[str, str | int | float | bool]


class Traces:
    """Traces the requests of a recorder, as its `tracer` and as its listener. `provider` is that of the program, if none is given."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("meshproxy", tracer_provider=provider)

    def begin(self, call: Call, record: Record) -> None:
        """A request has come: its span, whose parent is what its caller says."""
        context = call.context
        told = _told(mapping(record.params.get("_meta")) or {})
        ambient = _told(context.headers)
        parent = propagate.extract(told or ambient, Context())
        around = trace.get_current_span(propagate.extract(ambient, Context())).get_span_context()
        links = [Link(around)] if told and around.is_valid else []
        name = record.params.get("uri" if call.method in _URIS else "name")
        attributes = _about(call.method, name if isinstance(name, str) else "")
        attributes["jsonrpc.request.id"] = str(context.request_id)
        downstream = context.downstream
        if downstream.version:
            attributes["mcp.protocol.version"] = downstream.version
        if context.headers:
            attributes |= {"network.transport": "tcp", "network.protocol.name": "http"}
        else:
            attributes["network.transport"] = "pipe"
        span = self._tracer.start_span(
            _name(call.method, attributes), parent, SpanKind.SERVER, attributes=attributes, links=links
        )
        record.span = _Spans(self._tracer, span, parent)

    def take(self, record: Record, _: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        spans: _Spans | None = record.span
        if spans is not None:
            spans.end(record)


class _Spans:
    """Those of one request."""

    __slots__ = ("_parent", "_tracer", "client", "server")

    def __init__(self, tracer: trace.Tracer, server: trace.Span, parent: Context) -> None:
        self._tracer = tracer
        self._parent = parent
        self.server = server
        self.client: trace.Span | None = None

    def run(self, step: Callable[[Call], None], call: Call) -> None:
        """Do a step with the client's span as the current one: what is logged in it, and in what it starts, is told of the trace."""
        around = copy_context()
        around.run(attach, trace.set_span_in_context(self.server, self._parent))
        around.run(step, call)

    @property
    def trace_id(self) -> str:
        """In hexadecimal, as `traceparent` has it (W3C Trace Context, 3.2.2.3)."""
        return trace.format_trace_id(self.server.get_span_context().trace_id)

    def depart(self, call: Call) -> None:
        """A link carries the call from here on: the upstream is told of its span. The parameters are in the upstream's names."""
        if self.client is None:
            key = "uri" if call.method in _URIS else "name"
            name = opened(call.params.get(key))
            attributes = _about(call.method, name if isinstance(name, str) else "")
            attributes["meshproxy.upstream"] = call.mount.name
            lease = call.lease
            if lease is not None and lease.link.version:
                attributes["mcp.protocol.version"] = lease.link.version
            self.client = self._tracer.start_span(
                _name(call.method, attributes),
                trace.set_span_in_context(self.server, self._parent),
                SpanKind.CLIENT,
                attributes=attributes,
            )
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(self.client, self._parent))
        if carrier:
            meta = mapping(call.params.get("_meta")) or {}
            call.params = {**call.params, "_meta": {**meta, **carrier}}
            call.headers = {**call.headers, **carrier}

    def end(self, record: Record) -> None:
        """Both are over."""
        if self.client is not None:
            _conclude(self.client, record, is_error=bool(record.error))
        if record.session:
            # Not the id, with which whoever reads it could use the session.
            self.server.set_attribute("mcp.session.id", record.session)
        if record.outcome == DENIED:
            self.server.set_attribute("meshproxy.denied", True)
        _conclude(self.server, record, is_error=bool(record.error) and record.code not in _CALLERS_OWN)


def _conclude(span: trace.Span, record: Record, *, is_error: bool) -> None:
    if record.code:
        span.set_attribute("rpc.response.status_code", str(record.code))
    if is_error:
        span.set_attribute("error.type", record.error)
        span.set_status(Status(StatusCode.ERROR, record.reason or None))
    span.end()


def _about(method: str, name: str) -> Attributes:
    attributes: Attributes = {"mcp.method.name": method}
    if method == "tools/call":
        attributes["gen_ai.operation.name"] = "execute_tool"
        attributes["gen_ai.tool.name"] = name
    elif method == "prompts/get":
        attributes["gen_ai.prompt.name"] = name
    elif method in _URIS:
        attributes["mcp.resource.uri"] = name
    return attributes


def _name(method: str, attributes: Attributes) -> str:
    target = attributes.get("gen_ai.tool.name") or attributes.get("gen_ai.prompt.name")
    return f"{method} {target}" if target else method


def _told(carrier: Mapping[str, Any]) -> dict[str, str]:
    """What of the context of a trace is in a `_meta` or in headers; nothing without `traceparent`."""
    found = {key: text for key in _FIELDS if isinstance(text := opened(carrier.get(key)), str)}
    return found if "traceparent" in found else {}
