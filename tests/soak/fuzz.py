"""Bytes from outside, made up for minutes: `./scripts/soak fuzz [NAME ...] [--minutes 10]`.

Each reader of `tests.fuzz.targets` gets so many minutes, in rounds of other examples each. A round that fails prints the smallest example that does.
At the end there must be no more of the process's memory than after the first minute, but for a few per cent.
"""

import argparse
import gc
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from tests.fuzz.targets import TARGETS

ROUND = 500
GROWTH = 1.15
"""Times the memory after the rounds of the first minute that there may be at the end."""


def resident() -> int:
    """Kilobytes of this process; 0 where the system does not tell."""
    try:
        with Path("/proc/self/status").open() as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmRSS")), 0)
    except OSError:
        return 0


def fuzz(name: str, minutes: float) -> list[str]:
    """What was wrong with one reader."""
    until = time.monotonic() + 60 * minutes
    warm_until = time.monotonic() + min(60.0, 15 * minutes)
    examples, warm = 0, 0
    with TARGETS[name]() as target:
        while time.monotonic() < until:
            number = random.getrandbits(64)

            @seed(number)
            @settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(target.strategy())
            def hold(example: Any) -> None:
                target.check(example)  # within the round

            try:
                hold()
            except Exception:  # noqa: BLE001  # whatever it is, it is told
                return [f"{name}, seed {number}: {traceback.format_exc()}"]
            examples += ROUND
            if time.monotonic() < warm_until or not warm:
                gc.collect()
                warm = resident()
    gc.collect()
    now = resident()
    print(f"{name:16} examples {examples:8} memory {warm} kB, then {now} kB", flush=True)
    return [f"{name}: it grew from {warm} to {now} kB"] if now > warm * GROWTH else []


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./scripts/soak fuzz", description="Made-up bytes for every reader.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--minutes", type=float, default=10, help="for each")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - TARGETS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    violations = [wrong for name in options.names or TARGETS for wrong in fuzz(name, options.minutes)]
    for violation in violations:
        print(f"VIOLATION: {violation}")
    print("violations", len(violations))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
