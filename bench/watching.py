"""What it costs a mesh to be watched: the page open, and what is counted and written of each call.

    ./scripts/bench --watching [--rounds N] [--seconds S] [--rate R] [--readers N]

Two comparisons, each in turns in every round, so that the machine's moods fall on both sides alike:

- the page: one mesh that is called R times a second, with and without so many readers of the event stream of `/api`, each of which takes what the page takes.
  Every call has to be answered; frames that are left out for a reader are told by the mesh itself (`missed`), and calls that a frame left out by number.
- telemetry: meshes that are called as fast as they answer: one has nothing on, one what is on by default (metrics and the call log), and one the access log besides, and one the audit log.

CPU is the mesh's alone, by the kernel's clocks. The answer is the median of the rounds' ratios, with their middle half. Exit status 1 if a call failed, or if a
median is above its bound (page 1.02, access log with metrics and call log 1.05) on a machine that was quiet enough for the middle half to be narrower than the bound.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import sys
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from bench.arena import Arena
from bench.contenders import CONTENDERS, Contender, Upstreams, serve_mesh
from bench.ground import Ground, say
from bench.processes import unwind_on_signals
from bench.rounds import Entry, slice_of

BOUNDS = {"page": 1.02, "logged": 1.05}
CLIENTS = 16
ERAS = ("legacy", "modern")
SETTINGS = {
    "off": {"server": {"metrics": False, "page": False}, "observe": {"calls": {"keep": 0}}},
    "counted": {},
    "logged": {"observe": {"access_log": {"file": "access.jsonl"}}},
    "audited": {"observe": {"audit": {"file": "audit.jsonl"}}},
}
"""What a config has besides its upstreams; metrics and the call log are on by default."""


def contender(name: str) -> Contender:
    """The mesh with these settings."""

    def command(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
        file = directory / "mesh.yaml"
        file.write_text(json.dumps({"upstreams": upstreams, **SETTINGS[name]}))
        return serve_mesh(file, port)

    return replace(CONTENDERS["meshproxy"], name=f"meshproxy-{name}", command=command)


class Reader:
    """Reads the event stream as an open page does, beside the measurement; counts what comes."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.frames = self.missed = self.left_out = 0
        self._socket = socket.create_connection((where.hostname, where.port))
        self._socket.sendall(f"GET /api/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile("rb") as lines:
            event = b""
            for line in lines:
                if line.startswith(b"event: "):
                    event = line[7:].strip()
                    self.frames += 1
                    self.missed += event == b"missed"
                elif line.startswith(b"data: ") and event == b"calls":
                    self.left_out += json.loads(line[6:])["left_out"]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()


def main() -> int:
    unwind_on_signals()
    options = argparse.ArgumentParser(prog="scripts/bench --watching", description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    options.add_argument("--rate", type=float, default=1000.0, help="calls a second while the page is open")
    options.add_argument("--readers", type=int, default=1, help="pages that are open")
    asked = options.parse_args()
    ground = Ground()
    ground.prepare({"python"})
    say(f"meshproxy is {ground.versions['meshproxy']}; load of the machine {os.getloadavg()[0]:.1f}")
    fine = True
    with Arena(ground) as arena:
        upstreams = arena.http(["bench", "other"])
        meshes = {name: arena.start(contender(name), upstreams) for name in SETTINGS}
        for mesh in meshes.values():
            arena.wait_for_tool(mesh)
        for era in ERAS:
            entries = {}
            for name, mesh in meshes.items():
                arena.open(mesh, f"{name} {era}", era, CLIENTS, "small")
                entries[name] = Entry(name, f"{name} {era}", mesh)
            fine &= tell("page", era, page(arena, entries["counted"], asked), "open against closed")
            turns = telemetry(arena, entries, asked)
            for name in ("counted", "logged", "audited"):
                pairs = [(turn[name], turn["off"]) for turn in turns]
                fine &= tell(name, era, pairs, "against nothing on")
    return 0 if fine else 1


def page(arena: Arena, entry: Entry, asked: argparse.Namespace) -> list[tuple[dict, dict]]:
    """By round, a turn with the page open and one without."""
    found = []
    for number in range(asked.rounds):
        turns = {}
        for is_open in (True, False) if number % 2 else (False, True):
            readers = [Reader(entry.running.url) for _ in range(asked.readers if is_open else 0)]
            try:
                turns[is_open] = slice_of(arena, entry, asked.seconds, rate=asked.rate)
            finally:
                for reader in readers:
                    reader.close()
            turns[is_open] |= {
                key: sum(getattr(one, key) for one in readers) for key in ("frames", "missed", "left_out")
            }
        found.append((turns[True], turns[False]))
    return found


def telemetry(arena: Arena, entries: dict[str, Entry], asked: argparse.Namespace) -> list[dict[str, dict]]:
    """By round, a turn of each mesh, in an order that rotates."""
    found = []
    for number in range(asked.rounds):
        first = number % len(entries)
        order = [*entries][first:] + [*entries][:first]
        found.append({name: slice_of(arena, entries[name], asked.seconds) for name in order})
    return found


def tell(what: str, era: str, rounds: list[tuple[dict, dict]], sides: str) -> bool:
    """Say what was measured; whether it is as it has to be."""
    errors = sum(turn["errors"] for pair in rounds for turn in pair)
    ratios = [one["cpu"] / other["cpu"] for one, other in rounds if one["cpu"] and other["cpu"]]
    if errors or len(ratios) < 2:
        print(f"{what}, {era}: {errors} calls failed")
        return False
    low, middle, high = statistics.quantiles(ratios, n=4)
    cpu = statistics.median(one["cpu"] for one, _ in rounds), statistics.median(other["cpu"] for _, other in rounds)
    rate = statistics.median(one["calls"] / one["seconds"] for one, _ in rounds)
    print(
        f"{what}, {era}: {middle:.3f} times the CPU per call, {sides} (middle half of {len(ratios)} rounds: {low:.3f} to {high:.3f}); "
        f"{cpu[0]:.1f} and {cpu[1]:.1f} us at {rate:,.0f} calls/s, none failed"
    )
    if what == "page":
        told = {key: sum(one[key] for one, _ in rounds) for key in ("frames", "missed", "left_out")}
        print(
            f"  {told['frames']} frames were read, {told['missed']} times some were missed; {told['left_out']} calls were only counted in them"
        )
    if what not in BOUNDS:
        return True
    is_quiet = high - low < BOUNDS[what] - 1
    if not is_quiet:
        print("  the machine was not quiet enough for a verdict")
    return middle <= BOUNDS[what] or not is_quiet


if __name__ == "__main__":
    sys.exit(main())
