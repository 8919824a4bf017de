"""What the machine may do to a mesh: each has a stated outcome (docs/running.md)."""

import ast
import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from meshproxy.serving.machine import attend_to
from tests.cli.test_remembered import tools
from tests.kit.journal import Journal
from tests.kit.light import light
from tests.kit.places import ROOT
from tests.kit.program import ENVIRONMENT, PROGRAM, Serving
from tests.kit.waiting import DEADLINE, eventually, wait_for

# Standard error, output and input.


def test_a_mesh_whose_log_nobody_reads_serves_on(config, tmp_path) -> None:
    """A client that starts a mesh may never read what it says; 64 KiB fit into a pipe."""
    file = config(a=light(), server={"port": 0})
    reading, writing = os.pipe()
    line = [*PROGRAM, "serve", str(file), "--log-format", "json"]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=writing, env=ENVIRONMENT) as process:
        os.close(writing)
        try:
            begun = b""
            while b"mesh.listening" not in begun or not begun.endswith(b"\n"):
                begun += os.read(reading, 65536)
            url = next(event["url"] for event in map(json.loads, begun.splitlines()) if "url" in event)
            mesh = Serving(process, tmp_path / "log", url)
            wait_for(lambda: "up" in str(mesh.ready()), process)
            for number in range(3):
                says = call(mesh, {"say": f"{number} " + "x" * 8000 + ("\n" + "y" * 8000) * 30})
                assert "result" in says
        finally:
            process.terminate()
            os.close(reading)
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_mesh_may_be_started_with_its_streams_closed(config, tmp_path, closed) -> None:
    port = free_port()
    file = config(a=light(), server={"port": port})
    script = f'exec {closed}; exec "$@"'
    with (tmp_path / "log").open("wb") as log:
        line = ["sh", "-c", script, "sh", *PROGRAM, "serve", str(file)]
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)
    with process:
        try:
            mesh = Serving(process, tmp_path / "log", f"http://127.0.0.1:{port}/mcp")
            wait_for(lambda: is_ready(mesh), process)
            assert tools(mesh) == ["a_echo"]
            # What is closed is nobody's connection.
            streams = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
            assert not [stream for stream in streams if stream.startswith("socket")]
        finally:
            process.terminate()
        assert process.wait(DEADLINE) == 0


def test_over_stdio_a_closed_input_is_the_end(config) -> None:
    script = 'exec 0<&-; exec "$@"'
    line = ["sh", "-c", script, "sh", *PROGRAM, "serve", str(config(a=light())), "--transport", "stdio"]
    ended = subprocess.run(line, capture_output=True, env=ENVIRONMENT, timeout=DEADLINE, check=False)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr


# Descriptors.


def test_without_descriptors_it_is_said_once_and_all_goes_on_when_there_are_some(config, serving) -> None:
    mesh = serving(config(a=light(), b=light()))
    mesh.await_settled()
    _, most = resource.prlimit(mesh.process.pid, resource.RLIMIT_NOFILE)
    numbers = [int(number) for number in os.listdir(f"/proc/{mesh.process.pid}/fd")]  # noqa: PTH208
    resource.prlimit(mesh.process.pid, resource.RLIMIT_NOFILE, (max(numbers) + 8, most))
    with contextlib.ExitStack() as clients:
        # Upstreams have their descriptors already; idle connections take the rest, and whichever becomes free meanwhile.
        address = ("127.0.0.1", urlsplit(mesh.url).port)

        def used_up() -> list[dict]:
            clients.enter_context(socket.create_connection(address))
            return mesh.events("machine.descriptors_used_up")

        assert "ulimit -n" in wait_for(used_up, mesh.process, mesh.log)[0]["consequence"]
        with pytest.raises(OSError):  # however the connection is closed
            tools(mesh)
    mesh.await_event("machine.descriptors_free")
    assert tools(mesh) == ["a_echo", "b_echo"]
    assert len(mesh.events("machine.descriptors_used_up")) == 1


@pytest.mark.anyio
async def test_a_program_that_cannot_be_started_for_want_of_descriptors_is_started_when_there_are_some(
    tmp_path,
) -> None:
    from meshproxy.errors import UpstreamUnavailable
    from tests.kit.links import connect, scripted

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    endpoint, reasons, taken = scripted(), [], []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        # From none that is free to as many as are wanted: whatever is the first not to be had, it is said, and nothing is left.
        while taken:
            try:
                link = await connect(endpoint)
            except UpstreamUnavailable as error:
                reasons.append(error.reason)
                os.close(taken.pop())
            else:
                await link.aclose()
                break
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert endpoint.statistics() == {"pids": []}
    assert reasons
    assert taken
    assert not [reason for reason in reasons if "Too many open files" not in reason]


# Clocks.


@pytest.mark.anyio
async def test_after_the_machine_has_slept_what_was_down_is_tried_at_once(journal: Journal) -> None:
    slept, woken = [0.0], []
    looking = asyncio.create_task(attend_to(lambda: woken.append(slept[0]), asleep=lambda: slept[0], pause=0.001))
    try:
        for asleep in (1.0, 3.5, 3600.0):
            count = len(journal.all)
            slept[0] = asleep
            if asleep != 1.0:
                await eventually(lambda before=count: len(journal.all) > before)
            else:
                await asyncio.sleep(0.01)
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
    assert woken == [3.5, 3600.0]
    assert [event["seconds"] for event in journal.of("machine.slept")] == [2, 3596]


def test_nothing_that_waits_goes_by_the_wall_clock() -> None:
    """A clock that is set, forwards or back, moves no deadline: what reads it tells the time, or compares it with a date that somebody wrote."""
    found = set()
    for file in sorted((ROOT / "meshproxy").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("time.time", "datetime.now"):
                found.add(file.relative_to(ROOT / "meshproxy").as_posix())
    # Where who is let in is decided, the dates of credentials are looked at, and commands and samples show dates.
    waits = ("eras", "guard", "http", "links", "mesh", "relay", "state", "supervision", "upstream")
    found = {file for file in found if file.startswith(waits)}
    assert found <= {
        "http/server.py",  # the header Date
        "links/refusals.py",  # Retry-After may be a date
        "mesh/edits.py",  # when an edit was, for people
        "relay/principal.py",  # the last day of a key
        "relay/recorder.py",  # when a call was, for people
        "state/store.py",  # the age of what a mesh that was killed has left
        "supervision/condition.py",  # since when, for people
        "supervision/attempts.py",  # when the next attempt is, for people
    }


def call(mesh: Serving, arguments: dict) -> dict:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "a_echo", "arguments": arguments, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "a_echo",
    }
    request = urllib.request.Request(mesh.url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.load(answer)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def is_ready(mesh: Serving) -> bool:
    try:
        return mesh.ready()[1]["upstreams"]["a"]["state"] == "up"
    except OSError:
        return False
