"""Upstreams that are programs: one message a line on standard input and output (basic/transports, "stdio").

Each link is a process. What it prints on standard output that is no message is ignored with a warning, since many servers greet
there; its standard error goes to a callback, line by line.
"""

import asyncio
import errno
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from meshproxy.errors import RpcError, UpstreamUnavailable
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call
from meshproxy.links.duplex import CLOSED, DuplexLink, excerpt
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.faults import Faults
from meshproxy.links.lines import Lines
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.links.process import Process
from meshproxy.links.stderr import Stderr
from meshproxy.wire.protocol import Era

__all__ = ["StdioEndpoint", "StdioLink"]

log = structlog.get_logger(__name__)

SERVED: Final = "MESHPROXY_SERVED"
"""The environment variable that names the files of the meshes above a program; see `meshproxy.cli.nesting`."""
INHERITED: Final = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", SERVED)
"""What a program gets of our environment: nothing that could be a secret (the SDK's set, and the name above)."""
UNFIT: Final = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOEXEC,
        errno.ENOTDIR,
        errno.EPERM,
    }
)
"""What the system says of a file that is no program, or not ours to run. Others may be of the moment: no memory, no descriptors, too many processes."""
WARNINGS: Final = 3
"""Lines of noise on standard output that are logged; a server that goes on is a nuisance, and not news."""


class StdioEndpoint(Endpoint):
    """A command.

    Args:
        name: the upstream's configured name.
        command: a name that is looked up on PATH, or a path, relative to `cwd`.
        args: its arguments.
        env: added to the inherited environment.
        cwd: its working directory; ours if None.
        shutdown: seconds that a process has for its end, all in all.
        stderr: takes each line of standard error; what is a function is told them, a flood in part.
        max_message: bytes of one message.

    Attributes:
        stderr: what its processes wrote to standard error last, be they gone or not.
    """

    is_process = True

    def __init__(
        self,
        name: str,
        command: str,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        *,
        shutdown: float = 5.0,
        stderr: Callable[[str], None] | Stderr = lambda _: None,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        super().__init__(name)
        self._command = command
        self._args = tuple(args)
        self._env = dict(env or {})
        self._cwd = cwd
        self._shutdown = shutdown
        self.stderr = stderr if isinstance(stderr, Stderr) else Stderr(stderr)
        self._max_message = max_message
        self._links: set[StdioLink] = set()
        self._dies_anyway = False

    async def connect(
        self,
        *,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        listener: Listener,
        timeout: float | None,
        era: Era | None = None,
    ) -> Link:
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout

        async def attempt(remembered: Era | None) -> StdioLink:
            link = StdioLink(
                self.faults,
                listener,
                client,
                capabilities,
                shutdown=self._shutdown,
                stderr=self.stderr.take,
                max_message=self._max_message,
                on_gone=self._links.discard,
            )
            self._links.add(link)
            try:
                async with asyncio.timeout_at(deadline):
                    await link.start(self._command, self._args, self._env, self._cwd)
                    await link.open(remembered, era)
            except BaseException as error:
                died = link.has_died
                await link.abandon()
                self._links.discard(link)
                if isinstance(error, TimeoutError):
                    raise UpstreamUnavailable(self.name, link.silence(timeout)) from None
                if died and isinstance(error, UpstreamUnavailable):
                    raise _DiedError(self.name, error.reason) from None
                raise
            return link

        if era is not None:
            return await attempt(None)
        known = self.known
        try:
            try:
                link = await attempt(known.era)
            except _DiedError:
                # To some servers any request before `initialize` is a reason to exit. One look without the probe tells.
                if known.era is Era.LEGACY or self._dies_anyway:
                    raise
                self._dies_anyway = True
                link = await attempt(Era.LEGACY)
        except BaseException:
            known.doubt()
            raise
        known.era, self._dies_anyway = link.era, False
        return link

    @property
    def kept_stderr(self) -> Stderr:
        return self.stderr

    def keep_stderr(self, size: int) -> None:
        self.stderr.keep(size)

    async def aclose(self) -> None:
        await asyncio.gather(*(link.aclose() for link in list(self._links)))

    def statistics(self) -> dict[str, Any]:
        return {"pids": sorted(link.process.pid for link in self._links if link.process.pid)}


class StdioLink(DuplexLink):
    """One process. Made by its endpoint; `process` has the process id."""

    def __init__(
        self,
        faults: Faults,
        listener: Listener,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        *,
        shutdown: float,
        stderr: Callable[[str], None],
        max_message: int,
        on_gone: "Callable[[StdioLink], None]",
    ) -> None:
        super().__init__(faults, listener, client, capabilities)
        self._noise = 0
        self._first_noise = ""
        self.has_died = False
        self.process = Process(
            self._requests.received,
            stderr,
            self._on_end,
            lambda is_room: self._resumed() if is_room else self._paused(),
            lambda: on_gone(self),
            shutdown=shutdown,
            lines=Lines(max_message, self._allowed, self._left_out),
        )
        self._requests.write = self.process.feed.write

    async def start(self, command: str, args: Sequence[str], env: Mapping[str, str], cwd: str | None) -> None:
        """Run the program. Raises `UpstreamUnavailable`."""
        surroundings = environment(env)
        try:
            program = find_program(command, surroundings["PATH"], cwd)
        except FileNotFoundError as error:
            raise UpstreamUnavailable(self.upstream, str(error), is_lasting=True) from None
        try:
            await self.process.start(program, args, surroundings, cwd)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            is_lasting = isinstance(error, ValueError) or error.errno in UNFIT
            reason = f"the command {command!r} cannot be run: {reason}"
            raise UpstreamUnavailable(self.upstream, reason, is_lasting=is_lasting) from None

    def silence(self, seconds: float | None) -> str:
        """Why negotiation came to nothing in so many seconds."""
        reason = f"it did not answer initialize within {seconds:g} s"
        if self._first_noise:
            reason += f"; it printed text on stdout that is not MCP: {self._first_noise!r}"
        if self.process.last_words:
            reason += f"; its last words on stderr: {self.process.last_words}"
        return reason

    async def aclose(self) -> None:
        self._end(CLOSED)
        await self._questions.aclose()
        await self.process.aclose()

    async def abandon(self) -> None:
        """Close at once what was never negotiated."""
        self._end(CLOSED)
        await self.process.aclose(at_once=True)

    def write(self, message: bytes, request_id: int | None = None) -> None:
        self.process.feed.write(message)

    def unreadable(self, data: bytes, error: RpcError, call: Call | None) -> None:
        if data and not data.isspace():
            super().unreadable(data, error, call)

    def _on_garbage(self, data: bytes, error: RpcError) -> None:
        if error.data is not None:
            super()._on_garbage(data, error)
            return
        self._noise += 1
        self._first_noise = self._first_noise or excerpt(data)
        if self._noise <= WARNINGS:
            log.warning(
                "upstream.noise",
                upstream=self.upstream,
                text=excerpt(data),
                consequence="ignored: only MCP messages belong on stdout"
                + ("; more is not logged" if self._noise == WARNINGS else ""),
            )

    def _on_end(self, reason: str) -> None:
        self.has_died = True
        self._lost(reason)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program: what is inherited, and `env`.

    PATH ends with the directory of this Python, so that `meshproxy` and what is installed beside it are found.
    """
    # A value that begins so is a function exported by an old bash, which a shell at the other end would run (CVE-2014-6271).
    inherited = {name: os.environ[name] for name in INHERITED if not os.environ.get(name, "()").startswith("()")}
    merged = inherited | dict(env)
    merged["PATH"] = os.pathsep.join((merged.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    return merged


def find_program(command: str, path: str, cwd: str | None) -> str:
    """The file that a command names.

    Raises:
        FileNotFoundError: there is none, or no directory `cwd`; its text says what to do.
    """
    if cwd is not None and not Path(cwd).is_dir():
        raise FileNotFoundError(f"the working directory {cwd!r} does not exist")
    if os.sep not in command:
        found = shutil.which(command, path=path)
        if found is None:
            raise FileNotFoundError(f"the command {command!r} was not found on PATH: install it, or give its full path")
        return found
    file = Path(cwd or ".", command)
    if not file.is_file():
        raise FileNotFoundError(f"the command {command!r} does not exist")
    if not os.access(file, os.X_OK):
        raise FileNotFoundError(f"the command {command!r} is not executable")
    return str(file.absolute())


class _DiedError(UpstreamUnavailable):
    """The process ended by itself before it was negotiated with."""
