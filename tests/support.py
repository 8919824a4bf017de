"""What tests of several rooms need: real servers in processes of their own, deadlines, and what must not be left over."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

ROOT = Path(__file__).parent.parent
DEADLINE = 20.0
"""Seconds after which a test that waits has failed; nothing takes nearly as long."""

NODE_MODULES = ROOT / "tests" / "node" / "node_modules"
NODE = next((str(path) for path in [NODE_MODULES / ".bin" / "node"] if path.exists()), shutil.which("node") or "node")
"""The Node that is locked with the packages, or else the machine's."""
needs_node = pytest.mark.skipif(
    not NODE_MODULES.exists(), reason="the npm packages are not there; ./scripts/test installs them where there is npm"
)


def node_command(package: str, *arguments: str) -> list[str]:
    """The command line of a program of an npm package from `tests/node`, by the name of the program."""
    return [NODE, str((NODE_MODULES / ".bin" / package).resolve()), *arguments]


def conformance(url: str, version: str | None, folder: Path) -> dict[str, str]:
    """Run the official suite against a server at one revision, or each scenario at its own if there is none.

    Returns the status of each check by `scenario/check`, numbered where a check comes more than once: `SUCCESS`, `FAILURE`,
    `WARNING`, `INFO` or `SKIPPED`, followed by the reason if it is none of the first.
    """
    revision = ["--spec-version", version] if version else []
    return _suite(["server", "--url", url, "--suite", "all", *revision], folder)


def client_conformance(program: list[str], scenario: str, folder: Path) -> dict[str, str]:
    """Run one scenario of the official suite against a client, which is started with the scenario's URL as its last argument.

    Returns what `conformance` does. A client that fails is a check that failed: `client`.
    """
    line = ["client", "--command", " ".join(program), "--scenario", scenario]
    return _suite(line, folder)


def _suite(line: list[str], folder: Path) -> dict[str, str]:
    line = node_command("conformance", *line, "-o", str(folder), "--timeout", "30000")
    ended = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    found: dict[str, str] = {}
    for checks in sorted(folder.glob("**/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", checks.parent.name)
        for number, check in enumerate(json.loads(checks.read_text())):
            key = f"{scenario}/{check['id']}"
            key = key if key not in found else f"{key}#{number}"
            found[key] = check["status"] + (f": {reason}" if (reason := check.get("errorMessage")) else "")
            if check["status"] == "FAILURE":
                found[key] += f" {json.dumps(check.get('details'))}"
    assert found, f"the suite reports nothing: {ended.stdout}{ended.stderr}"
    if "CLIENT EXITED WITH ERROR" in ended.stdout + ended.stderr:
        found["client"] = f"FAILURE: {ended.stdout}{ended.stderr}"
    return found


def command(name: str, *arguments: str) -> list[str]:
    """The command line of one of `tests.servers`, from any working directory."""
    return [sys.executable, "-m", f"tests.servers.{name}", *arguments]


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
            process = subprocess.Popen([*line, *arguments], stdin=subprocess.PIPE, stdout=sink, stderr=sink, cwd=ROOT)
        with process:
            try:
                deadline = time.monotonic() + DEADLINE
                while not ready.exists():
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"{name} does not listen: {stderr.read_text()}")
                    time.sleep(0.01)
                yield Running(ready.read_text(), process, stderr)
            finally:
                process.kill()


async def eventually(condition: Callable[[], Any], *, within: float = DEADLINE) -> Any:
    """Wait for what only polling can tell (a file, a process) to become true, and return it."""
    with anyio.fail_after(within):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await anyio.sleep(0.01)


@contextlib.asynccontextmanager
async def connected(server: Any, *, mode: str = "auto", **settings: Any) -> AsyncIterator[Any]:
    """An SDK client of a URL, a command line or an SDK server; `mode` is `legacy`, `auto` or a version."""
    from mcp import Client, StdioServerParameters, stdio_client

    if isinstance(server, list):
        server = stdio_client(StdioServerParameters(command=server[0], args=server[1:]))
    elif isinstance(server, str) and server.endswith("/sse"):
        from mcp.client.sse import sse_client

        server = sse_client(server)
    with anyio.fail_after(DEADLINE):
        async with Client(server, mode=mode, **settings) as client:
            yield client


SHARED: set[int] = set()
"""The ids of the servers that a session's tests share: no test's own, and so nobody's children."""


def children() -> dict[int, str]:
    """The processes that this one started and that are not gone, zombies included: their command lines by id. Without `SHARED`."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name of the program stands in parentheses and may hold anything: the parent is the second field after.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                line = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found[int(stat.parent.name)] = line or "(a zombie)"
    return {pid: line for pid, line in found.items() if pid not in SHARED}


def descriptors() -> dict[int, str]:
    """The open file descriptors of this process and what they are."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(link.name)] = str(link.readlink())
    return found
