"""What a command has started, wherever it went: found and killed. As a program of its own, the watcher that outlives the mesh.

A process group is what a command and its children are in as long as none of them leaves it. Those that leave it (a browser that is started
"detached", a daemon) are found on Linux, too: by their parents, by their session, and by a mark in the environment that they inherit.

The watcher holds the reading end of a pipe, and the mesh alone has the other. It learns there which groups run, and when the pipe ends, be it
because the mesh was killed, it kills all of them. It imports the standard library alone and is run by its path: see `meshproxy.links.warden`.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Collection
from typing import Final, NamedTuple

__all__ = ["MARK", "WATCHER", "Member", "end", "find", "is_alive", "processes"]

MARK: Final = "MESHPROXY_KIN"
"""The environment variable that everything a command starts inherits: which mesh it is of, a dot, and which of its commands."""
WATCHER: Final = "MESHPROXY_WATCHER"
"""The environment variable of a watcher. Another mesh's ends by itself, after it has done its work, and is not to be killed before."""
GIVEN_UP: Final = 2.0
"""Seconds for the system to end what was killed; what is stuck in the kernel for longer is left to it."""
PAUSE: Final = 0.02
LOOKS: Final = 3
"""Looks in a row that find nobody, before a mesh that was killed is sure to have nobody left: its last child may just be starting."""


class Member(NamedTuple):
    """A process: where it belongs, and when it began (in the system's ticks), since numbers are used again."""

    pid: int
    parent: int
    group: int
    session: int
    ticks: int
    """Of CPU that it has used."""
    began: int
    pages: int
    """Of memory that it has at the moment."""


def processes() -> dict[int, Member]:
    """Every process that runs, zombies left out; nothing where the system has no `/proc` of Linux's form."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208  # a watcher has no pathlib
            if name.isdigit() and (member := _member(int(name))) is not None:
                found[member.pid] = member
    return found


def is_alive(group: int) -> bool:
    """Whether a member of a group runs; true where the system does not tell."""
    return not os.path.exists("/proc/self/stat") or any(  # noqa: PTH110
        member.group == group for member in processes().values()
    )


def find(mark: str, groups: Collection[int]) -> frozenset[Member]:
    """Whoever runs and is in one of the groups, in a session that one of them leads, bears a mark that begins so, or descends from such a one."""
    table = processes()
    sought = f"{MARK}={mark}".encode()
    found = {
        pid
        for pid, member in table.items()
        if member.group in groups or member.session in groups or _environment(pid, sought)
    }
    fresh = found
    while fresh:
        fresh = {pid for pid, member in table.items() if member.parent in fresh and pid not in found}
        found |= fresh
    return frozenset(table[pid] for pid in found - {os.getpid()} if not _environment(pid, f"{WATCHER}=".encode()))


def end(mark: str, groups: Collection[int], known: Collection[Member] = (), looks: int = 1) -> None:
    """Kill them all, and whoever of `known` still runs, until `looks` looks in a row find nobody, or `GIVEN_UP` is over. Blocks."""
    deadline = time.monotonic() + GIVEN_UP
    calm = 0
    while True:
        for group in groups:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        left = {*find(mark, groups), *(member for member in known if _is_same(member))}
        for member in left:
            with contextlib.suppress(OSError):
                os.kill(member.pid, signal.SIGKILL)
        calm = 0 if left else calm + 1
        if calm >= looks or time.monotonic() > deadline:
            return
        time.sleep(PAUSE)


def _member(pid: int) -> Member | None:
    stat = _read(f"/proc/{pid}/stat")
    # The program's name is in parentheses and may hold anything; then come the state, the parent and the rest (proc_pid_stat(5)).
    fields = stat.rpartition(b")")[2].split()
    if len(fields) < 22 or fields[0] in (b"Z", b"X"):
        return None
    parent, group, session = map(int, fields[1:4])
    return Member(pid, parent, group, session, int(fields[11]) + int(fields[12]), int(fields[19]), int(fields[21]))


def _is_same(member: Member) -> bool:
    now = _member(member.pid)
    return now is not None and now.began == member.began


def _environment(pid: int, beginning: bytes) -> bool:
    """Whether a process was started with a variable that begins so; false for those of other users."""
    return f"\0{beginning.decode()}".encode() in b"\0" + _read(f"/proc/{pid}/environ")


def _read(path: str) -> bytes:
    """A file of `/proc`, whole; empty if there is none or it may not be read."""
    parts = []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        while part := os.read(descriptor, 65_536):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return b"".join(parts)


def watch(mark: str, pipe: int = 0) -> None:
    """Hear which groups run, `+NUMBER` and `-NUMBER` a line, until a line says `.`, or the pipe ends: then kill them, and whoever bears the mark."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    rest = b""
    while data := os.read(pipe, 65_536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line == b".":
                return
            (groups.add if line.startswith(b"+") else groups.discard)(int(line[1:]))
    end(mark, groups, looks=LOOKS)


if __name__ == "__main__":
    watch(sys.argv[1])
