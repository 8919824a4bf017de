"""`Succession`: what one version of the program leaves to the next, which takes its place in the same process. Place: cluster, under `supervisor`.

The supervisor becomes the new program (POSIX `exec`): its number stays, and with it its children, the workers of the old version, and the descriptors that are left to it: the sockets, the lines to the
old workers, and their lifeline. What they are is told through a pipe, which is in no file, no variable and on no command line; where that is, is a number in a variable.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Elder", "Succession", "Trial"]

VARIABLE: Final = "MESHPROXY_SUCCESSION"
_MOST: Final = 2000
"""Characters of what is said by a version that cannot be started."""


@dataclass(frozen=True)
class Elder:
    """A worker of the version before.

    Attributes:
        name: see `meshproxy.cluster.seat.Seat`.
        pid: its process.
        line: the descriptor of the supervisor's end of its line.
    """

    name: str
    pid: int
    line: int


@dataclass
class Succession:
    """See the module.

    Attributes:
        directory: where the workers listen for each other; both versions' hand over to each other.
        key: what they seal with.
        trail: see `Seat`.
        lifeline: a pipe's ends.
        elders: the workers of the version before.
        replica: what the replica is called; "" where it is none.
        sockets: the descriptors that listen, those of each worker for itself, by what they are for.
    """

    directory: str
    key: str = field(repr=False)
    trail: str
    lifeline: tuple[int, int]
    elders: list[Elder]
    replica: str = ""
    sockets: dict[str, list[list[int]]] = field(default_factory=dict)

    def leave(self, environ: Mapping[str, str]) -> None:
        """Become the next version, with the environment that this one was started with. Returns only by an error, an `OSError`."""
        reading, writing = os.pipe()
        for descriptor in (reading, *self._descriptors()):
            os.set_inheritable(descriptor, True)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(asdict(self)).encode())
        argv = [sys.executable, *sys.orig_argv[1:]]
        os.execve(argv[0], argv, {**environ, VARIABLE: str(reading)})  # noqa: S606  # the program that runs, with its arguments

    @classmethod
    def taken(cls) -> "Succession | None":
        """What this process was left; None if nothing was. To be asked once."""
        number = os.environ.pop(VARIABLE, "")
        if not number:
            return None
        with os.fdopen(int(number), "rb") as pipe:
            told = json.load(pipe)
        elders = [Elder(**one) for one in told["elders"]]
        made = cls(**{**told, "lifeline": tuple(told["lifeline"]), "elders": elders})
        for descriptor in made._descriptors():
            os.set_inheritable(descriptor, False)
        return made

    def shares(self, purpose: str, count: int) -> list[list[socket.socket]]:
        """The sockets that were left for a purpose, for each of `count` workers: fewer if there are fewer. What is left over is the last one's, too."""
        left = self.sockets.pop(purpose, [])
        # Where all workers have one socket, it is one here, too.
        made = {descriptor: socket.socket(fileno=descriptor) for share in left for descriptor in share}
        found = [[made[descriptor] for descriptor in share] for share in left]
        shares = found[:count]
        for more in found[count:]:
            shares[-1] += [listener for listener in more if listener not in shares[-1]]
        return shares

    def close(self) -> None:
        """What nobody has asked for is not needed any more."""
        for descriptor in {one for shares in self.sockets.values() for share in shares for one in share}:
            os.close(descriptor)
        self.sockets = {}

    def _descriptors(self) -> set[int]:
        listening = (one for shares in self.sockets.values() for share in shares for one in share)
        return {*self.lifeline, *(elder.line for elder in self.elders), *listening}


class Trial:
    """Whether the program that would be the next version can be started and can have the config: `meshproxy check` says so, of itself."""

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        argv = sys.orig_argv[1 : sys.orig_argv.index("serve")]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it has ended
        line = [sys.executable, *argv, "check", str(file)]
        self._process = subprocess.Popen(  # noqa: S603  # the program that runs, with another command
            line, stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, env=dict(environ)
        )

    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def end(self) -> str:
        """What it said, the last lines. It is ended if it was not."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with self._said as said:
            said.seek(0)
            return said.read().decode(errors="replace").strip()[-_MOST:]
