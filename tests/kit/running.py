"""The servers of `tests.servers`, in processes of their own."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kit.places import ROOT
from tests.kit.waiting import wait_for


def command(name: str, *arguments: str) -> list[str]:
    """The command line of one of `tests.servers`, from any working directory."""
    return [sys.executable, "-m", f"tests.servers.{name}", *arguments]


def unmeasured() -> dict[str, str]:
    """The environment for a process that is not the product: it takes twice as long to start where its branches are measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    url: str
    process: "subprocess.Popen[bytes]"
    stderr: Path

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])


@contextlib.contextmanager
def listening(name: str, *arguments: str, transport: str = "http", era: str = "dual") -> Iterator[Running]:
    """One of `tests.servers` on a free port of the loopback interface, from when it accepts connections to the end."""
    with tempfile.TemporaryDirectory() as folder:
        ready, stderr = Path(folder, "ready"), Path(folder, "stderr")
        line = command(name, "--transport", transport, "--era", era, "--ready-file", str(ready), "--follow-stdin")
        with stderr.open("wb") as sink:
            # Its standard input is a pipe of ours, so that it ends with us, however we end.
            process = subprocess.Popen(
                [*line, *arguments], stdin=subprocess.PIPE, stdout=sink, stderr=sink, cwd=ROOT, env=unmeasured()
            )
        with process:
            try:
                wait_for(ready.exists, process, stderr)
                yield Running(ready.read_text(), process, stderr)
            finally:
                process.kill()
