"""The program in processes of its own, serving until the test ends it, and upstreams for its configs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.places import ROOT
from tests.kit.waiting import DEADLINE, wait_for

PROGRAM = [sys.executable, "-m", "meshproxy"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONWARNINGS": "error",
    "COLUMNS": "100",
    # Not where the user's own meshes keep theirs.
    "XDG_STATE_HOME": str(ROOT / ".cache" / "state"),
}


def upstream(name: str, *arguments: str, **keys: Any) -> dict[str, Any]:
    """One of `tests.servers` as an upstream of a config."""
    return {"command": sys.executable, "args": ["-m", f"tests.servers.{name}", *arguments], "cwd": str(ROOT), **keys}


@dataclass
class Serving:
    """A mesh that serves over HTTP."""

    process: "subprocess.Popen[bytes]"
    log: Path
    url: str = ""

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What it logged, as JSON; of one event, or all."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if name in ("", line["event"])]

    def ready(self) -> tuple[int, dict[str, Any]]:
        """The status and the body of `/readyz`."""
        return self.get("/readyz")

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(self.url.removesuffix("/mcp") + path, timeout=DEADLINE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def await_event(self, name: str, count: int = 1, **facts: Any) -> dict[str, Any]:
        """The `count`th event of this name with these facts, once it is logged."""
        return wait_for(lambda: self._nth(name, count, facts), self.process, self.log)

    def await_settled(self) -> dict[str, Any]:
        """The upstreams by name, once none of them is starting."""

        def settled() -> dict[str, Any] | None:
            found = self.ready()[1]["upstreams"]
            return found if all(one["state"] != "starting" for one in found.values()) else None

        return wait_for(settled, self.process, self.log)

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def _nth(self, name: str, count: int, facts: dict[str, Any]) -> dict[str, Any] | None:
        found = [event for event in self.events(name) if facts.items() <= event.items()]
        return found[count - 1] if len(found) >= count else None


@contextlib.contextmanager
def serve(file: Path, log: Path, *options: str, under: Sequence[str] = ()) -> Iterator[Serving]:
    """A mesh, from when its port is open; ended at the latest with the block. `under` is a program, with arguments, that runs it."""
    line = [*under, *PROGRAM, "serve", str(file), "--port", "0", "--log-format", "json", *options]
    # So that a mesh remembers what one before it in the same test has seen, and nothing of other tests.
    environment = {**ENVIRONMENT, "XDG_STATE_HOME": str(log.parent / ".state")}
    with log.open("wb") as sink:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment)
    try:
        mesh = Serving(process, log)
        mesh.url = mesh.await_event("mesh.listening")["url"]
        yield mesh
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pids(upstreams: dict[str, Any]) -> list[int]:
    """The processes that `/readyz` tells of."""
    return [pid for one in upstreams.values() for pid in one.get("pids", ())]
