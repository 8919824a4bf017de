"""What a command has started ends with it, and with the mesh, wherever it went. Real processes, on both event loops."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from meshproxy.links import kin
from meshproxy.links.stdio import StdioEndpoint
from meshproxy.links.warden import warden
from tests.kit.links import call, connect, scripted
from tests.kit.processes import children, is_alive, nothing_left
from tests.kit.waiting import DEADLINE, eventually, wait_for

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose descendants processes are"),
]


def number(file):
    """The process id that a script has written, once it is there whole."""
    return file.exists() and file.read_text().endswith("\n") and int(file.read_text())


# With the command.


async def test_what_made_a_session_of_its_own_ends_with_its_command(tmp_path):
    async with nothing_left():
        link = await connect(scripted())
        await call(link, "shell", script=f"setsid sleep 1000 & echo $! > {tmp_path}/pid")
        pid = await eventually(lambda: number(tmp_path / "pid"))
        await eventually(lambda: os.getsid(pid) != link.process.pid)
        await link.aclose()
    assert not is_alive(pid)


async def test_a_daemon_whose_parent_is_gone_ends_with_its_command_though_that_was_killed(tmp_path):
    async with nothing_left():
        link = await connect(scripted())
        await call(link, "shell", script=f"setsid sh -c 'sleep 1000 & echo $! > {tmp_path}/pid'")
        pid = await eventually(lambda: number(tmp_path / "pid"))
        os.kill(link.process.pid, signal.SIGKILL)
        await eventually(lambda: not is_alive(pid))
        await link.aclose()


async def test_what_has_neither_group_nor_mark_is_found_by_its_parent(tmp_path):
    script = f"trap '' TERM; env -i setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 1000'"
    async with nothing_left():
        link = await connect(scripted())
        shell = asyncio.create_task(call(link, "shell", script=script))
        pid = await eventually(lambda: number(tmp_path / "pid"))
        assert kin.MARK not in (kin._read(f"/proc/{pid}/environ")).decode()
        await link.abandon()
        await asyncio.wait([shell])
        assert shell.exception()
    assert not is_alive(pid)


async def test_what_another_command_has_started_lives_on(tmp_path):
    async with nothing_left():
        one, other = await connect(scripted()), await connect(scripted())
        await call(one, "shell", script=f"setsid sleep 1000 & echo $! > {tmp_path}/pid")
        pid = await eventually(lambda: number(tmp_path / "pid"))
        await other.aclose()
        assert is_alive(pid)
        await one.aclose()
    assert not is_alive(pid)


# With the mesh.


async def test_a_watcher_runs_as_long_as_a_command_does_and_there_is_one_for_all():
    async with nothing_left():
        assert warden.pid is None
        one, other = await connect(scripted()), await connect(scripted())
        assert len(children()) == 3
        assert warden.pid in children()
        await one.aclose()
        assert is_alive(warden.pid)
        await other.aclose()
        assert warden.pid is None


async def test_a_watcher_that_was_killed_is_replaced_before_the_next_command_and_knows_the_others():
    async with nothing_left():
        one = await connect(scripted())
        killed = warden.pid
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: not is_alive(killed))
        other = await connect(scripted())
        assert warden.pid not in (killed, None)
        # As the system does when the mesh is gone.
        with tempfile.TemporaryFile() as elsewhere:
            os.dup2(elsewhere.fileno(), warden._watcher.stdin.fileno())
        await eventually(lambda: not is_alive(one.process.pid) and not is_alive(other.process.pid))
        await one.aclose()
        await other.aclose()


async def test_a_command_is_not_run_where_no_watcher_can_be(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    async with nothing_left():
        with pytest.raises(Exception, match="cannot be run: No such file or directory"):
            await connect(StdioEndpoint("true", "/bin/true"))


def test_a_watcher_kills_the_groups_that_it_knows_when_its_pipe_ends_whatever_signals_it_got():
    group, other = (subprocess.Popen(["sleep", "1000"], start_new_session=True) for _ in range(2))
    line = [sys.executable, "-I", "-S", kin.__file__, "nobody."]
    with group, other, subprocess.Popen(line, stdin=subprocess.PIPE, bufsize=0) as watcher:
        watcher.stdin.write(b"+%d\n+%d\n-%d\n" % (group.pid, other.pid, other.pid))
        wait_for(lambda: _ignores(watcher.pid, signal.SIGTERM))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            watcher.send_signal(number)
        watcher.stdin.close()
        assert watcher.wait(DEADLINE) == 0
        assert group.wait(DEADLINE) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_a_number_that_was_used_again_is_somebody_elses():
    with subprocess.Popen(["sleep", "1000"]) as process:
        member = kin.processes()[process.pid]
        assert kin._is_same(member)
        kin.end("nobody.", (), [member._replace(began=member.began - 1)])
        assert process.poll() is None
        kin.end("nobody.", (), [member])
        assert process.wait(DEADLINE) == -signal.SIGKILL


def _ignores(pid, number):
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return int(line.split()[1], 16) >> (number - 1) & 1
