"""Where a measurement happens: fixtures, contenders and the load client, started together and ended together, whatever happens."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.contenders import Contender, Upstreams
from bench.ground import ROOT, Ground

from bench import processes

FIXTURE = str(ROOT / "bench" / "upstream.py")


class LoadFailed(Exception):
    """The load client could not do what it was asked."""


class LoadClient:
    """The process of `bench.load`, one job at a time."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "bench.load"]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def job(self, op: str, load: str, **rest: object) -> dict:
        self.process.stdin.write(json.dumps({"op": op, "load": load} | rest) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"failed": "the load client has ended"}
        if "failed" in answer:
            raise LoadFailed(f"{load}: {answer['failed']}")
        return answer

    def close(self) -> None:
        with self.process, contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


@dataclass
class Running:
    """A contender that serves."""

    contender: Contender
    url: str
    process: subprocess.Popen | None
    """None for what has no process of its own, or is started by the load client."""
    directory: Path
    ledger: Path
    port: int = 0
    pid: int = 0
    """0 for what has no process."""
    credential: str = ""
    """What clients show in `Authorization: Bearer`."""
    argv: list[str] | None = None
    """What the load client is to start, which then says the `pid`."""

    def cpu(self) -> float:
        return processes.cpu(self.pid, self.ledger) if self.pid else 0.0

    def memory(self) -> dict[str, int]:
        return processes.memory(self.pid)

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]


class Arena:
    """Use it as a context manager: at its end nothing that it started is left."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self.stack.callback(processes.kill_fixtures, str(self.directory))
        self.load = LoadClient()
        self.stack.callback(self.load.close)
        self.made = 0
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def place(self, name: str) -> Path:
        self.made += 1
        place = self.directory / f"{self.made}-{name}"
        place.mkdir()
        return place

    def http(self, names: list[str], *, tools: int = 8, options: tuple[str, ...] = ()) -> Upstreams:
        """Fixtures over HTTP, each a process."""
        upstreams = {}
        for name in names:
            argv = [sys.executable, FIXTURE, "--tools", str(tools), *options]
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            self.stack.enter_context(process.stdout)
            self.stack.callback(processes.stop, process)
            upstreams[name] = {"url": f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"}
        return upstreams

    def stdio(self, names: list[str], *, tools: int = 8, options: dict[str, list[str]] | None = None) -> Upstreams:
        """Fixtures over stdio, which the contender starts."""
        return {
            name: {
                "command": sys.executable,
                "args": [FIXTURE, "--stdio", "--tools", str(tools), *(options or {}).get(name, [])],
            }
            for name in names
        }

    def start(self, contender: Contender, upstreams: Upstreams, *, wait: bool = True) -> Running:
        """Start a contender before these upstreams and wait for its port. One that serves pipes starts when a load is opened, for that load."""
        directory = self.place(contender.name)
        ledger = directory / "ledger"
        if contender.command is None:
            return Running(contender, upstreams["bench"]["url"], None, directory, ledger)
        port = processes.free_port()
        charged = {
            name: upstream | {"args": [*upstream["args"], "--ledger", str(ledger)]} if "args" in upstream else upstream
            for name, upstream in upstreams.items()
        }
        argv = contender.command(self.ground, directory, charged, port)
        # Peers keep caches and state in the home directory: each gets an empty one.
        home = {
            key: str(directory)
            for key in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        }
        if contender.serves_pipes:
            return Running(contender, "", None, directory, ledger, argv=["env", *map("=".join, home.items()), *argv])
        process = processes.start(argv, directory / "log", env=home, cwd=ROOT)
        self.stack.callback(processes.stop, process)
        url = f"http://127.0.0.1:{port}{contender.path}"
        running = Running(contender, url, process, directory, ledger, port, process.pid)
        if wait:
            try:
                processes.wait_for_port(port, process)
            except processes.NotReady as error:
                raise processes.NotReady(f"{contender.name} {error}:\n{running.log()}") from None
        return running

    def stop(self, running: Running) -> None:
        if running.process is not None:
            processes.stop(running.process)

    def open(self, running: Running, load: str, era: str, clients: int, call: str, sessions: int = 0) -> None:
        where: dict = {"url": running.url, "sessions": sessions, "credential": running.credential}
        if running.argv is not None:
            where = {"argv": running.argv, "log": str(running.directory / "log")}
        answer = self.load.job(
            "open",
            load,
            era=running.contender.eras[era],
            clients=clients,
            call=call,
            name=running.contender.named(call),
            **where,
        )
        running.pid = answer.get("pid", running.pid)

    def wait_for_tool(self, running: Running, seconds: float = 60.0) -> None:
        """Until the upstream's tool answers: an open port does not mean that upstreams are connected."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.try_out(running, "small")
            except LoadFailed as error:
                if time.monotonic() > deadline:
                    raise LoadFailed(f"{error}\n{running.log()}") from None
                time.sleep(0.05)
            else:
                return

    def wait_for_listing(self, running: Running, tools: int, seconds: float = 30.0) -> int:
        """Until so many tools are listed, or the time is over; how many they are."""
        deadline = time.monotonic() + seconds
        while (listed := self.try_out(running, "list")) < tools and time.monotonic() < deadline:
            time.sleep(0.1)
        return listed

    def try_out(self, running: Running, call: str) -> int:
        """One call of a new client; how many tools it listed, if it did."""
        load = f"{running.directory.name} tried out"
        try:
            self.open(running, load, next(iter(running.contender.eras)), 1, call)
            return self.load.job("ready", load, warm=True)["tools"]
        finally:
            with contextlib.suppress(LoadFailed):
                self.load.job("close", load)
