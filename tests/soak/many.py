"""Five hundred upstreams in one file: `./scripts/soak many [--upstreams 500] [--few 10] [--commands 40] [--edits 20] [--repeats 3]`.

The port must be open within a second of the start, and an edit of one upstream in force after at most three times what it takes in a mesh of ten. How long
it takes until all are up, and how much memory that is, is stated. The upstreams are URLs of one server, but for `--commands` that are programs.
The two meshes are edited in turns, so that what else the machine does meets both.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.kit.light import light
from tests.kit.places import ROOT
from tests.soak.clients import Client, http_client
from tests.soak.program import serving

Json = dict[str, Any]
BENCH = str(ROOT / "bench" / "upstream.py")
PATIENCE = 120.0
SOON = 1.0
RATIO = 3.0


@contextlib.contextmanager
def bench_server() -> Iterator[str]:
    """The URL of a server that takes any number of sessions."""
    with subprocess.Popen([sys.executable, BENCH, "--tools", "4"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
        finally:
            process.kill()


class Large:
    """A mesh of so many upstreams, whose last one is edited."""

    def __init__(self, count: int, commands: int, url: str, folder: Path) -> None:
        self.count = count
        self.edited: list[float] = []
        self._edits = 0
        self._folder = folder
        self._file = folder / "mesh.yaml"
        self._url = url
        self._fixed: Json = {}
        for number in range(count - 1):
            is_command = number < commands
            self._fixed[f"u{number}"] = light("--label", f"u{number}") if is_command else {"url": url}

    def write(self) -> None:
        upstreams = self._fixed | {"last": {"url": self._url, "headers": {"x-edit": f"the edit {self._edits}"}}}
        upstreams["last"]["tools"] = {"rename": {"echo": f"echo_{self._edits}"}}
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps({"server": {"list_grace": "0s"}, "upstreams": upstreams}, indent=1))
        part.rename(self._file)

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        """Serve, until all are up. `opened` are the seconds until the port was open, `settled` those until the last was up."""
        self.write()
        begun = time.monotonic()
        async with serving(self._file, self._folder) as program:
            self.opened = time.monotonic() - begun
            self.program = program
            async with http_client() as http:
                self.http = http
                client = Client(program.url, "modern", http)
                self.first_listing = await timed(client.listed("tools"))
                up = await program.until(lambda: len(program.of("upstream.up")) >= self.count, PATIENCE)
                self.settled = time.monotonic() - begun
                if not up:
                    raise RuntimeError(f"only {len(program.of('upstream.up'))} of {self.count} are up")
                self.listing = await timed(client.listed("tools"))
                yield self

    async def edit(self) -> None:
        """Another connection of one upstream, and another name of one tool, until a listing shows it."""
        self._edits += 1
        client = Client(self.program.url, "modern", self.http)
        begun = time.monotonic()
        self.write()
        done = await self.program.until(lambda: len(self.program.of("config.reloaded")) >= self._edits, PATIENCE)
        if not done:
            raise RuntimeError("an edit is not in force")
        self.edited.append(time.monotonic() - begun)
        if f"last_echo_{self._edits}" not in {name for name, _ in await client.listed("tools")}:
            raise RuntimeError("an edit is reported, and not listed")

    async def megabytes(self) -> float:
        return (await self.program.look(self.http)).megabytes


async def timed(work: Any) -> float:
    begun = time.monotonic()
    await work
    return time.monotonic() - begun


async def run(upstreams: int, few: int, commands: int, edits: int, repeats: int) -> int:
    violations: list[str] = []
    opened, settled, listings = [], [], []
    with bench_server() as url, tempfile.TemporaryDirectory() as folder:

        def large(count: int, programs: int) -> Large:
            place = Path(tempfile.mkdtemp(dir=folder))
            return Large(count, programs, url, place)

        for _ in range(repeats - 1):
            async with large(upstreams, commands).running() as many:
                opened.append(many.opened)
                settled.append(many.settled)
        async with large(few, 1).running() as small, large(upstreams, commands).running() as many:
            opened.append(many.opened)
            settled.append(many.settled)
            listings = [many.first_listing, many.listing]
            # What the first edit has to import it imports in both.
            await small.edit()
            await many.edit()
            small.edited.clear()
            many.edited.clear()
            for _ in range(edits):
                await small.edit()
                await many.edit()
            sizes = [await one.megabytes() for one in (small, many)]
            status, ending = await many.program.end(PATIENCE)
            if status != 0:
                violations.append(f"it ends with status {status}")
            problems = [event for event in many.program.read() if event["level"] == "error" or "exception" in event]
            violations += [f"logged: {event}" for event in problems]
    before, after = statistics.median(small.edited), statistics.median(many.edited)
    ratio = after / before
    print(f"{upstreams} upstreams, {commands} of them commands")
    print(f"  port open after                      {spread(opened)}")
    print(f"  all up after                         {spread(settled)}")
    print(f"  first listing, and one of all        {listings[0]:.3f} s, {listings[1]:.3f} s")
    print(f"  memory                               {sizes[1]:.1f} MB ({few} upstreams: {sizes[0]:.1f} MB)")
    print(f"  an edit in force after, {few:4} upstreams {spread(small.edited)}")
    print(f"  an edit in force after, {upstreams:4} upstreams {spread(many.edited)}")
    print(f"  ratio of the medians                 {ratio:.2f}")
    print(f"  end after SIGTERM                    {ending:.2f} s")
    print(f"  load of the machine                  {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if min(opened) > SOON:
        violations.append(f"the port opens after {min(opened):.2f} s, at most {SOON:g} s")
    if ratio > RATIO:
        violations.append(f"an edit takes {ratio:.2f} times as long as with {few} upstreams, at most {RATIO:g}")
    for violation in violations:
        print(f"VIOLATION: {violation}")
    print("violations", len(violations))
    return 1 if violations else 0


def spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.3f} s, {min(seconds):.3f} to {max(seconds):.3f} s"


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="./scripts/soak many", description="Hundreds of upstreams in one file.")
    options.add_argument("--upstreams", type=int, default=500)
    options.add_argument("--few", type=int, default=10)
    options.add_argument("--commands", type=int, default=40)
    options.add_argument("--edits", type=int, default=20)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args(arguments)
    return asyncio.run(run(chosen.upstreams, chosen.few, chosen.commands, chosen.edits, chosen.repeats))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
