"""`Process`: a program in a process group of its own, its output cut into lines, and its certain end.

What it starts itself (npx starts node) is in the group too, so a signal to the group reaches all of it, and what leaves the group is
found in the end by other ways (`meshproxy.links.kin`). One task owns the process from its start to its end; cancelling whoever waits for
that changes nothing, and cancelling the task itself, as the end of the event loop does, kills the group at once. A watcher does when this
process is killed (`meshproxy.links.warden`).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final, cast

from meshproxy.links import kin
from meshproxy.links.feed import Feed
from meshproxy.links.lines import Lines, LineTooLong
from meshproxy.links.pipe_end import PipeEnd
from meshproxy.links.warden import warden
from meshproxy.observe.spelling import beginning

__all__ = ["Process"]

LAST_WORDS: Final = 3
"""Lines of stderr that are kept for the reason of an end."""
MAX_STDERR_LINE: Final = 8 * 1024
GRACE: Final = 0.5
"""Seconds between the end of a program and the end of its output: what it said last may still be in the pipe."""
REAP: Final = 2.0
"""Seconds for the system to report the end of a program that was killed."""
POLL: Final = 0.02
MANY: Final = 32
"""Lines that are taken at once; before the next, whoever waits for others has his turn."""
RESTS: Final = (9, 0.1)
"""That turn is as many times as long as the lines took as there were in a row, so often at most, and so many seconds: who never stops talking has a tenth of the loop."""


class Process:
    """One run of a program.

    The loops' own subprocesses are not used: uvloop's hand their file descriptors down to the program, so that its end of a pipe
    never closes, and asyncio's need a thread each to learn of the end.

    Args:
        on_line: told each line of its standard output.
        on_stderr: told each line of its standard error, decoded; one over `MAX_STDERR_LINE` bytes in pieces.
        on_end: told once why the conversation is over, when the program has ended or closed its output by itself.
        on_room: told false when its standard input takes no more for now, and true when it does again.
        on_gone: told once when nothing of it is left.
        shutdown: seconds for `aclose`: two fifths each for its leaving by itself and upon SIGTERM, the rest upon SIGKILL.
        lines: cuts its standard output into lines.

    Attributes:
        pid: of the program and of its group; 0 before it runs.
        status: its exit status, or the negative number of the signal that ended it; None while it runs.
        feed: writes to its standard input.
    """

    def __init__(
        self,
        on_line: Callable[[bytes], None],
        on_stderr: Callable[[str], None],
        on_end: Callable[[str], None],
        on_room: Callable[[bool], None],
        on_gone: Callable[[], None],
        *,
        shutdown: float,
        lines: Lines,
    ) -> None:
        self.pid = 0
        self.status: int | None = None
        self._on_line = on_line
        self._on_stderr = on_stderr
        self._on_end = on_end
        self._on_room = on_room
        self._on_gone = on_gone
        self._shutdown = shutdown
        self._lines = lines
        self._partial_stderr = b""
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self.feed = Feed()
        self._stdout: asyncio.ReadTransport | None = None
        self._waiting: deque[bytes] = deque()  # lines of it
        self._floods = 0  # turns of others in a row
        self._over = False
        self._loop = loop = asyncio.get_running_loop()
        self._asked: asyncio.Future[bool] = loop.create_future()
        self._exited: asyncio.Future[None] = loop.create_future()
        self._ends: tuple[asyncio.Future[None], ...] = tuple(loop.create_future() for _ in range(3))
        self._owner: asyncio.Task[None] | None = None

    async def start(self, program: str, args: Sequence[str], env: Mapping[str, str], cwd: str | None) -> None:
        """Run `program`, the path of a file. `aclose` is due afterwards even if this was cancelled.

        Raises:
            OSError, ValueError: the system refuses.
        """
        pipe = subprocess.PIPE
        mark = warden.admit()
        try:
            popen = subprocess.Popen(  # noqa: ASYNC220, S603 - a millisecond, as in the loops; commands come from the configuration alone
                [program, *args],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                bufsize=0,
                start_new_session=True,
                env={**env, kin.MARK: mark},
                cwd=cwd,
            )
        except BaseException:
            await warden.dismiss(mark, 0)
            raise
        self.pid = popen.pid
        warden.enlist(self.pid)
        started: asyncio.Future[None] = self._loop.create_future()
        self._owner = asyncio.create_task(self._own(popen, mark, started))
        await started

    async def aclose(self, *, at_once: bool = False) -> None:
        """End the program and all in its group: it may leave by itself first, unless `at_once`. Idempotent."""
        if not self._asked.done():
            self._asked.set_result(at_once)
        if self._owner is not None:
            await asyncio.shield(self._owner)

    @property
    def last_words(self) -> str:
        """The last lines of its standard error, as one."""
        return " | ".join(map(_plain, self._last_words))

    @property
    def end(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            how = "closed its standard output"
        elif self.status < 0:
            how = f"was ended by {_signal_name(-self.status)}"
        else:
            how = f"exited with status {self.status}"
        return f"the process {how}; its last words: {self.last_words}" if self._last_words else f"the process {how}"

    # The task that owns it, and so is the last to let go of it.

    async def _own(self, popen: "subprocess.Popen[bytes]", mark: str, started: asyncio.Future[None]) -> None:
        transports: list[asyncio.BaseTransport] = []
        kindred: frozenset[kin.Member] = frozenset()
        try:
            self._watch(popen)
            try:
                await self._connect(popen, transports)
            except OSError as error:
                if not started.done():
                    started.set_exception(error)
                return
            if not started.done():
                started.set_result(None)
            hasty = await self._asked
            if self.feed.transport is not None:
                self.feed.transport.close()
            share = 0.4 * self._shutdown
            await asyncio.wait([self._exited], timeout=0 if hasty else share)
            if not self._exited.done():
                # Whoever descends from it and has left its group is found by it, as long as it is there.
                kindred = await asyncio.to_thread(kin.find, mark, (self.pid,))
            if self._signal(signal.SIGTERM):
                await self._emptied(share)
        finally:
            started.cancel()
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._exited], timeout=REAP)
            await warden.dismiss(mark, self.pid, kindred)
            for transport in transports:
                if not isinstance(transport, asyncio.WriteTransport):
                    transport.close()
                elif not self._ends[0].done():
                    transport.abort()  # what is not written yet has no reader
            if transports:
                await asyncio.wait(self._ends[: len(transports)], timeout=GRACE)
            for file in (popen.stdin, popen.stdout, popen.stderr):
                if file is not None:
                    file.close()
            self._on_gone()

    async def _connect(self, popen: "subprocess.Popen[bytes]", transports: list[asyncio.BaseTransport]) -> None:
        stdin, stdout, stderr = (cast("IO[bytes]", file) for file in (popen.stdin, popen.stdout, popen.stderr))
        writer = _Pipe(self._ends[0], on_room=self._on_room)
        self.feed.transport, _ = await self._loop.connect_write_pipe(lambda: writer, PipeEnd.of(stdin))
        transports.append(self.feed.transport)
        # Standard error first: what is said of an end is known before the end of the output tells of it.
        complaints = _Pipe(self._ends[1], on_data=self._take_stderr)
        transports.append((await self._loop.connect_read_pipe(lambda: complaints, PipeEnd.of(stderr)))[0])
        output = _Pipe(self._ends[2], on_data=self._take_stdout)
        self._ends[2].add_done_callback(lambda _: self._settle())
        self._stdout, _ = await self._loop.connect_read_pipe(lambda: output, PipeEnd.of(stdout))
        transports.append(self._stdout)

    def _watch(self, popen: "subprocess.Popen[bytes]") -> None:
        """Have `_exited` set when the program ends."""

        def reap() -> None:
            self.status = popen.wait()
            if not self._exited.done():
                self._exited.set_result(None)
            self._settle()

        try:
            descriptor = os.pidfd_open(popen.pid)
        except (AttributeError, OSError):
            # Not Linux, or an old one.
            def wait() -> None:
                os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(reap)

            threading.Thread(target=wait, name=f"wait-{popen.pid}", daemon=True).start()
        else:

            def ended() -> None:
                self._loop.remove_reader(descriptor)
                os.close(descriptor)
                reap()

            self._loop.add_reader(descriptor, ended)

    async def _emptied(self, seconds: float) -> None:
        """Wait until the group has no members any more, at most so long."""
        deadline = self._loop.time() + seconds
        await asyncio.wait([self._exited], timeout=seconds)
        while self._signal(0) and kin.is_alive(self.pid) and self._loop.time() < deadline:  # noqa: ASYNC110 - the system tells nobody when a group is empty
            await asyncio.sleep(POLL)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; false if nobody is in it any more."""
        if self.pid not in warden.groups:
            return False
        if self._exited.done():
            # Where we are the first process of a container, what it left behind is ours to bury.
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-self.pid, os.WNOHANG)[0]:
                    pass
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # Never again: the number may become another group's.
            if self._exited.done():
                warden.forget(self.pid)
            return False
        except PermissionError:
            return False
        return True

    # What the loop tells.

    def _take_stdout(self, data: bytes) -> None:
        if self._over:
            return
        try:
            lines = self._lines.feed(data)
        except LineTooLong as error:
            self._finish(f"it sent a message that is too large: {error}")
            return
        if len(lines) > MANY or self._waiting:
            is_under_way = bool(self._waiting)
            self._waiting.extend(lines)
            if not is_under_way:
                self._take_some()
            return
        self._floods = 0
        for line in lines:
            self._on_line(line)

    def _take_some(self) -> None:
        """Some of the lines that wait; others have their turn before the next."""
        begun = time.monotonic()
        for _ in range(min(MANY, len(self._waiting))):
            self._on_line(self._waiting.popleft())
        times, most = RESTS
        self._floods = min(times, self._floods + 1)
        if self._stdout is not None:
            self._stdout.pause_reading()
        # Of a program that has ended the rest is read at once: it is not waited for long (`GRACE`).
        rest = 0.0 if self._exited.done() else min(most, self._floods * (time.monotonic() - begun))
        self._loop.call_later(rest, self._go_on)

    def _go_on(self) -> None:
        if self._waiting:
            self._take_some()
        elif self._stdout is not None and not self._stdout.is_closing():
            self._stdout.resume_reading()

    def _take_stderr(self, data: bytes) -> None:
        lines = (self._partial_stderr + data).split(b"\n")
        rest = lines.pop()
        whole = len(rest) - len(rest) % MAX_STDERR_LINE
        self._partial_stderr = rest[whole:]
        for line in (*lines, *([rest[:whole]] if whole else [])):
            for start in range(0, len(line) or 1, MAX_STDERR_LINE):
                text = line[start : start + MAX_STDERR_LINE].decode("utf-8", "replace").rstrip()
                if text:
                    self._last_words.append(beginning(text, 200))
                self._on_stderr(text)

    def _settle(self) -> None:
        """One of the two ends has come: of the program or of its output. The other is given a moment."""
        if self._exited.done() and self._ends[2].done():
            self._finish()
        else:
            self._loop.call_later(GRACE, self._finish)

    def _finish(self, reason: str | None = None) -> None:
        if self._over:
            return
        self._over = True
        while self._waiting:
            self._on_line(self._waiting.popleft())
        self._lines.clear()
        if self._partial_stderr:
            self._take_stderr(b"\n")
        self._on_end(reason or self.end)
        if not self._asked.done():
            self._asked.set_result(False)


class _Pipe(asyncio.Protocol):
    """One of the three pipes, for the loop."""

    def __init__(
        self,
        lost: asyncio.Future[None],
        *,
        on_data: Callable[[bytes], None] = lambda _: None,
        on_room: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._lost = lost
        self._on_room = on_room
        self.data_received = on_data  # type: ignore[assignment]  # each chunk straight to its taker

    def pause_writing(self) -> None:
        self._on_room(False)

    def resume_writing(self) -> None:
        self._on_room(True)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
