"""Measures what the model takes and nothing else measures, and writes it to `measured.json`: ./scripts/bench --scale --measure.

It takes two minutes, and needs the mesh itself and a redis-server. Ratios and counters stay true on a machine that has other work; times do less so.
"""

import json
import platform
import subprocess

from bench.ground import ROOT
from bench.scale import hand_overs, stores

FILE = ROOT / "bench" / "scale" / "measured.json"


def measure(rounds: int = 9, seconds: float = 0.5) -> None:
    """Measure all, and keep it."""
    ground = hand_overs.ready_ground()
    server = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.split()
    found = {
        "on": {
            "cores": ground.versions["cores"],
            "architecture": platform.machine(),
            "python": ground.versions["Python"],
            "meshproxy": ground.versions["meshproxy"],
            "redis": server[2].removeprefix("v="),
        },
        # At three times, as other work on the machine only adds to what is seen.
        "store": least([stores.measured() for _ in range(3)]),
        "worker": hand_overs.by_socket(rounds, seconds),
        "replica": hand_overs.by_network(rounds, seconds),
        "greeting": hand_overs.greetings(4.0),
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n")


def least(found: list) -> object:
    """What is least, of each figure."""
    if isinstance(found[0], dict):
        return {key: least([one[key] for one in found]) for key in found[0]}
    return min(found)
