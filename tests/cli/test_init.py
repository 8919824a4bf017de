"""As the first process of a container, the program waits for everybody's orphans and hands on signals."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.light import light
from tests.kit.places import ROOT
from tests.kit.processes import children
from tests.kit.program import ENVIRONMENT, PROGRAM, Serving, serve
from tests.kit.waiting import DEADLINE, wait_for

UNSHARE = ["unshare", *(["--map-root-user"] if os.name == "posix" and os.geteuid() else [])]
FIRST = [*UNSHARE, "--pid", "--fork", "--kill-child", "--mount-proc"]
ORPHANS = 'for each in $(seq 500); do (sleep 0.1 &); (setsid true &); done; exec "$0" -m tests.servers.light'
"""A program that leaves a thousand children to whoever takes them, before it is a server."""


def _can_be_first() -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run([*FIRST, "true"], check=False, capture_output=True).returncode == 0
    return False


pytestmark = pytest.mark.skipif(not _can_be_first(), reason="no process may have a namespace of its own here")


@pytest.fixture
def first(config: Any, tmp_path: Path) -> Iterator[tuple[Serving, int]]:
    """A mesh with an upstream that leaves orphans, and its first process, as seen from here."""
    leaves = {"command": "sh", "args": ["-c", ORPHANS, sys.executable], "cwd": str(ROOT)}
    with serve(config(a=leaves, b=light()), tmp_path / "log", under=FIRST) as mesh:
        yield mesh, next(iter(children(mesh.process.pid)))


def test_no_orphan_stays_and_the_end_is_as_good_as_elsewhere(first: tuple[Serving, int]) -> None:
    mesh, init = first
    assert {one["state"] for one in mesh.await_settled().values()} == {"up"}
    (program,) = [
        pid for pid, line in wait_for(lambda: _alone(init), mesh.process, mesh.log).items() if "meshproxy" in line
    ]
    # The upstreams, and the watcher.
    assert len(children(program)) == 3
    os.kill(init, signal.SIGTERM)
    assert mesh.process.wait(DEADLINE) == 0
    assert mesh.events()[-1]["event"] == "mesh.ended"


def test_other_signals_are_handed_on(first: tuple[Serving, int]) -> None:
    mesh, init = first
    mesh.await_settled()
    os.kill(init, signal.SIGHUP)
    os.kill(init, signal.SIGINT)
    assert mesh.process.wait(DEADLINE) == 0


def test_it_ends_as_the_program_does_that_is_killed(first: tuple[Serving, int]) -> None:
    mesh, init = first
    mesh.await_settled()
    os.kill(next(iter(wait_for(lambda: _alone(init), mesh.process, mesh.log))), signal.SIGKILL)
    # As a shell says it, and not that it was killed itself.
    assert mesh.process.wait(DEADLINE) == 128 + signal.SIGKILL


@pytest.mark.parametrize(("arguments", "status"), [(["--version"], 0), (["check", "nothing.yaml"], 2)])
def test_a_command_that_ends_by_itself_says_what_it_says_elsewhere(arguments: list[str], status: int) -> None:
    ended = subprocess.run(
        [*FIRST, *PROGRAM, *arguments], check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=DEADLINE
    )
    there = subprocess.run(
        [*PROGRAM, *arguments], check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=DEADLINE
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, there.stdout, there.stderr)


def test_what_is_typed_at_a_terminal_ends_it_once(config: Any, tmp_path: Path) -> None:
    file, log = config(a=light()), tmp_path / "log"
    controller, terminal = os.openpty()
    line = [*FIRST, *PROGRAM, "serve", str(file), "--port", "0", "--log-format", "json"]
    # `setsid --ctty` takes its standard input for its terminal.
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            ["setsid", "--ctty", "--wait", *line], stdin=terminal, stdout=sink, stderr=sink, env=ENVIRONMENT
        ) as process,
    ):
        try:
            os.close(terminal)
            mesh = Serving(process, log)
            mesh.await_event("upstream.up")
            os.write(controller, b"\x03")
            assert process.wait(DEADLINE) == 0
            assert mesh.events()[-1]["event"] == "mesh.ended"
        finally:
            process.kill()
            os.close(controller)


def _alone(init: int) -> dict[int, str]:
    """What the first process started, once nobody else's is left; nothing before."""
    found = children(init)
    return found if len(found) == 1 else {}
