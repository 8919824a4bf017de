"""`Supervisor`: starts the workers of a mesh, replaces those that end, rolls edits through them as one, hands over to another version of the program, and ends them. Place: cluster.

It serves nothing, runs no event loop and starts no thread: so it can fork at any time, and a worker inherits what it needs (the listening sockets, the key, the config in force) by no other way. A worker is
in a process group of its own, so that what is typed at a terminal reaches the supervisor alone.
"""

import contextlib
import os
import secrets
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from meshproxy.cluster.ballot import Ballot, Told
from meshproxy.cluster.lines import Lines, line_of
from meshproxy.cluster.seat import DOORS, Seat
from meshproxy.cluster.succession import Elder, Succession
from meshproxy.cluster.upgrade import SAY, Successors, Upgrade

__all__ = ["Supervisor"]

log = structlog.get_logger(__name__)

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
PAUSES: Final = (0.2, 5.0)
"""Seconds before a worker is started again that ended soon after its start, and the most; each such end doubles them. Its connections wait meanwhile."""
STABLE: Final = 10.0
"""Seconds after which a worker has held."""
LEAVE: Final = 30.0
"""Seconds that workers have to end in good order. They have bounds of their own, and need much less."""


class _Worker:
    """One worker that runs."""

    def __init__(self, number: int, name: str, pid: int, line: socket.socket) -> None:
        self.number = number
        self.name = name
        self.pid = pid
        self.line = line
        self.lines = Lines()
        self.begun = time.monotonic()


class Supervisor:
    """Runs `count` workers, each of which does `work` and exits with what it returns.

    Args:
        count: how many.
        digest: of the config that they begin with.
        work: in the worker; it is given its seat.
        given: makes what a later worker begins with, of a digest and the text of the config in force.
        on_end: called when no new connections are to be taken.
        is_left: asked at a SIGHUP whether it says that the terminal is gone.
        successors: how there is a next version of the program.
    """

    def __init__(
        self,
        count: int,
        digest: str,
        work: Callable[[Seat], int],
        *,
        given: Callable[[str, bytes], Any],
        on_end: Callable[[], None],
        is_left: Callable[[], bool],
        successors: Successors,
    ) -> None:
        self._count = count
        self._work = work
        self._given = given
        self._on_end = on_end
        self._is_left = is_left
        self._ballot = Ballot(digest)
        self._texts: dict[str, bytes] = {}
        self._content: Any = None
        self._upgrade = Upgrade(successors)
        self._settled: set[int] = set()
        self._key = secrets.token_bytes(32)
        self._trail = secrets.token_hex(8)
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}
        self._failures = [0] * count
        self._has_settled = False
        self._ending = 0.0
        self._status = 0
        self._selector = selectors.DefaultSelector()
        self._directory = Path()
        self._lifeline = (-1, -1)
        self._wakeup: tuple[socket.socket, socket.socket]

    def run(self) -> int:
        """Until a signal ends it: 0, or what a worker ended with that could not start."""
        self._settle_in()
        self._wakeup = socket.socketpair()
        for end in self._wakeup:
            end.setblocking(False)
        self._selector.register(self._wakeup[0], selectors.EVENT_READ, None)
        signal.set_wakeup_fd(self._wakeup[1].fileno())
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        # One that came while the version before became this one has waited.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            for number in range(self._count):
                self._start(number)
            self._bury()
            while self._workers or self._due or self._upgrade.has_elders:
                self._turn()
        finally:
            for worker in self._workers.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
                worker.line.close()
            self._upgrade.close()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._close()
            shutil.rmtree(self._directory, ignore_errors=True)
        return self._status

    def _settle_in(self) -> None:
        """Have what all workers have in common: made here, or left by the version before."""
        before = self._upgrade.adopt()
        if before is not None:
            self._directory, self._lifeline = Path(before.directory), before.lifeline
            self._key, self._trail = bytes.fromhex(before.key), before.trail
            # While that version serves, there is no hurry to give up.
            self._has_settled = True
            return
        self._directory = Path(tempfile.mkdtemp(prefix="meshproxy-"))
        for of in DOORS:
            (self._directory / of).mkdir(0o700)
        self._lifeline = os.pipe()

    def _turn(self) -> None:
        """Wait for the next thing to happen, and see to it."""
        now = time.monotonic()
        due = [*self._due.values(), *([self._ending] if self._ending else [])]
        timeout = max(0.0, min(due) - now) if due else None
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    for number in self._wakeup[0].recv(4096):
                        self._on_signal(number)
            else:
                self._read(key.data)
        if len(self._settled) == self._count and not self._ending:
            self._upgrade.begin_if_wanted()
        now = time.monotonic()
        if self._ending and now >= self._ending:
            self._end_all(signal.SIGKILL)
            self._ending = now + LEAVE
        for number in [number for number, at in self._due.items() if at <= now]:
            del self._due[number]
            self._start(number)

    # --- signals

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._bury()
        elif number == signal.SIGHUP and not self._is_left():
            self._reload()
        elif number == signal.SIGUSR2:
            self._upgrade.is_wanted = True
        elif number in SIGNALS:
            if self._ending:
                self._status = 128 + number
            self._end()

    def _end(self, status: int = 0) -> None:
        """Ask everybody to end; for the second time, at once."""
        if not self._ending:
            self._status = status
            self._on_end()
        self._ending = time.monotonic() + LEAVE
        self._due.clear()
        self._end_all(signal.SIGTERM)

    def _end_all(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)
        self._upgrade.end(number)

    def _become_next(self) -> None:
        elders = [Elder(worker.name, worker.pid, worker.line.fileno()) for worker in self._workers.values()]
        left = Succession(str(self._directory), self._key.hex(), self._trail, self._lifeline, elders)
        self._upgrade.leave(left, SIGNALS)

    def _reload(self) -> None:
        self._ballot.again()
        for number in list(self._workers):
            self._say(number, line_of("reload"))

    # --- workers

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        name = f"{number:03d}{secrets.token_hex(4)}"
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        supervisor = os.getpid()
        pid = os.fork()
        if not pid:
            status = 70
            try:
                seat = Seat(
                    *(number, name, self._directory, self._key, self._trail),
                    *(theirs, self._lifeline[0], supervisor, self._content),
                )
                self._become_worker(ours)
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
                status = self._work(seat)
                sys.stdout.flush()
            finally:
                os._exit(status)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        ours.settimeout(SAY)
        worker = self._workers[number] = _Worker(number, name, pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        log.info("worker.started", worker=number, pid=pid)

    def _become_worker(self, line: socket.socket) -> None:
        """In the child: nothing of the supervisor's own stays."""
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        line.close()
        os.close(self._lifeline[1])
        for worker in self._workers.values():
            worker.line.close()
        self._upgrade.forget()
        self._selector.close()
        for end in self._wakeup:
            end.close()

    def _bury(self) -> None:
        """Take note of those that have ended."""
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))
        for name in self._upgrade.bury():
            self._clear(name)
        if self._upgrade.has_passed() and self._workers and not self._ending:
            self._become_next()

    def _ended(self, worker: _Worker, status: int) -> None:
        number = worker.number
        del self._workers[number]
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.line)
        worker.line.close()
        self._settled.discard(number)
        self._clear(worker.name)
        self._tell(self._ballot.left(number))
        if self._ending:
            return
        if status > 0 and not self._has_settled:
            # What the first ones cannot do, others could not.
            self._end(status)
            return
        now = time.monotonic()
        has_held = now - worker.begun >= STABLE
        self._failures[number] = 0 if has_held else self._failures[number] + 1
        pause = min(PAUSES[0] * 2 ** (self._failures[number] - 1), PAUSES[1]) if self._failures[number] > 1 else 0.0
        self._due[number] = now + pause
        log.warning("worker.ended", worker=number, pid=worker.pid, status=status, again_in_s=round(pause, 1))

    def _clear(self, name: str) -> None:
        """Nobody listens any more where one that has ended did."""
        for of in DOORS:
            (self._directory / of / name).unlink(missing_ok=True)

    # --- what workers say

    def _read(self, worker: _Worker) -> None:
        if self._workers.get(worker.number) is not worker:
            return  # it was buried a moment ago
        try:
            data = worker.line.recv(65536)
        except OSError:
            data = b""
        if not data:
            # It ends, and is buried in a moment.
            self._selector.unregister(worker.line)
            return
        for message in worker.lines.feed(data):
            self._hear(worker.number, message)

    def _hear(self, number: int, message: dict[str, Any]) -> None:
        said, digest = message["said"], message["digest"]
        if said == "settled":
            self._has_settled = True
            self._settled.add(number)
            if len(self._settled) == self._count:
                self._upgrade.relieve()
        elif said == "reload":
            self._reload()
        elif said == "restart":
            for other in list(self._workers):
                if other != number:
                    self._say(other, line_of("restart", name=message["name"]))
        elif said == "refuses":
            self._texts.pop(digest, None)
            self._tell(self._ballot.refuses(number, digest, message["problems"]))
        else:
            self._texts[digest] = b64decode(message["data"]) or self._texts.get(digest, b"")
            self._tell(self._ballot.ready(number, digest) if said == "ready" else self._ballot.holds(number, digest))

    def _tell(self, told: list[Told]) -> None:
        for one in told:
            if one.said == "leave":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._workers[one.worker].pid, signal.SIGTERM)
            else:
                self._say(one.worker, line_of(one.said, digest=one.digest, problems=one.problems))
        text = self._texts.get(self._ballot.in_force)
        if text:
            self._content = self._given(self._ballot.in_force, text)
            self._texts.clear()

    def _say(self, number: int, line: bytes) -> None:
        worker = self._workers.get(number)
        if worker is None:
            return
        try:
            worker.line.sendall(line)
        except OSError:
            # It does not listen, so it does not work either.
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def _close(self) -> None:
        self._selector.close()
        for end in self._wakeup:
            end.close()
        for descriptor in self._lifeline:
            os.close(descriptor)
