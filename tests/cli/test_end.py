"""How a mesh ends: within seconds, in good order, and with nothing left of it."""

import os
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import anyio
import pytest
from tests.kit.light import light
from tests.kit.processes import is_alive
from tests.kit.program import ENVIRONMENT, PROGRAM, pids, upstream
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE, eventually, wait_for

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_all_its_processes(config, serving, number) -> None:
    mesh = serving(config(a=light(), b=light(), stubborn=upstream("stubborn", timeouts={"shutdown": "1s"})))
    running = pids(mesh.await_settled())
    assert len(running) >= 3
    assert mesh.end(number) == 0
    assert not [pid for pid in running if is_alive(pid)]
    assert mesh.events()[-1]["event"] == "mesh.ended"


async def test_it_ends_while_upstreams_are_starting(config, serving) -> None:
    mesh = serving(config(a=upstream("silent"), b=upstream("slow_start", "--seconds", "60")))
    running = pids(mesh.ready()[1]["upstreams"])
    assert mesh.end() == 0
    assert not [pid for pid in running if is_alive(pid)]


async def test_it_ends_with_open_sessions_and_streams(config, serving) -> None:
    mesh = serving(config(a=light()))
    async with connected(mesh.url, mode="legacy") as client:
        await client.list_tools()
        assert mesh.end() == 0


async def test_a_call_that_is_nearly_done_gets_its_answer(config, serving, tmp_path) -> None:
    marker = tmp_path / "held"
    mesh = serving(config(a=upstream("basic")))
    async with connected(mesh.url, mode="legacy") as client:
        mesh.await_settled()
        # Or the client would list after the call, for its schema.
        await client.list_tools()
        async with anyio.create_task_group() as tasks:

            async def finish() -> None:
                await eventually(marker.with_suffix(".started").exists)
                mesh.process.terminate()
                # Nothing new is taken: the port is closed, and the call still runs.
                await eventually(lambda: not is_open(mesh.url))
                marker.with_suffix(".go").touch()

            tasks.start_soon(finish)
            answer = await client.call_tool("a_hold", {"marker": str(marker)})
    assert answer.content[0].text == str(marker)
    assert mesh.process.wait(DEADLINE) == 0


def test_a_call_that_takes_longer_is_cancelled_at_its_upstream(config, serving, tmp_path) -> None:
    marker = tmp_path / "held"
    mesh = serving(config(a=upstream("basic")))
    mesh.await_settled()
    line = [*PROGRAM, "call", mesh.url, "a_hold", f"marker={marker}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as caller:
        wait_for(marker.with_suffix(".started").exists, caller)
        assert mesh.end() == 0
        _, said = caller.communicate(timeout=DEADLINE)
    assert caller.returncode == 1
    assert said.startswith("error: ")
    assert "Traceback" not in said


async def test_a_second_signal_ends_it_at_once_and_its_processes_too(config, serving) -> None:
    mesh = serving(config(a=upstream("stubborn", timeouts={"shutdown": "5m"})))
    running = pids(mesh.await_settled())
    mesh.process.terminate()
    await eventually(lambda: not is_open(mesh.url))
    assert mesh.end(signal.SIGINT) == 128 + signal.SIGINT
    await eventually(lambda: not [pid for pid in running if is_alive(pid)])


def test_it_ends_with_its_terminal(config) -> None:
    leader, follower = os.openpty()
    line = [*PROGRAM, "serve", str(config(a=light())), "--port", "0"]
    with subprocess.Popen(line, stdin=follower, stdout=follower, stderr=follower, env=ENVIRONMENT) as process:
        os.close(follower)
        shown = b""
        while b"serving at" not in shown:
            shown += os.read(leader, 65536)
        os.close(leader)
        # The system sends it to those whose controlling terminal this is; here it is only their output.
        process.send_signal(signal.SIGHUP)
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_what_it_started(config, tmp_path, number) -> None:
    marker = tmp_path / "held"
    started = marker.with_suffix(".started")
    line = [*PROGRAM, "call", str(config(a=upstream("basic"))), "a_hold", f"marker={marker}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        pid = int(wait_for(lambda: started.exists() and started.read_text(), process))
        process.send_signal(number)
        assert process.communicate(timeout=DEADLINE) == (b"", b"")
    assert process.returncode == 130
    assert not is_alive(pid)


def test_an_interrupt_before_anything_runs_is_no_traceback() -> None:
    script = "import meshproxy.cli.entry as e, sys\ndef run(): raise KeyboardInterrupt\nsys.exit(e.guarded(run))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=DEADLINE, check=False)
    assert (ended.returncode, ended.stderr) == (130, b"")


def is_open(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", urlsplit(url).port)).close()
    except OSError:
        return False
    return True
