"""Every fault of `tests/chaos` again and again, with the times: `./scripts/soak chaos [--rounds 5] [--only WORDS]`.

Before each fault the mesh is watched without it, so that what else the machine does meets both. What must hold, beside what the tests hold:

- calls to the upstreams that are not ill take at most twice as long, in the median, as they took before
- an upstream is back within its bound after it is healed
- at the end there are no more tasks and descriptors, and little more memory, than after the first round
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import CASES
from tests.chaos.visitors import VISITORS
from tests.chaos.ward import Violation, Ward, ward
from tests.soak.program import State

RATIO = 2.0
GROWTH = 1.05
"""Of memory, from the end of the first round on."""
IDLE = 30
"""Seconds after which the mesh forgets a session that nobody uses."""
LEFT = 4
"""Tasks and descriptors: an edit or a connection that is being closed at that moment."""


class Row:
    """What was measured of one fault."""

    def __init__(self, name: str, bound: float | None) -> None:
        self.name = name
        self.bound = bound
        self.calm: list[float] = []
        self.ill: list[float] = []
        self.back: list[float] = []

    @property
    def ratio(self) -> float:
        return statistics.median(self.ill) / statistics.median(self.calm)

    def __str__(self) -> str:
        calm, ill = (statistics.median(found) * 1000 for found in (self.calm, self.ill))
        back = f"back after {max(self.back):.2f} s" if self.back else ""
        return f"  {self.name:56} {calm:6.1f} ms, {ill:6.1f} ms, ratio {self.ratio:.2f}  {back}"


async def watched(found: Ward, row: Row) -> None:
    """Calls without a fault."""
    found.seconds.clear()
    for _ in range(found.rounds + 1):
        await found.others()
    row.calm += found.seconds
    found.seconds.clear()


async def run(rounds: int, only: str) -> int:
    violations: list[str] = []
    cases = [case for case in CASES if only in case[0].name]
    rows = {case: Row(f"{case[0].name}, {case[1]}", case[0].bound) for case in cases}
    crowds = {kind: Row(kind.name, None) for kind in VISITORS if only in kind.name}
    states: list[State] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with ward(Path(folder), server={"session_idle_timeout": f"{IDLE}s"}) as found:
                found.rounds = 3
                await found.others()
                for number in range(rounds):
                    for (fault, kind), row in rows.items():
                        patient = found.patients[kind]
                        try:
                            await found.admit(patient, fault)
                            await watched(found, row)
                            row.back.append(await found.ordeal(fault, patient))
                        except (Violation, TimeoutError) as error:
                            violations.append(f"round {number}: {row.name}: {error!r}")
                            print(f"  VIOLATION: {violations[-1]}", file=sys.stderr, flush=True)
                        row.ill += found.seconds
                    for visitor, row in crowds.items():
                        try:
                            await watched(found, row)
                            await found.suffer(visitor(found.program.url))
                        except (Violation, TimeoutError) as error:
                            violations.append(f"round {number}: {row.name}: {error!r}")
                        row.ill += found.seconds
                    await settled(found)
                    # By then the sessions are forgotten that clients have left behind, and those of the ward with them.
                    await asyncio.sleep(1.5 * IDLE)
                    await found.reopen()
                    states.append(await found.program.look(found.http))
                    held = f"{states[-1].megabytes:.1f} MB"
                    print(f"  round {number}: {len(violations)} violations, {held}", file=sys.stderr, flush=True)
        except Violation as error:
            violations.append(repr(error))
    for row in (*rows.values(), *crowds.values()):
        print(row)
        if row.ratio > RATIO:
            violations.append(f"{row.name}: calls to the others take {row.ratio:.2f} times as long")
        if row.bound is not None and row.back and max(row.back) > row.bound:
            violations.append(f"{row.name}: it is back after {max(row.back):.2f} s, at most {row.bound:g} s")
    print(
        f"  {'calls that had to be answered, and were':56} {sum(len(row.calm) + len(row.ill) for row in rows.values())}"
    )
    if len(states) > 1:
        violations += grown(states[0], states[-1])
    print(f"  {'load of the machine':56} {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")
    for violation in violations:
        print(f"VIOLATION: {violation}")
    print("violations", len(violations))
    return 1 if violations else 0


async def settled(found: Ward) -> None:
    """Wait until what drains has drained."""
    async with asyncio.timeout(60):
        while (await found.program.ready(found.http))[1].get("draining"):
            await asyncio.sleep(0.2)


def grown(before: State, after: State) -> list[str]:
    growth = after.growth(before)
    tasks, descriptors = (sum(state.tasks.values()) for state in (before, after)), sum(growth["descriptors"].values())
    print(f"  {'tasks, from the first round to the last':56} {' -> '.join(map(str, tasks))}")
    print(f"  {'descriptors more':56} {growth['descriptors']}")
    print(f"  {'processes':56} {len(before.children)} -> {len(after.children)}")
    print(f"  {'memory':56} {before.megabytes:.1f} -> {after.megabytes:.1f} MB")
    wrong = []
    if sum(growth["tasks"].values()) > LEFT or descriptors > LEFT or growth["processes"] > 0:
        wrong.append(f"left over: {growth}")
    if after.megabytes > before.megabytes * GROWTH:
        wrong.append(f"memory grows from {before.megabytes:.1f} to {after.megabytes:.1f} MB")
    return wrong


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="./scripts/soak chaos", description="Every fault again and again.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default="", help="the faults whose names have these words in them")
    chosen = options.parse_args(arguments)
    return asyncio.run(run(chosen.rounds, chosen.only))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
