"""What a second worker costs and brings: a mesh of two processes beside one of one process, before the same upstreams, 16 clients, each with a connection of its own.

The load client and the upstream share the machine's cores with them, so that two workers cannot be seen to answer twice as much on two cores. What is seen is CPU: how much more a call
takes, and which share of it the busiest worker has. A worker answers until its core is full, so both together answer `1 / (cost * share)` times what one process does.
`./scripts/bench --only workers` prints that; it is in no table.
"""

import json
import statistics
from dataclasses import replace
from pathlib import Path

from bench.arena import Arena, Running
from bench.contenders import CONTENDERS, Command, Upstreams, serve_mesh
from bench.ground import Ground, say
from bench.measures.plan import Effort
from bench.rounds import Entry, ratio, slice_of

from bench import processes

CLIENTS = 16
ERAS = ("legacy", "modern")


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By era: samples by the number of workers, `cost`, the busiest worker's `share`, and `worth`, what both answer beside one."""
    found: dict = {}
    if "meshproxy" not in wanted:
        return found
    with Arena(ground) as arena:
        upstreams = arena.http(["bench", "other"])
        running = {}
        for workers in (1, 2):
            contender = replace(CONTENDERS["meshproxy"], name=f"workers-{workers}", command=serving_with(workers))
            running[workers] = arena.start(contender, upstreams)
            arena.wait_for_tool(running[workers])
        for era in ERAS:
            entries = {}
            for workers, one in running.items():
                entries[workers] = Entry(str(workers), f"{workers} workers {era}", one)
                arena.open(one, entries[workers].load, era, CLIENTS, "small")
            found[era] = told = in_turns(arena, entries, effort)
            say(f"  {era}: cost {told['cost']:.3f}, share {told['share']:.3f}, worth {told['worth']:.2f}")
            for entry in entries.values():
                arena.load.job("close", entry.load)
    return found


def in_turns(arena: Arena, entries: dict[int, Entry], effort: Effort) -> dict:
    samples: dict[int, list[dict]] = {workers: [] for workers in entries}
    shares = []
    for number in range(effort.rounds):
        for workers in (1, 2) if number % 2 else (2, 1):
            before = each(entries[workers].running)
            samples[workers].append(slice_of(arena, entries[workers], effort.seconds) | {"round": number})
            spent = {pid: seconds - before.get(pid, 0.0) for pid, seconds in each(entries[workers].running).items()}
            if workers == 2:
                shares.append(max(spent.values()) / sum(spent.values()))
    cost, share = ratio(samples[2], samples[1], "cpu") or 0.0, statistics.median(shares)
    return {"samples": samples, "cost": cost, "share": share, "worth": 1 / (cost * share) if cost else 0.0}


def each(running: Running) -> dict[int, float]:
    """Seconds of CPU that each process has had."""
    return {pid: processes.cpu_of(pid) for pid in processes.tree(running.pid)}


def serving_with(workers: int) -> Command:
    """Serves a mesh of so many processes."""

    def command(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
        path = directory / "mesh.yaml"
        path.write_text(json.dumps({"server": {"workers": workers}, "upstreams": upstreams}))
        return serve_mesh(path, port)

    return command
