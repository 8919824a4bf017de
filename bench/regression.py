"""The short form for CI: CPU per call of meshproxy, against bench/baseline.json.

    ./scripts/bench --regression [--write]

Two or three minutes: HTTP and stdio upstreams in both eras, at 16 clients, and HTTP once more as it is without having been compiled, each to two yardsticks;
and every other kind of request, to a plain call over HTTP. The yardsticks are an nginx hop, which is mostly system calls, and the SDK's server, which is
mostly Python. A machine may be kinder to one than to the other (the same code was seen at 1.7 and at 2.3 nginx hops on two days), and a regression shows against
both: the check fails when a cost is more than a third worse than the committed one by each of its yardsticks, and then only if up to two more looks, put
together with the first, say the same. `--write` makes what is measured the new baseline.
"""

import argparse
import json
import sys

from bench.arena import Arena
from bench.ground import ROOT, Ground, say
from bench.measures.kinds import CALLS, KINDS, over_pipes
from bench.measures.plan import start_all
from bench.processes import unwind_on_signals
from bench.rounds import Entry, errors, ratio, rounds

BASELINE = ROOT / "bench" / "baseline.json"
WORSE = 4 / 3
ROUNDS, SECONDS, CLIENTS = 5, 0.6, 16
LOOKS = 3
ERAS = ("legacy", "modern")
YARDSTICKS = {"nginx": "an nginx hop", "sdk": "the SDK's server", "call": "a plain call"}

Ratios = dict[str, dict[str, float]]
"""By scene and era, the cost to each yardstick."""


def main() -> int:
    unwind_on_signals()
    options = argparse.ArgumentParser(prog="scripts/bench --regression", description=__doc__.splitlines()[0])
    options.add_argument("--write", action="store_true", help="make what is measured the new baseline")
    asked = options.parse_args()
    ground = Ground()
    ground.prepare({"nginx"})
    if "nginx" in ground.missing:
        say(f"The benchmark is skipped: {ground.missing['nginx']}.")
        return 0
    baseline: Ratios = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    samples: dict[str, dict[str, list[dict]]] = {}
    with Arena(ground) as arena:
        entries = start(arena, ground)
        if entries is None:
            say(f"meshproxy did not serve: {ground.missing}")
            return 1
        found = look(arena, entries, samples)
        for _ in range(LOOKS - 1):
            if asked.write or not worse(found, baseline):
                break
            say("Worse than the baseline; looking again")
            found = look(arena, entries, samples)
    wrong = [
        f"{scene}, {name}: {errors(s)} errors"
        for scene, names in samples.items()
        for name, s in names.items()
        if errors(s)
    ]
    for scene, ratios in found.items():
        known = baseline.get(scene, {})
        say(
            f"{scene}: "
            + ", ".join(
                f"{value:.3g} times {YARDSTICKS[name]} (baseline {known.get(name, 'not set')})"
                for name, value in ratios.items()
            )
        )
    if wrong:
        say("\n".join(wrong))
        return 1
    if asked.write:
        BASELINE.write_text(json.dumps(rounded(found), indent=2) + "\n")
        return 0
    for scene in worse(found, baseline):
        say(
            f"CPU per call has become more than a third worse: {scene}. If that is meant, ./scripts/bench --regression --write."
        )
    return 1 if worse(found, baseline) else 0


def start(arena: Arena, ground: Ground) -> dict[str, list[Entry]] | None:
    """The loads of each era, opened."""
    web, pipes = arena.http(["bench", "other"]), arena.stdio(["bench", "other"])
    yardsticks = ["nginx", "sdk"]
    running = start_all(arena, ground, yardsticks, dict.fromkeys(yardsticks, web))
    if list(running) != yardsticks:
        return None
    scenes = [("source http", "meshproxy-source", web), ("http", "meshproxy", web), ("stdio", "meshproxy", pipes)]
    if ground.missing.pop("meshproxy-source", None):
        say("There is no C compiler here: what is measured is not compiled.")
        scenes = scenes[:1]
    for scene, name, upstreams in scenes:
        started = start_all(arena, ground, [name], {name: upstreams})
        if not started:
            return None
        running[scene] = started[name]
    entries: dict[str, list[Entry]] = {}
    for era in ERAS:
        entries[era] = []
        for name, contender in running.items():
            arena.open(contender, f"{name} {era}", era, CLIENTS, "small")
            entries[era].append(Entry(name, f"{name} {era}", contender))
        # What is served is the mesh as it is not compiled where it cannot be.
        mesh = running.get("http", running["source http"])
        for kind in CALLS[1:]:
            arena.open(mesh, f"{kind} {era}", era, CLIENTS, kind)
            entries[era].append(Entry(kind, f"{kind} {era}", mesh))
        entries[era] += over_pipes(arena, ground, web, era)
    return entries


def look(arena: Arena, entries: dict[str, list[Entry]], samples: dict) -> Ratios:
    """Measure, add to what was measured before, and give the ratios of all of it."""
    found: Ratios = {}
    for era, contenders in entries.items():
        fresh = rounds(arena, contenders, ROUNDS, SECONDS)
        known = samples.setdefault(era, {})
        for name, more in fresh.items():
            offset = len(known.setdefault(name, []))
            known[name] += [sample | {"round": offset + sample["round"]} for sample in more]
        plain = known.get("http", known["source http"])
        for scene in fresh.keys() - YARDSTICKS.keys():
            bases = {"call": plain} if is_kind(scene) else {name: known[name] for name in ("nginx", "sdk")}
            found[f"{scene} {era}"] = {
                name: ratio(known[scene], base, "cpu") or float("inf") for name, base in bases.items()
            }
    return dict(sorted(found.items()))


def is_kind(scene: str) -> bool:
    """Whether it is another kind of request, which is compared with a plain call."""
    return scene.startswith(KINDS)


def worse(found: Ratios, baseline: Ratios) -> list[str]:
    """What costs more than it may by every yardstick that it has."""
    return [
        scene
        for scene, ratios in found.items()
        if scene in baseline and all(value > baseline[scene][name] * WORSE for name, value in ratios.items())
    ]


def rounded(found: Ratios) -> Ratios:
    """Three digits that count."""
    return {scene: {name: float(f"{value:.3g}") for name, value in ratios.items()} for scene, ratios in found.items()}


if __name__ == "__main__":
    sys.exit(main())
