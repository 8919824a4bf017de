"""What a call costs: every contender, both eras, HTTP and stdio upstreams, small and large results, at 1, 16 and 64 clients.

`old` is an HTTP upstream that serves the legacy era alone, which the mesh must bridge to for modern clients; only the mesh is measured there.
All aggregators have two upstreams of eight tools, since aggregating is what they are for; the calls go to one of them.
"""

from bench.arena import Arena
from bench.contenders import CONTENDERS
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all
from bench.rounds import Entry, rounds

CALLS = (("small", 1), ("small", 16), ("small", 64), ("large", 16))
SCENES = {
    kind: tuple((kind, era, call, clients) for era in ("legacy", "modern") for call, clients in calls)
    for kind, calls in (("http", CALLS), ("stdio", CALLS), ("old", (("small", 16),)))
}


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By scene, such as `http legacy small 16`: samples by contender."""
    found: dict = {}
    for kind, scenes in SCENES.items():
        with Arena(ground) as arena:
            web = arena.http(["bench", "other"])
            measured = web
            if kind == "old":
                measured = arena.http(["bench", "other"], options=("--legacy",))
            elif kind == "stdio":
                measured = arena.stdio(["bench", "other"])
            # nginx, and what stands without an upstream, are the measure for every kind.
            names = [name for name in wanted if kind in CONTENDERS[name].kinds or name in ("nginx", "sdk")]
            if kind == "old":
                names = [name for name in wanted if name in ("nginx", "meshproxy")]
            upstreams = {name: web if name in ("direct", "nginx", "sdk") else measured for name in names}
            running = start_all(arena, ground, names, upstreams)
            for scene in scenes:
                if effort.takes(scene):
                    found[" ".join(map(str, scene))] = one(arena, running, scene, effort)
    return found


def one(arena: Arena, running: dict, scene: tuple, effort: Effort) -> dict:
    _, era, call, clients = scene
    entries = []
    for name, contender in running.items():
        if era in contender.contender.eras:
            load = f"{name} {era} {call} {clients}"
            arena.open(contender, load, era, clients, call)
            entries.append(Entry(name, load, contender, slow=contender.contender.slow))
    say(f"  {scene[0]} upstream, {era}, {call}, {clients} clients")
    samples = rounds(arena, entries, effort.rounds, effort.seconds)
    for entry in entries:
        arena.load.job("close", entry.load)
    return samples
