"""Reload under load: `./scripts/soak reload [--edits 200] [--seed N]`.

A mesh serves upstreams that no edit touches, and clients of both eras call them twenty times a second each, while a script edits the file:
valid edits and broken ones, saved in every way. What must hold:

- no call to an untouched upstream fails, or is answered by another one; its process and its sessions stay
- a valid edit is in force within two seconds of its save, the start-up of upstreams aside: reported, and seen by a listing
- a broken one is reported once, with its line, and changes nothing
- each connected client hears of each kind whose listing changed once, and of no other
- a call in flight at an upstream that is removed or changed gets its answer
- at the end no process, task or file descriptor is left over
"""

import argparse
import asyncio
import contextlib
import logging
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
from tests.kit.places import ROOT
from tests.kit.processes import is_alive
from tests.kit.running import listening
from tests.soak.clients import Client, Refused, SdkClient, http_client
from tests.soak.documents import KINDS, Components, Document, InForce, Upstream
from tests.soak.edits import Editor
from tests.soak.figures import Figures, counts
from tests.soak.load import Load
from tests.soak.program import PATIENCE, Program, serving
from tests.soak.steps import Soak

EXPECTED_ERRORS = {"config.rejected"}
BENCH = ROOT / "bench" / "upstream.py"


async def _web_offers(url: str, http: httpx2.AsyncClient) -> Components:
    client = Client(url, "legacy", http)
    await client.open()
    offered = {}
    for kind in KINDS:
        try:
            offered[kind] = tuple(await client.listed(kind))
        except Refused:
            offered[kind] = ()
    await client.close()
    return offered


@contextlib.contextmanager
def _bench_server(tools: int) -> Any:
    line = [sys.executable, str(BENCH), "--tools", str(tools)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
        finally:
            process.kill()


async def run(edits: int, seed: int, *, small: bool = False, timed: bool = True) -> Figures:
    """`edits` random edits. `small` leaves the SDK out, which takes seconds to start; without `timed`, no time is a violation."""
    figures = Figures()
    rng = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_client())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        webs = [
            (url, await _web_offers(url, http))
            for url in [stack.enter_context(_bench_server(count)) for count in (2, 3, 5)]
        ]
        fixed = [
            Upstream("alpha", 1, (2, 1, 1, 1), namespace="alpha"),
            Upstream("beta", 2, (1, 2, 2, 0), era="modern", namespace=""),
            Upstream("delta", 4, web=webs[0], namespace="delta"),
        ]
        if not small:
            # A session of each of our sessions, which must outlive every edit.
            url = stack.enter_context(listening("basic", era="legacy")).url
            # It says so when the mesh is gone before it.
            logging.getLogger("mcp").setLevel(logging.CRITICAL)
            web = (url, await _web_offers(url, http))
            fixed.append(Upstream("gamma", 3, web=web, namespace="gamma", exclude=("background",)))
        file = folder / "config" / "mesh.yaml"
        file.parent.mkdir()
        base = Document((*fixed, Upstream("amber", 10, (2, 1, 0, 0), namespace="amber")))
        file.write_bytes(base.data())
        start, _ = InForce(Document(()), ()).after(base)
        program = await stack.enter_async_context(serving(file, folder))
        load = Load(program.url, tuple(fixed), http, figures)
        observer = Client(program.url, "modern", http)
        clients: list[Client | SdkClient] = [Client(program.url, era, http) for era in ("legacy", "modern") * 2]
        if not small:
            clients += [SdkClient(program.url, era) for era in ("legacy", "modern")]
        for client in (*clients, *load.clients.values()):
            await client.open()
            stack.push_async_callback(client.close)
        # From here on clients hear of what comes up, so all of it must be up.
        settled = await program.until(lambda: len(program.of("upstream.up")) == len(base.upstreams), PATIENCE)
        if not settled:
            raise RuntimeError(f"upstreams do not come up: {program.read()}")
        for client in clients:
            if isinstance(client, Client):
                await client.listen()
        await asyncio.sleep(0.2)
        for client in clients:
            client.changes.clear()
        soak = Soak(program, file, start, Editor(rng, webs), clients, load, figures, observer, timed=timed)
        soak._since = len(program.read())
        await soak._check_ready("the start", ())
        calling = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(0.5)
            before = await program.look(http)
            for number in range(edits):
                await soak.step()
                if calling.done():
                    calling.result()
                if number % 20 == 19:
                    print(f"  {number + 1} edits, {len(figures.violations)} violations", file=sys.stderr, flush=True)
            await soak.valid(base)
            await soak.calm()
            # What drains may take a moment.
            state = await _calmed(program, http, before)
        finally:
            calling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calling
        figures.announced = Counter(soak.due)
        await _check_end(program, soak, before, state, figures)
    return figures


async def _calmed(program: Program, http: httpx2.AsyncClient, before: Any) -> Any:
    for _ in range(40):
        state = await program.look(http)
        growth = state.growth(before)
        if growth["processes"] <= 0 and sum(growth["tasks"].values()) <= 4 and not growth["descriptors"]:
            break
        await asyncio.sleep(0.25)
    return state


async def _check_end(program: Program, soak: Soak, before: Any, state: Any, figures: Figures) -> None:
    growth = state.growth(before)
    figures.lines["descriptors"] = f"{sum(before.descriptors.values())} -> {sum(state.descriptors.values())}"
    figures.lines["tasks"] = f"{sum(before.tasks.values())} -> {sum(state.tasks.values())}"
    figures.lines["threads"] = f"{before.threads} -> {state.threads}"
    figures.lines["memory"] = f"{before.megabytes:.1f} -> {state.megabytes:.1f} MB"
    # A file that is just being read, and the tasks of calls that run.
    if sum(growth["descriptors"].values()) > 1 or sum(growth["tasks"].values()) > 4 or growth["processes"] > 0:
        figures.wrong(f"left over: {growth}")
    wanted = sorted(pid for pids in soak.pids.values() for pid in pids)
    if list(state.commands) != wanted:
        figures.wrong(f"the processes of the mesh are {state.commands}, and the upstreams' are {wanted}")
    status, seconds = await program.end(PATIENCE)
    figures.lines["end after SIGTERM"] = f"{seconds:.2f} s, status {status}"
    if status != 0 or (soak.timed and seconds > 5):
        figures.wrong(f"SIGTERM ends it after {seconds:.1f} s with status {status}")
    if left := [pid for pid in state.children if is_alive(pid)]:
        figures.wrong(f"processes are left: {left}")
    events = program.read()
    figures.lines["events"] = counts(Counter(event["event"] for event in events))
    for event in events:
        if (event["level"] == "error" and event["event"] not in EXPECTED_ERRORS) or "exception" in event:
            figures.wrong(f"logged: {event}")
        if event["event"] in ("upstream.drain_timeout", "client.too_slow", "upstream.listing_failed"):
            figures.wrong(f"logged: {event}")


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="./scripts/soak reload", description="Edits under load.")
    options.add_argument("--edits", type=int, default=200)
    options.add_argument("--seed", type=int, default=None, help="of the random edits; by default another one each time")
    options.add_argument("--small", action="store_true", help="without the SDK's servers and clients")
    chosen = options.parse_args(arguments)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"reload: {chosen.edits} edits, seed {seed}", file=sys.stderr, flush=True)
    figures = asyncio.run(run(chosen.edits, seed, small=chosen.small))
    print(f"{'seed':28} {seed}\n{figures.summary()}")
    print(f"{'load of the machine':28} {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")
    for violation in figures.violations:
        print(f"VIOLATION: {violation}")
    return 1 if figures.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
