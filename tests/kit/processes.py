"""Processes, file descriptors and tasks, seen from outside: what is there, and what is left over."""

import asyncio
import contextlib
import gc
import os
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from tests.kit.waiting import eventually

SHARED: set[int] = set()
"""The ids of the servers that a session's tests share: no test's own, and so nobody's children."""

WATCHER = re.compile(r"/links/kin\.py ")


def _status(pid: object) -> list[str]:
    """The fields of a process after its name: its state, its parent and so on. OSError if there is none."""
    # The name of the program stands in parentheses and may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return _status(pid)[0] != "Z"
    except OSError:
        return False


def children(parent: int | None = None) -> dict[int, str]:
    """The processes that this one, or another, started and that are not gone: their command lines by id.

    Zombies are among them, and servers that are `SHARED` are not.
    """
    parent = os.getpid() if parent is None else parent
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(_status(folder.name)[1]) == parent:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found[int(folder.name)] = line or "(a zombie)"
    return {pid: line for pid, line in sorted(found.items()) if pid not in SHARED}


def commands(parent: int | None = None) -> dict[int, str]:
    """The same without the watcher that every process has which runs commands."""
    return {pid: line for pid, line in children(parent).items() if not WATCHER.search(line)}


def descendants(parent: int) -> dict[int, str]:
    """The children of a process, and theirs, and so on."""
    found: dict[int, str] = {}
    fresh = children(parent)
    while fresh:
        found |= fresh
        fresh = {pid: line for each in fresh for pid, line in children(each).items() if pid not in found}
    return found


def descriptors() -> dict[int, str]:
    """The open file descriptors of this process and what they are; nothing where the system does not tell."""
    found = {}
    for link in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            found[int(link.name)] = str(link.readlink())
    return found


def _kinds(found: dict[int, str]) -> Counter[str]:
    """How many there are of each kind. A loop closes and opens its own between two runs, under whichever numbers are free."""
    return Counter(what.partition(":[")[0] for what in found.values())


@contextlib.asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """At the end there are no more tasks but the test runner's, processes and file descriptors than before."""
    tasks, before = asyncio.all_tasks(), _kinds(descriptors())
    processes = children().keys()
    yield

    def left() -> tuple[list[str], list[str], list[str]]:
        return (
            [repr(task) for task in asyncio.all_tasks() - tasks if "TestRunner" not in repr(task)],
            [line for pid, line in children().items() if pid not in processes],
            # uvloop opens the null device with its first process, and keeps it.
            [what for what in (_kinds(descriptors()) - before).elements() if what != "/dev/null"],
        )

    collected = -1.0

    def is_clean() -> bool:
        nonlocal collected
        if any(left()) and time.monotonic() > collected + 0.5:
            # What nobody refers to any more is garbage, and not left over. Not at every look: nothing else runs meanwhile, neither a
            # thread that is about to end what is left.
            gc.collect()
            collected = time.monotonic()
        return not any(left())

    try:
        await eventually(is_clean, within=5)
    except TimeoutError:
        raise AssertionError(f"left over (tasks, processes, descriptors): {left()}") from None
