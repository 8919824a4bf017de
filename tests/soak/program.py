"""A mesh in a process of its own, seen from outside: its log, its health, its processes and its file descriptors."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
from tests.kit.places import ROOT
from tests.kit.processes import children, commands
from tests.kit.waiting import eventually

Json = dict[str, Any]
PATIENCE = 20.0
"""Seconds after which something that does not happen is given up; a soak tells of it and goes on."""
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error"}


@dataclass(frozen=True)
class State:
    """What a mesh holds at one moment."""

    descriptors: Counter[str]
    tasks: Counter[str]
    threads: int
    children: tuple[int, ...]
    megabytes: float
    commands: tuple[int, ...]
    """The children that upstreams are, without the watcher of them all."""

    def growth(self, since: "State") -> Json:
        """What is there that was not there then."""
        return {
            "descriptors": dict(self.descriptors - since.descriptors),
            "tasks": dict(self.tasks - since.tasks),
            "threads": self.threads - since.threads,
            "processes": len(self.children) - len(since.children),
            "megabytes": round(self.megabytes - since.megabytes, 1),
        }


@dataclass
class Program:
    """`meshproxy serve`, with what it logged so far in `events`."""

    process: "subprocess.Popen[bytes]"
    log: Path
    url: str = ""
    events: list[Json] = field(default_factory=list)
    _read: int = 0
    _partial: bytes = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def read(self) -> list[Json]:
        """All events, those included that came since the last look; each with its `at`, in seconds since the epoch."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{") and not line.endswith(b"}"):
                # There was no room for the rest of it on the disk.
                event = {"event": "(half an event)", "level": "error", "at": time.time(), "text": line.decode()}
            elif line.startswith(b"{"):
                event = json.loads(line)
                event["at"] = datetime.fromisoformat(event["timestamp"]).timestamp()
            elif not line:
                continue
            else:
                # Nothing else is written to standard error in this form, except by the interpreter.
                event = {"event": "(no event)", "level": "error", "at": time.time(), "text": line.decode()}
            self.events.append(event)
        return self.events

    def of(self, *names: str, since: int = 0) -> list[Json]:
        """The events of these names, but for the first `since` of all."""
        return [event for event in self.read()[since:] if event["event"] in names]

    async def until(self, condition: Callable[[], Any], within: float) -> Any:
        """What `condition` says as soon as it says something; None if it does not in time."""
        deadline = time.monotonic() + within
        while not (found := condition()):
            if self.process.poll() is not None:
                raise RuntimeError(f"the mesh has ended with status {self.process.returncode}: {self.log.read_text()}")
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.01)
        return found

    async def ready(self, client: httpx2.AsyncClient) -> tuple[int, Json]:
        """The status and the body of `/readyz`."""
        answer = await client.get(self.url.removesuffix("/mcp") + "/readyz")
        return answer.status_code, answer.json()

    async def look(self, client: httpx2.AsyncClient) -> State:
        """What it holds. Connections that it keeps for an upstream that it has are as many as calls ran at once, and do not count."""
        _, body = await self.ready(client)
        kept = sum(one.get("connections", 0) for one in body["upstreams"].values())
        file = self.log.with_name("inspected")
        file.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        await eventually(file.exists)
        seen = json.loads(file.read_text())
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        size = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        descriptors = self._descriptors()
        descriptors["socket"] -= kept
        return State(
            descriptors,
            Counter(seen["tasks"]),
            seen["threads"],
            tuple(children(self.pid)),
            size,
            tuple(commands(self.pid)),
        )

    def _descriptors(self) -> Counter[str]:
        """What its file descriptors are, without the numbers that tell one pipe or socket from another, and without its clients' connections."""
        port = int(self.url.split(":")[2].split("/")[0])
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = "0A"
        clients = {
            f"socket:[{row[9]}]" for row in rows if int(row[1].split(":")[1], 16) == port and row[3] != listening
        }
        found: Counter[str] = Counter()
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                what = str(link.readlink())
                if what not in clients:
                    found[what.partition(":[")[0]] += 1
        return found

    async def end(self, within: float) -> tuple[int | None, float]:
        """Its exit status after SIGTERM and how many seconds that took; None if it does not end."""
        begun = time.monotonic()
        self.process.terminate()
        while self.process.poll() is None and time.monotonic() < begun + within:
            await asyncio.sleep(0.01)
        return self.process.returncode, time.monotonic() - begun


@contextlib.asynccontextmanager
async def serving(file: Path, folder: Path, *options: str) -> AsyncIterator[Program]:
    """A mesh from when its port is open. With the block it is killed, if it has not ended by then."""
    log = folder / "log"
    line = [sys.executable, "-m", "tests.soak.inspected", "serve", str(file), "--port", "0", "--log-format", "json"]
    surroundings = {**ENVIRONMENT, "SOAK_INSPECTED": str(folder / "inspected"), "XDG_STATE_HOME": str(folder / "state")}
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: ASYNC220  # nothing else runs yet
            [*line, *options], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=surroundings, cwd=ROOT
        )
    try:
        program = Program(process, log)
        opened = await program.until(lambda: program.of("mesh.listening"), 30)
        if not opened:
            raise RuntimeError(f"the mesh does not listen: {log.read_text()}")
        program.url = opened[0]["url"]
        yield program
    finally:
        if process.poll() is None:
            left = children(process.pid)
            process.kill()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()
