"""The benchmark's own instruments: the fixture is an MCP server to the SDK's clients, and the load client notices wrong answers."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from bench.arena import Arena
from bench.calls import KINDS, TEXT, Calls
from bench.connection import Broken
from bench.contenders import CONTENDERS, PIPES
from bench.ground import ROOT, Ground
from bench.rounds import Entry, ratio
from bench.table import Report
from bench.upstream import FILLER, MODERN, NOTE, NOTE_TEXT, PROMPT
from tests.kit.processes import is_alive
from tests.kit.waiting import DEADLINE

from bench import watching

pytestmark = pytest.mark.anyio
UPSTREAM = str(Path(__file__).parents[2] / "bench" / "upstream.py")


@pytest.fixture
def arena() -> Iterator[Arena]:
    with Arena(Ground()) as arena:
        yield arena


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_the_fixture_serves_the_clients_of_the_sdk(arena: Arena, transport: str, mode: str) -> None:
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.types import PromptReference

    if transport == "http":
        target: Any = arena.http(["bench"])["bench"]["url"]
    else:
        target = stdio_client(StdioServerParameters(command=sys.executable, args=[UPSTREAM, "--stdio"]))
    async with Client(target, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools][:4] == ["echo", "payload", "stream", "failed"]
        echoed = await client.call_tool("echo", {"text": 'a "b" \n'})
        assert echoed.content[0].text == 'a "b" \n'
        large = await client.call_tool("payload", {"text": "c"})
        assert large.content[0].text == "c" + FILLER
        streamed = await client.call_tool("stream", {"text": "d"})
        assert (streamed.content[0].text, streamed.is_error) == ("d", False)
        failed = await client.call_tool("failed", {"text": "e"})
        assert (failed.content[0].text, failed.is_error) == ("e", True)
        assert [str(resource.uri) for resource in (await client.list_resources()).resources] == [NOTE]
        assert (await client.read_resource(NOTE)).contents[0].text == NOTE_TEXT
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == [PROMPT]
        assert (await client.get_prompt(PROMPT, {"text": "f"})).messages[0].content.text == "f"
        reference = PromptReference(type="ref/prompt", name=PROMPT)
        assert (await client.complete(reference, {"name": "text", "value": "g"})).completion.values == ["g"]


def test_the_fixture_spells_a_result_as_the_servers_of_the_sdks_do_and_streams_it_if_it_is_asked_to(
    arena: Arena,
) -> None:
    url = urlsplit(arena.http(["bench"])["bench"]["url"])
    connection = HTTPConnection(url.hostname or "", url.port)

    def asked(tool: str) -> tuple[str | None, bytes]:
        calls = Calls(url.geturl(), "small", tool, modern=True)
        names = {"MCP-Protocol-Version": MODERN, "Content-Type": "application/json"}
        connection.request("POST", "/mcp", calls.body(), names)
        answer = connection.getresponse()
        return answer.getheader("content-type"), answer.read()

    try:
        kind, body = asked("echo")
        assert kind == "application/json"
        assert b'"content":[{"text":"' in body
        assert b'","type":"text"}],"isError":false' in body
        kind, body = asked("stream")
        assert kind == "text/event-stream"
        assert body.startswith(b"event: message\r\ndata: {")
    finally:
        connection.close()


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("call", [call for call in KINDS if call != "file"])
def test_the_load_client_gets_every_answer(arena: Arena, era: str, call: str) -> None:
    direct = arena.start(CONTENDERS["direct"], arena.http(["bench"]))
    arena.open(direct, "load", era, 4, call, sessions=8)
    arena.load.job("ready", "load", warm=True)
    sample = arena.load.job("run", "load", seconds=0.1)
    arena.load.job("close", "load")
    assert sample["errors"] == 0
    assert sample["calls"] >= 4


def test_a_rate_is_kept_to(arena: Arena) -> None:
    direct = arena.start(CONTENDERS["direct"], arena.http(["bench"]))
    arena.open(direct, "load", "modern", 2, "small")
    arena.load.job("ready", "load", warm=True)
    sample = arena.load.job("run", "load", seconds=0.5, rate=20)
    arena.load.job("close", "load")
    assert sample["errors"] == 0
    assert 2 <= sample["calls"] <= 12


def test_what_being_watched_costs_is_measured_with_a_page_that_reads(
    arena: Arena, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = arena.start(watching.contender("counted"), arena.http(["bench", "other"]))
    arena.wait_for_tool(mesh)
    arena.open(mesh, "load", "modern", 4, "small")
    asked = argparse.Namespace(rounds=2, seconds=1.2, rate=200.0, readers=1)
    rounds = watching.page(arena, Entry("counted", "load", mesh), asked)
    arena.load.job("close", "load")
    assert [one["errors"] + other["errors"] for one, other in rounds] == [0, 0]
    assert all(one["frames"] > 0 and one["cpu"] > 0 for one, _ in rounds)
    assert all(other["frames"] == 0 for _, other in rounds)
    watching.tell("page", "modern", rounds, "open against closed")
    assert "times the CPU per call, open against closed" in capsys.readouterr().out


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("call", ["small", "read", "prompt", "complete", "stream", "failed"])
def test_a_client_over_pipes_gets_every_answer_of_the_mesh_that_it_starts(arena: Arena, era: str, call: str) -> None:
    mesh = arena.start(PIPES, arena.http(["bench"]))
    arena.open(mesh, "load", era, 4, call)
    arena.load.job("ready", "load", warm=True)
    before = mesh.cpu()
    sample = arena.load.job("run", "load", seconds=0.1)
    assert mesh.cpu() > before > 0
    arena.load.job("close", "load")
    assert sample["errors"] == 0
    assert sample["calls"] >= 4
    assert not is_alive(mesh.pid)


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"%s"}]}}' % TEXT.encode(),
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"%s1"}]}}' % TEXT.encode(),
        b'{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"%s2"}],"isError":true}}' % TEXT.encode(),
        b'{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"no"}}',
        b'{"jsonrpc":"2.0","id":2,"result":{"content":[',
    ],
)
def test_a_wrong_answer_is_noticed(body: bytes) -> None:
    calls = Calls("http://127.0.0.1:1/mcp", "small", "echo", modern=False)
    with pytest.raises(Broken):
        calls.check(2, 200, body)
    calls.check(2, 200, b'{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"%s2"}]}}' % TEXT.encode())


def test_a_ratio_is_the_median_over_rounds_in_which_both_were_measured() -> None:
    ours = [{"round": number, "cpu": cpu} for number, cpu in enumerate([2.0, 30.0, 4.0, None])]
    base = [{"round": number, "cpu": cpu} for number, cpu in enumerate([1.0, 3.0, 1.0, 1.0, 1.0])]
    assert ratio(ours, base, "cpu") == 4.0
    assert ratio([], base, "cpu") is None


def test_a_run_in_which_nothing_was_measured_makes_a_table() -> None:
    report = Report({"versions": {"cores": "2"}, "missing": {"nginx": "there is none"}, "rounds": 1})
    assert "not measured" in report.markdown()
    assert "nginx did not take part: there is none" in report.markdown()
    assert report.pictures() == {}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_benchmark_that_is_told_to_end_leaves_no_process_behind(ending: signal.Signals) -> None:
    script = """
import signal
from bench.arena import Arena
from bench.ground import ROOT, Ground
from bench.processes import unwind_on_signals
from pathlib import Path
unwind_on_signals()
with Arena(Ground()) as arena:
    arena.http(["one", "two"])
    print(Path("/proc/thread-self/children").read_text(), flush=True)
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        started = [int(pid) for pid in running.stdout.readline().split()]
        assert len(started) == 3
        running.send_signal(ending)
        assert running.wait(DEADLINE) == 128 + ending
    assert [pid for pid in started if is_alive(pid)] == []
