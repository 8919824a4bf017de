"""Processes: start them, end them, and read from the operating system what they cost.

CPU is that of a process and of everything that it started, by the kernel's own clocks: exact to the nanosecond for what lives, to the
tick (1/100 s) for children that have ended. The fixture upstreams that a proxy starts over stdio are not part of its cost: a process
whose command line names the fixture is left out, and one that has ended has written its cost into a ledger.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

FIXTURE = b"bench/upstream.py"
TICK = os.sysconf("SC_CLK_TCK")


class NotReady(Exception):
    """A process that ended, or did not serve in time."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def unwind_on_signals() -> None:
    """Have SIGTERM and SIGINT raise SystemExit, so that what was started is ended by whoever started it. Further ones change nothing."""

    def leave(number: int, _: object) -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, leave)


def start(
    argv: list[str], log: Path, *, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen:
    """In a process group of its own, with what it says in `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | (env or {}),
            cwd=cwd,
            start_new_session=True,
        )


def stop(process: subprocess.Popen) -> None:
    """Ask, wait, and then kill the whole group."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait(10)


def wait_for_port(port: int, process: subprocess.Popen | None = None, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process is not None and process.poll() is not None:
            raise NotReady(f"ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise NotReady("did not open its port in time")
        time.sleep(0.002)


def tree(root: int) -> list[int]:
    """`root` and everything below it, without fixtures."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                pid = int(entry.name)
                children.setdefault(int(fields(pid)[1]), []).append(pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid == root or not is_fixture(pid):
            found.append(pid)
            waiting.extend(children.get(pid, ()))
    return found


def is_fixture(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return FIXTURE in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def kill_fixtures(mark: str) -> None:
    """End fixtures that a contender left behind: those whose command line has the mark."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_fixture(int(entry.name)):
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)


def fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the state on (proc(5)): [1] is the parent, [13] and [14] the ticks of reaped children."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu(root: int, ledger: Path) -> float:
    """Seconds of CPU that the tree below `root` has had, without that of ended fixtures, which is in the ledger."""
    total = -sum(map(float, ledger.read_text().split())) if ledger.exists() else 0.0
    return total + sum(map(cpu_of, tree(root)))


def cpu_of(pid: int) -> float:
    """Seconds of CPU that one process has had, and what it started and has waited for; 0 for one that is gone."""
    with contextlib.suppress(OSError):
        stat = fields(pid)
        # The clock of another process: clock_getcpuclockid(3), whose macro is not in Python's `time`.
        return time.clock_gettime((~pid << 3) | 2) + (int(stat[13]) + int(stat[14])) / TICK
    return 0.0


def memory(root: int) -> dict[str, int]:
    """Bytes of the tree below `root`: `rss` counts shared pages in each process, `pss` divides them."""
    total = {"rss": 0, "pss": 0}
    for pid in tree(root):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name.lower() in total:
                    total[name.lower()] += int(value.split()[0]) * 1024
    return total
