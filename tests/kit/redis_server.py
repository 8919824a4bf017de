"""A Redis of the test's own: a process, on a port that stays its own when it is killed and started again."""

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.waiting import DEADLINE, wait_for

__all__ = ["RedisServer", "needs_redis", "redis_server"]

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
HIGHEST = 55535
"""A node of a cluster has another port, which is 10,000 above."""
needs_redis = pytest.mark.skipif(
    PROGRAM is None, reason="there is no redis-server; apt-get install redis-server brings it"
)


class RedisServer:
    """See the module. It begins empty each time, as it keeps nothing on the disk."""

    def __init__(self, folder: Path, *options: str, file: Path | None = None) -> None:
        self.port = 65535
        while self.port > HIGHEST:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._log = folder / f"redis-{self.port}.log"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        # A file is what makes it a Sentinel.
        self._begin = [] if file is None else [str(file), "--sentinel"]
        self._kept = ["--save", ""] if file is None else []

    def start(self) -> None:
        """Run until `kill`; it answers when this returns."""
        assert PROGRAM is not None
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), *self._kept, *self._options]
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen([PROGRAM, *self._begin, *own], stdout=sink, stderr=sink)
        wait_for(self._answers, self._process, self._log)

    def kill(self) -> None:
        """End it as a machine that is lost."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE)

    def hang(self) -> None:
        """Let it take what comes, and answer nothing until `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str | bytes) -> bytes:
        """What it answers to a command, as it comes on the wire, up to a second without more."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as link:
            link.settimeout(DEADLINE)
            parts = [word.encode() if isinstance(word, str) else word for word in words]
            link.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
            link.shutdown(socket.SHUT_WR)
            found = b""
            while data := link.recv(65536):
                found += data
            return found

    def contents(self) -> bytes:
        """All that is in it, names and values."""
        names = [line for line in self.ask("KEYS", "*").split(b"\r\n") if line[:1] not in (b"*", b"$", b"")]
        reading = {b"+string": ("GET",), b"+hash": ("HGETALL",), b"+zset": ("ZRANGE", "0", "-1")}
        found = []
        for name in names:
            # What was there a moment ago may be over.
            word, *more = reading.get(self.ask("TYPE", name).strip(), ("EXISTS",))
            found += [name, self.ask(word, name, *more)]
        return b"\n".join(found)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("PING").startswith((b"+PONG", b"-NOAUTH"))
        return False


@contextlib.contextmanager
def redis_server(folder: Path, *options: str, file: Path | None = None) -> Iterator[RedisServer]:
    """One that answers, until the block ends."""
    server = RedisServer(folder, *options, file=file)
    server.start()
    try:
        yield server
    finally:
        server.kill()
