"""What a call costs: every contender, both eras, HTTP and stdio upstreams, small and large results, at 1, 16 and 64 clients.

All aggregators have two upstreams of eight tools, since aggregating is what they are for; the calls go to one of them.
"""

from bench.arena import Arena
from bench.contenders import CONTENDERS
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all
from bench.rounds import Entry, rounds

SCENES = tuple(
    (kind, era, call, clients)
    for kind in ("http", "stdio")
    for era in ("legacy", "modern")
    for call, clients in (("small", 1), ("small", 16), ("small", 64), ("large", 16))
)


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By scene, such as `http legacy small 16`: samples by contender."""
    found: dict = {}
    for kind in ("http", "stdio"):
        with Arena(ground) as arena:
            # nginx, and what stands without an upstream, are the measure for stdio upstreams too.
            names = [name for name in wanted if kind in CONTENDERS[name].kinds or name in ("nginx", "sdk")]
            web = arena.http(["bench", "other"])
            pipes = arena.stdio(["bench", "other"])
            upstreams = {name: pipes if kind in CONTENDERS[name].kinds and kind == "stdio" else web for name in names}
            running = start_all(arena, ground, names, upstreams)
            for scene in SCENES:
                if scene[0] == kind and effort.takes(scene):
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
