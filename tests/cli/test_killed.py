"""A mesh that is killed leaves nothing: no command, no wrapper, nothing of what they started."""

import contextlib
import signal
import sys
from pathlib import Path

import pytest
from tests.kit.light import LIGHT, light
from tests.kit.node import NODE_MODULES, needs_node
from tests.kit.processes import descendants, is_alive
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose descendants processes are")

SERVER = f"{sys.executable} -IS {LIGHT}"
WRAPPER = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
"""A program that runs another one and waits for it, as uvx and npx do."""
WRAPPERS = {
    "shell": {"command": "sh", "args": ["-c", f"{SERVER}; true"]},
    "wrapper": {"command": sys.executable, "args": ["-c", WRAPPER, "sh", "-c", f"{SERVER}; true"]},
    "session": {"command": "setsid", "args": ["--wait", "sh", "-c", f"{SERVER}; true"]},
    "daemon": {"command": "sh", "args": ["-c", f"(setsid sleep 1000 &); exec {SERVER}"]},
    "stubborn": {"command": "sh", "args": ["-c", f"trap '' TERM HUP INT; sleep 1000 & {SERVER}; wait"]},
}
"""Ways to run a server that leave more than one process."""


def working_in(folder: Path) -> set[int]:
    """Whoever runs there: an upstream's working directory is that of its config, and what it starts inherits it."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.add(int(process.name))
    return {pid for pid in found if is_alive(pid)}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_nothing_outlives_a_mesh_that_is_killed(config, serving, tmp_path, number) -> None:
    mesh = serving(config(plain=light(), **WRAPPERS))
    assert {one["state"] for one in mesh.await_settled().values()} == {"up"}
    started = {*descendants(mesh.process.pid), *working_in(tmp_path)}
    assert len(started) >= 2 * len(WRAPPERS) + 2
    assert mesh.end(number) == -number
    # The watcher is among them: it ends when its work is done.
    wait_for(lambda: not [pid for pid in started if is_alive(pid)])


def test_nothing_outlives_a_mesh_that_is_killed_while_its_upstreams_start(config, serving, tmp_path) -> None:
    mesh = serving(config(**{f"a{number}": WRAPPERS["shell"] for number in range(8)}))
    mesh.end(signal.SIGKILL)
    wait_for(lambda: not working_in(tmp_path))


@needs_node
def test_nothing_outlives_a_killed_mesh_of_npx(config, serving) -> None:
    npx = {"command": "npx", "args": ["--no-install", "mcp-server-memory"], "cwd": str(NODE_MODULES.parent)}
    mesh = serving(config(memory=npx))
    assert mesh.await_settled()["memory"]["state"] == "up"
    started = descendants(mesh.process.pid)
    assert len(started) >= 3
    mesh.end(signal.SIGKILL)
    wait_for(lambda: not [pid for pid in started if is_alive(pid)])


def test_what_a_command_left_behind_ends_with_a_mesh_that_ends_in_good_order(config, serving, tmp_path) -> None:
    mesh = serving(config(daemon=WRAPPERS["daemon"]))
    mesh.await_settled()
    assert len(working_in(tmp_path)) == 2
    assert mesh.end() == 0
    assert not working_in(tmp_path)
