"""Traces of a mesh that serves: sent where the environment says, as OpenTelemetry has it. Place: cli, under `serve`."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from meshproxy.serving.fastmcp import FastMCP

__all__ = ["Tracing", "exporter_wanted"]

log = structlog.get_logger(__name__)

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_LAST: Final = 5.0
"""Seconds that what was not sent yet has at the end."""
_INSTALL: Final = "install meshproxy[otel]"


def exporter_wanted(environ: Mapping[str, str]) -> str:
    """Where OTEL_* wants traces to go: `otlp`, `console`, or what else it names; "" for nowhere."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if named:
        return "" if named == "none" else named
    return "otlp" if any(environ.get(name) for name in _ENDPOINTS) else ""


class Tracing:
    """Traces what a server is asked, while a config says `auto` and the environment says where to. `name` is that of the service."""

    def __init__(self, server: FastMCP, name: str) -> None:
        self._server = server
        self._name = name
        self._provider: Any = None
        self._has_tried = False
        self._forget: Callable[[], None] | None = None

    def obey(self, setting: str) -> None:
        """Go by `observe.traces`."""
        if setting == "off" or not self._prepared():
            self._stop()
        elif self._forget is None:
            from meshproxy.relay.traces import Traces  # noqa: PLC0415  # nothing of it is imported where nobody traces

            traces = Traces(self._provider)
            self._server.recorder.tracer = traces
            self._forget = self._server.recorder.listen(traces.take)

    async def aclose(self) -> None:
        """Send what is left."""
        self._stop()
        provider, self._provider = self._provider, None
        if provider is not None:
            try:
                async with asyncio.timeout(_LAST):
                    await asyncio.to_thread(provider.shutdown)
            except TimeoutError:
                log.warning("traces.unsent", seconds=_LAST)

    def _stop(self) -> None:
        forget, self._forget = self._forget, None
        if forget is not None:
            self._server.recorder.tracer = None
            forget()

    def _prepared(self) -> bool:
        """Whether there is a provider. What is wrong with it is said once."""
        wanted = exporter_wanted(os.environ)
        if not wanted:
            return False
        if not self._has_tried:
            self._has_tried = True
            try:
                self._provider = _provider(wanted, self._name)
            except ImportError:
                log.warning(
                    "traces.unavailable", reason=f"OTEL_* asks for traces, and what sends them is not here; {_INSTALL}"
                )
            except ValueError as error:
                log.warning("traces.unavailable", reason=str(error))
        return self._provider is not None


def _provider(wanted: str, name: str) -> Any:
    """A provider that sends where OTEL_* says. Raises `ImportError` and `ValueError`."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # optional
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
        SpanExporter,
    )

    processor: SpanProcessor
    if wanted == "console":
        # Standard output may be the client's.
        processor = SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr))
    elif wanted == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        exporter: SpanExporter = OTLPSpanExporter()
        processor = BatchSpanProcessor(exporter)
    else:
        raise ValueError(f"OTEL_TRACES_EXPORTER is {wanted!r}, and may be otlp, console or none")
    given = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": name}
    provider = TracerProvider(resource=Resource.create(given), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider
