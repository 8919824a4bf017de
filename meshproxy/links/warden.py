"""`Warden`: every command that runs, for this process's own end. Place: links, below `process`.

Whoever runs a command says so before and after. As long as one runs, a watcher does, too (`meshproxy.links.kin`): a small process that kills
what is left when this one is gone, however it went. Nothing that the system offers a parent does that everywhere: a signal at the parent's
death reaches children alone, and not what `npx` or `sh -c` has started.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Collection
from typing import Final

from meshproxy.links import kin

__all__ = ["Warden", "kill_all", "warden"]

_SLOW: Final = 5.0
"""Seconds that a watcher may take to end."""


class Warden:
    """The groups of the commands that run, and the watcher. One for each process; not for several threads."""

    def __init__(self) -> None:
        self.groups: set[int] = set()
        self._token = secrets.token_hex(8)
        self._commands = 0
        self._running: set[str] = set()
        self._watcher: subprocess.Popen[bytes] | None = None

    def begin_anew(self) -> None:
        """This is another process now, and what runs is not its own."""
        self.groups.clear()
        self._running.clear()
        self._token = secrets.token_hex(8)
        self._watcher = None

    @property
    def pid(self) -> int | None:
        """The watcher's; None while there is none."""
        return self._watcher.pid if self._watcher is not None else None

    def admit(self) -> str:
        """A command is about to be run: the mark that it has to have in its environment as `kin.MARK`. `dismiss` is due.

        Raises:
            OSError: no watcher can be started, so neither can a command.
        """
        self._watch()
        self._commands += 1
        mark = f"{self._token}.{self._commands}."
        self._running.add(mark)
        return mark

    def enlist(self, group: int) -> None:
        """It runs, and leads this group."""
        self.groups.add(group)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Nobody is in the group any more, so that its number may become somebody else's. Idempotent."""
        if group in self.groups:
            self.groups.discard(group)
            self._tell(f"-{group}\n")

    async def dismiss(self, mark: str, group: int, known: Collection[kin.Member] = ()) -> None:
        """It has ended: kill what it left behind, and whoever of `known` runs. With the last command the watcher ends."""
        try:
            await asyncio.to_thread(kin.end, mark, (), known)
        finally:
            self.forget(group)
            self._running.discard(mark)
            if not self._running and self._watcher is not None:
                watcher, self._watcher = self._watcher, None
                await asyncio.to_thread(_ended, watcher)

    def kill_all(self) -> None:
        """Kill every group that runs, at once and without waiting; what has left its group is killed by the watcher when this process ends."""
        for group in self.groups:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)

    def _watch(self) -> None:
        """Have a watcher; another one if somebody has killed the last."""
        if self._watcher is not None and self._watcher.poll() is None:
            return
        if getattr(sys, "frozen", False) or not sys.executable:
            return  # an application in one file has no interpreter to run another program with
        if self._watcher is not None:
            _ended(self._watcher)
            self._watcher = None
        try:
            self._watcher = self._start()
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}, said of the watcher that every command has") from None
        self._tell("".join(f"+{group}\n" for group in self.groups))

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            [sys.executable, "-I", "-S", kin.__file__, f"{self._token}."],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={kin.WATCHER: "1"},
            # What is typed at a terminal, and a signal to all of its group, is for the mesh: the watcher ends with it.
            start_new_session=True,
        )

    def _tell(self, lines: str) -> None:
        if self._watcher is not None and self._watcher.stdin is not None and lines:
            # One that was killed is replaced before the next command.
            with contextlib.suppress(BrokenPipeError):
                self._watcher.stdin.write(lines.encode())


warden: Final = Warden()
"""That of this process."""

if hasattr(os, "register_at_fork"):
    # A process that is forked has commands of its own, and kills nobody else's.
    os.register_at_fork(after_in_child=warden.begin_anew)

kill_all: Final = warden.kill_all
"""For a second signal, and nothing else."""


def _ended(watcher: "subprocess.Popen[bytes]") -> None:
    """Have a watcher end that has nothing left to do, and wait for that. Blocks."""
    if watcher.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            watcher.stdin.write(b".\n")
        watcher.stdin.close()
    try:
        watcher.wait(_SLOW)
    except subprocess.TimeoutExpired:
        watcher.kill()
        watcher.wait()
