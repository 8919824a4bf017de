"""A start with two dead upstreams among five: `./scripts/soak start [--repeats 5]`.

One never answers, one dies at once, and three come up after 0, 0.7 and 1.5 seconds. Without a grace the port must be open within
`SOON` seconds and each of the three listed within as much of its own start; with the default grace the first listing has all three and comes
within it; and ever after a listing comes at once, in both eras. The dead ones are named in `/readyz` and in the log, with the reason.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
from tests.kit.places import ROOT
from tests.soak.clients import Client, http_client
from tests.soak.documents import LIGHT
from tests.soak.program import Program, serving

SOON = 1.0
GRACE = 3.0
"""The default of `server.list_grace`."""
AT_ONCE = 0.25
SLOW = {"first": 0.0, "second": 0.7, "third": 1.5}
ERAS = ("legacy", "modern")
BENCH = str(ROOT / "bench" / "upstream.py")
Json = dict[str, Any]


def document(folder: Path, grace: str | None, hanging: str) -> Json:
    upstreams: Json = {
        "hangs": {"url": hanging} if hanging else {"command": sys.executable, "args": ["-IS", LIGHT, "--silent"]},
        "dies": {"command": sys.executable, "args": ["-IS", LIGHT, "--dies", "no licence found"]},
    }
    upstreams["hangs"]["timeouts"] = {"connect": "6s"}
    for name, seconds in SLOW.items():
        arguments = [BENCH, "--stdio", "--tools", "2", "--slow", str(seconds), "--ready", str(folder / name)]
        upstreams[name] = {"command": sys.executable, "args": arguments}
    return ({"server": {"list_grace": grace}} if grace else {}) | {"upstreams": upstreams}


class Once:
    """One start, and what was wrong with it."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.figures: dict[str, float] = {}

    def note(self, what: str, seconds: float, most: float) -> None:
        self.figures[what] = max(self.figures.get(what, 0.0), seconds)
        if seconds > most:
            self.violations.append(f"{what}: {seconds:.3f} s, at most {most} s")

    async def run(self, grace: str | None, hanging: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            http = await stack.enter_async_context(http_client())
            file = folder / "mesh.yaml"
            file.write_text(json.dumps(document(folder, grace, hanging)))
            begun = time.monotonic()
            program = await stack.enter_async_context(serving(file, folder))
            self.note("port open", time.monotonic() - begun, SOON)
            await asyncio.gather(*(self._listings(program, era, http, folder, grace) for era in ERAS))
            await self._dead(program, http)
            status, seconds = await program.end(20)
            self.note("end", seconds, 5.0)
            if status != 0:
                self.violations.append(f"it ends with status {status}")

    async def _listings(
        self, program: Program, era: str, http: httpx2.AsyncClient, folder: Path, grace: str | None
    ) -> None:
        client = Client(program.url, era, http)
        asked = time.monotonic()
        await client.open()
        self.note(f"{era}: initialize", time.monotonic() - asked, AT_ONCE)
        asked = time.monotonic()
        names = await self._names(client)
        took = time.monotonic() - asked
        if grace == "0s":
            self.note(f"{era}: first listing", took, AT_ONCE)
            left = set(SLOW)
            while left:
                asked = time.monotonic()
                names = await self._names(client)
                now = time.monotonic()
                self.note(f"{era}: later listings", now - asked, AT_ONCE)
                for name in [name for name in left if f"{name}_echo" in names]:
                    left.remove(name)
                    started = float((folder / name).read_text())
                    self.note(f"{era}: listed after its own start", now - started, SOON)
                if now - started_by(folder) > 10:
                    self.violations.append(f"{era}: never listed: {left}")
                    break
                await asyncio.sleep(0.01)
        else:
            self.note(f"{era}: first listing", took, GRACE + AT_ONCE)
            if missing := {f"{name}_echo" for name in SLOW} - names:
                self.violations.append(f"{era}: the first listing lacks {missing}")
        until = time.monotonic() + 2
        while time.monotonic() < until:
            asked = time.monotonic()
            names = await self._names(client)
            self.note(f"{era}: later listings", time.monotonic() - asked, AT_ONCE)
            if names != {f"{name}_{tool}" for name in SLOW for tool in ("echo", "payload")}:
                self.violations.append(f"{era}: listed are {names}")
            await asyncio.sleep(0.05)
        await client.close()

    async def _names(self, client: Client) -> set[str]:
        return {name for name, _ in await client.listed("tools")}

    async def _dead(self, program: Program, http: httpx2.AsyncClient) -> None:
        """The log and `/readyz` say who is dead and why, once the deadline of the silent one has passed."""
        told = await program.until(lambda: {event["upstream"] for event in program.of("upstream.down")} >= DEAD, 15)
        status, body = await program.ready(http)
        if not told or status != 200:
            self.violations.append(f"/readyz is {status}, and dead are {program.of('upstream.down')}")
        words = {"dies": "no licence found", "hangs": "did not answer"}
        for name, word in words.items():
            one = body["upstreams"][name]
            logged = [event["reason"] for event in program.of("upstream.down") if event["upstream"] == name]
            if one["state"] != "down" or word not in one.get("reason", ""):
                self.violations.append(f"/readyz says of {name}: {one}")
            if not any(word in reason for reason in logged):
                self.violations.append(f"the log says of {name}: {logged}")


DEAD = {"hangs", "dies"}


def started_by(folder: Path) -> float:
    """When the last upstream that works began to serve; now, as long as one does not."""
    files = [folder / name for name in SLOW]
    return max(float(file.read_text()) for file in files) if all(map(Path.exists, files)) else time.monotonic()


async def run(repeats: int) -> int:
    violations = []
    for label, grace, over_http in (
        ("list_grace 0s", "0s", False),
        ("list_grace 0s, the silent one over HTTP", "0s", True),
        ("default grace", None, False),
        ("default grace, the silent one over HTTP", None, True),
    ):
        gathered: dict[str, list[float]] = {}
        for _ in range(repeats):
            async with hanging_server() if over_http else contextlib.nullcontext("") as url:
                once = Once()
                await once.run(grace, url)
            violations += [f"{label}: {violation}" for violation in once.violations]
            for what, seconds in once.figures.items():
                gathered.setdefault(what, []).append(seconds)
        print(label)
        for what, found in gathered.items():
            print(f"  {what:36} {' '.join(f'{seconds:.3f}' for seconds in found)}")
    for violation in violations:
        print(f"VIOLATION: {violation}")
    print("violations", len(violations))
    return 1 if violations else 0


@contextlib.asynccontextmanager
async def hanging_server() -> Any:
    """The URL of a server that takes connections and reads, and says nothing."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while await reader.read(65536):
            pass

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        for writer in writers:
            writer.close()
        server.close()


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="./scripts/soak start", description="A start with dead upstreams.")
    options.add_argument("--repeats", type=int, default=3)
    return asyncio.run(run(options.parse_args(arguments).repeats))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
