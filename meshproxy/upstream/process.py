"""`Process`: a program in a process group of its own, its output cut into lines, and its certain end.

What it starts itself (npx starts node) is in the group too, so a signal to the group reaches all of it. One task owns the process
from its start to its end; cancelling whoever waits for that changes nothing, and cancelling the task itself, as the end of the event
loop does, kills the group at once.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

__all__ = ["LineTooLong", "Lines", "Process", "kill_all"]

LAST_WORDS: Final = 3
"""Lines of stderr that are kept for the reason of an end."""
MAX_STDERR_LINE: Final = 8 * 1024
GRACE: Final = 0.5
"""Seconds between the end of a program and the end of its output: what it said last may still be in the pipe."""
REAP: Final = 2.0
"""Seconds for the system to report the end of a program that was killed."""
POLL: Final = 0.02

_groups: set[int] = set()


def kill_all() -> None:
    """Kill every process group that is alive, at once and without waiting. For a second signal, and nothing else."""
    for group in _groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


class LineTooLong(ValueError):
    """A line is longer than the bound. The splitter must not be fed again."""


class Lines:
    """Cuts bytes into lines, in linear time however they come."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends.

        Raises:
            LineTooLong: what has no end yet is longer than the bound.
        """
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > self._bound:
                raise LineTooLong(f"a line is longer than {self._bound} bytes")
        return lines


class Process(asyncio.SubprocessProtocol):
    """One run of a program.

    Args:
        on_line: told each line of its standard output.
        on_stderr: told each line of its standard error, decoded, and cut to `MAX_STDERR_LINE`.
        on_end: told once why the conversation is over, when the program has ended or closed its output by itself.
        on_room: told false when its standard input takes no more for now, and true when it does again.
        on_gone: told once when nothing of it is left.
        shutdown: seconds for `aclose`: two fifths each for its leaving by itself and upon SIGTERM, the rest upon SIGKILL.
        max_line: bytes of a line of standard output.

    Attributes:
        pid: of the program and of its group; 0 before it runs.
        status: its exit status, or the negative number of the signal that ended it; None while it runs.
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
        max_line: int,
    ) -> None:
        self.pid = 0
        self.status: int | None = None
        self._on_line = on_line
        self._on_stderr = on_stderr
        self._on_end = on_end
        self._on_room = on_room
        self._on_gone = on_gone
        self._shutdown = shutdown
        self._lines = Lines(max_line)
        self._partial_stderr = b""
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._over = False
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._started: asyncio.Future[None] = loop.create_future()
        self._asked: asyncio.Future[bool] = loop.create_future()
        self._exited: asyncio.Future[None] = loop.create_future()
        self._silent: asyncio.Future[None] = loop.create_future()
        self._disconnected: asyncio.Future[None] = loop.create_future()
        self._owner: asyncio.Task[None] | None = None

    async def start(self, program: str, args: Sequence[str], env: Mapping[str, str], cwd: str | None) -> None:
        """Run `program`, the path of a file. `aclose` is due afterwards even if this was cancelled.

        Raises:
            OSError: the system refuses.
        """
        self._owner = asyncio.create_task(self._own(program, args, env, cwd))
        self._owner.add_done_callback(lambda _: self._on_gone())
        await asyncio.shield(self._started)

    def write(self, data: bytes) -> None:
        """Write to its standard input; lost if that is closed."""
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(data)

    async def aclose(self, *, at_once: bool = False) -> None:
        """End the program and all in its group: it may leave by itself first, unless `at_once`. Idempotent."""
        if not self._asked.done():
            self._asked.set_result(at_once)
        if self._owner is not None:
            await asyncio.shield(self._owner)

    @property
    def last_words(self) -> str:
        """The last lines of its standard error, as one."""
        return " | ".join(self._last_words)

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

    async def _own(self, program: str, args: Sequence[str], env: Mapping[str, str], cwd: str | None) -> None:
        pipe = asyncio.subprocess.PIPE
        try:
            transport, _ = await self._loop.subprocess_exec(
                lambda: self,
                program,
                *args,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
                env=dict(env),
                cwd=cwd,
            )
        except BaseException as error:
            if not isinstance(error, OSError | ValueError):
                self._kill()
                self._started.cancel()
                raise
            self._started.set_exception(error)
            self._started.exception()  # its waiter may have been cancelled
            return
        try:
            self._started.set_result(None)
            hasty = await self._asked
            if self._stdin is not None:
                self._stdin.close()
            share = 0.4 * self._shutdown
            await asyncio.wait([self._exited], timeout=0 if hasty else share)
            if self._signal(signal.SIGTERM):
                await self._emptied(share)
        finally:
            self._kill()
            await asyncio.wait([self._exited], timeout=REAP)
            _groups.discard(self.pid)
            transport.close()
            await asyncio.wait([self._disconnected], timeout=GRACE)

    async def _emptied(self, seconds: float) -> None:
        """Wait until the group has no members any more, at most so long."""
        deadline = self._loop.time() + seconds
        await asyncio.wait([self._exited], timeout=seconds)
        while self._signal(0) and self._loop.time() < deadline:  # noqa: ASYNC110 - the system tells nobody when a group is empty
            await asyncio.sleep(POLL)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; false if nobody is in it any more."""
        if not self.pid or self.pid not in _groups:
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
                _groups.discard(self.pid)
            return False
        except PermissionError:
            return False
        return True

    # For the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()
        _groups.add(self.pid)
        self._stdin = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        received = cast("bytes", data)
        if fd == 2:
            self._take_stderr(received)
        elif not self._over:
            try:
                lines = self._lines.feed(received)
            except LineTooLong as error:
                self._finish(f"it sent a message that is too large: {error}")
                return
            for line in lines:
                self._on_line(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._settle(self._silent)
        elif fd == 2 and self._partial_stderr:
            self._take_stderr(b"\n")

    def process_exited(self) -> None:
        if self._transport is not None:
            self.status = self._transport.get_returncode()
        self._settle(self._exited)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._disconnected.done():
            self._disconnected.set_result(None)

    def pause_writing(self) -> None:
        self._on_room(False)

    def resume_writing(self) -> None:
        self._on_room(True)

    def _settle(self, future: asyncio.Future[None]) -> None:
        """One of the two ends has come: of the program or of its output. The other is given a moment."""
        if not future.done():
            future.set_result(None)
        if self._exited.done() and self._silent.done():
            self._finish()
        else:
            self._loop.call_later(GRACE, self._finish)

    def _finish(self, reason: str | None = None) -> None:
        if not self._over:
            self._over = True
            self._on_end(reason or self.end)
            if not self._asked.done():
                self._asked.set_result(False)

    def _take_stderr(self, data: bytes) -> None:
        lines = (self._partial_stderr + data).split(b"\n")
        self._partial_stderr = lines.pop()
        if len(self._partial_stderr) > MAX_STDERR_LINE:
            lines.append(self._partial_stderr)
            self._partial_stderr = b""
        for line in lines:
            text = line[:MAX_STDERR_LINE].decode("utf-8", "replace").rstrip()
            if text:
                self._last_words.append(_plain(text)[:200])
            self._on_stderr(text)


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
