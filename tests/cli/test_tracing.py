"""Traces go where OTEL_* says, and nowhere else."""

from collections.abc import Callable
from typing import Any

import pytest
from meshproxy.cli.tracing import Tracing, exporter_wanted
from meshproxy.serving.fastmcp import FastMCP
from tests.kit.journal import Journal
from tests.kit.light import light
from tests.kit.program import ENVIRONMENT

Run = Callable[..., Any]
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ""),
        ({ENDPOINT: "http://127.0.0.1:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "None", ENDPOINT: "http://127.0.0.1:4318"}, ""),
        ({"OTEL_SDK_DISABLED": "true", ENDPOINT: "http://127.0.0.1:4318"}, ""),
    ],
)
def test_the_environment_says_where_traces_go(environ: dict[str, str], expected: str) -> None:
    assert exporter_wanted(environ) == expected


@pytest.mark.anyio
async def test_an_edit_turns_traces_off_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    server = FastMCP("m")
    tracing = Tracing(server, "m")
    for setting, is_on in (("auto", True), ("auto", True), ("off", False), ("auto", True)):
        tracing.obey(setting)
        assert (server.recorder.tracer is not None) is is_on
        assert len(server.recorder.listeners) == is_on
    await tracing.aclose()
    assert server.recorder.listeners == ()


@pytest.mark.anyio
async def test_what_cannot_be_sent_is_said_once_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    server = FastMCP("m")
    tracing = Tracing(server, "m")
    tracing.obey("auto")
    assert journal.of("traces.unavailable") == []
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    for _ in range(2):
        tracing.obey("auto")
    [said] = journal.of("traces.unavailable")
    assert "zipkin" in said["reason"]
    assert server.recorder.tracer is None
    await tracing.aclose()


def test_a_mesh_that_serves_traces_its_calls(
    meshproxy: Run, config: Run, serving: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "OTEL_TRACES_EXPORTER", "console")
    mesh = serving(config(a=light("--tools", "echo")))
    mesh.await_settled()
    monkeypatch.delitem(ENVIRONMENT, "OTEL_TRACES_EXPORTER")
    assert meshproxy("call", mesh.url, "a_echo", "text=hi").returncode == 0
    assert mesh.end() == 0
    said = mesh.log.read_text()
    assert '"name": "tools/call a_echo"' in said
    assert '"name": "tools/call echo"' in said
    assert '"service.name": "test"' in said
