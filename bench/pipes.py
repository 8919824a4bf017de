"""A load over pipes: one process that serves one client, which has so many requests under way at once.

The process is started by the load client, whose pipes they are, and ends when they are closed. A load of `bench.load`, with the same jobs.
"""

import asyncio
import contextlib
import time
from pathlib import Path

import msgspec
from bench.calls import INITIALIZE, INITIALIZED, Calls, decode_envelope
from bench.connection import PATIENCE, Broken

ATTEMPTS, PAUSE = 600, 0.05
"""How often a first call is tried, and the seconds between: the upstreams of the process have to be connected first."""


class Pipes(asyncio.SubprocessProtocol):
    """Sends a request for each that is answered, until the deadline."""

    def __init__(self, job: dict) -> None:
        self.job, self.count = job, job["clients"]
        self.is_modern = job["era"] == "modern"
        self.calls = Calls("", job["call"], job.get("name", ""), modern=self.is_modern)
        self.log = Path(job["log"]).open("ab")  # noqa: SIM115  # closed when the process has it
        self.transport: asyncio.SubprocessTransport | None = None
        self.rest = b""
        self.waiting: dict[int, float] = {}
        """When each request was sent, by its number."""
        self.times: list[float] = []
        self.errors: list[str] = []
        self.deadline = self.ended = 0.0
        self.done: asyncio.Future | None = None
        self.over = asyncio.get_running_loop().create_future()

    async def open(self) -> dict:
        """Start the process, shake hands and wait for the first answer; its `pid`."""
        loop = asyncio.get_running_loop()
        with self.log:
            self.transport, _ = await loop.subprocess_exec(lambda: self, *self.job["argv"], stderr=self.log)
        self.input = self.transport.get_pipe_transport(0)
        if not self.is_modern:
            self.waiting[0] = time.perf_counter()
            self.write(INITIALIZE)
            await self.answers()
            self.write(INITIALIZED)
        for _ in range(ATTEMPTS):
            if not await self.ask(1):
                break
            await asyncio.sleep(PAUSE)
        if self.errors:
            raise Broken(self.errors[0])
        return {"pid": self.transport.get_pid()}

    async def ready(self, *, warm: bool) -> None:
        if warm and await self.ask(self.count):
            raise Broken(self.errors[0])

    async def run(self, seconds: float, _rate: float = 0.0) -> dict:
        began = time.perf_counter()
        await self.ask(self.count, began + seconds)
        return summary(self.times, self.errors, self.ended - began)

    async def close(self) -> None:
        """Close the pipes and wait for the end of the process."""
        self.input.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.over), 10)
        if not self.over.done():
            self.transport.kill()
            await self.over
        self.transport.close()

    async def ask(self, count: int, deadline: float = 0.0) -> int:
        """So many requests at once, and for each answer another one until the deadline; how many errors there were."""
        self.errors, self.times, self.deadline = [], [], deadline
        for _ in range(count):
            self.send()
        await self.answers()
        return len(self.errors)

    async def answers(self) -> None:
        """Until nothing is under way."""
        if self.over.done():
            raise Broken("the process has ended")
        self.done = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(self.done, max(self.deadline - time.perf_counter(), 0) + PATIENCE)
        except TimeoutError:
            self.errors.append("no answer")
            self.waiting.clear()
            self.ended = time.perf_counter()

    def send(self) -> None:
        body = self.calls.body()
        self.waiting[self.calls.number] = time.perf_counter()
        self.write(body)

    def write(self, message: bytes) -> None:
        self.input.write(message + b"\n")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.receive(line)

    def receive(self, line: bytes) -> None:
        now = time.perf_counter()
        try:
            number = decode_envelope(line).id
        except msgspec.DecodeError:
            self.errors.append(f"no message: {line[:200]!r}")
            return
        sent = self.waiting.pop(number, None)
        if sent is None:  # a notification
            return
        if number:
            try:
                self.calls.check(number, 200, line)
                self.times.append(now - sent)
            except Broken as error:
                self.errors.append(str(error))
        if now < self.deadline and len(self.errors) < 100:
            self.send()
        elif not self.waiting:
            self.finish(now)

    def finish(self, now: float) -> None:
        self.ended = now
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def process_exited(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        if self.waiting:
            self.errors.append("the process has ended")
            self.waiting.clear()
            self.finish(time.perf_counter())


def summary(times: list[float], errors: list[str], seconds: float) -> dict:
    """What a run says: latencies are given in seconds, and said in milliseconds."""
    ordered = sorted(spell * 1e3 for spell in times)
    return {
        "calls": len(ordered),
        "errors": len(errors),
        "error": errors[0] if errors else None,
        "seconds": seconds,
        "p50": quantile(ordered, 0.50),
        "p99": quantile(ordered, 0.99),
        "max": quantile(ordered, 1.0),
    }


def quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
