"""The program in processes of its own: run to its end, or serving until the test ends it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import DEADLINE, ROOT

PROGRAM = [sys.executable, "-m", "meshproxy"]
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error", "COLUMNS": "100"}


def upstream(name: str, *arguments: str, **keys: Any) -> dict[str, Any]:
    """One of `tests.servers` as an upstream of a config."""
    return {"command": sys.executable, "args": ["-m", f"tests.servers.{name}", *arguments], "cwd": str(ROOT), **keys}


def light(*arguments: str, **keys: Any) -> dict[str, Any]:
    """An upstream that starts quickly and has one tool, `echo`."""
    return upstream("light", *arguments, **keys)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """`config(a=upstream("basic"), server={...})`: a config file; what is no section is an upstream."""

    def write(text: str | bytes | None = None, name: str = "mesh.yaml", **sections: Any) -> Path:
        file = tmp_path / name
        if text is None:
            top = {key: sections.pop(key) for key in ("server", "reload", "defaults", "separator") if key in sections}
            text = yaml.safe_dump({"name": "test", **top, "upstreams": sections}, sort_keys=False)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


@pytest.fixture
def meshproxy() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`meshproxy("check", file)`: the ended process."""

    def run(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
        line = [*PROGRAM, *map(str, arguments)]
        options = {"capture_output": True, "text": True, "timeout": DEADLINE, "env": ENVIRONMENT, **options}
        return subprocess.run(line, check=False, **options)

    return run


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


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[Any]", log: Path | None = None) -> Any:
    """What `condition` says as soon as it says something, while a process runs."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{process.args} ended or hangs: {log.read_text() if log else ''}")
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def serve(file: Path, log: Path, *options: str) -> Iterator[Serving]:
    """A mesh, from when its port is open; ended at the latest with the block."""
    line = [*PROGRAM, "serve", str(file), "--port", "0", "--log-format", "json", *options]
    with log.open("wb") as sink:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=ENVIRONMENT)
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


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """`serving(file)`: a mesh for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda file, *options: stack.enter_context(serve(file, tmp_path / "log", *options))


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids(upstreams: dict[str, Any]) -> list[int]:
    """The processes that `/readyz` tells of."""
    return [pid for one in upstreams.values() for pid in one.get("pids", ())]
