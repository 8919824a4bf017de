"""What every kind of request costs beside a plain call: resources, prompts, completions, an answer by event stream, a failed tool, a stdio client.

All of them go to one HTTP upstream, with 16 requests under way, and are measured in the same rounds as plain calls, which they are compared with.
"""

from bench.arena import Arena, LoadFailed
from bench.contenders import PIPES
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all
from bench.rounds import Entry, rounds

PLAIN = "small"
CALLS = (PLAIN, "read", "prompt", "complete", "stream", "failed")
STDIO = "stdio client"
KINDS = (*CALLS[1:], STDIO)
CLIENTS = 16
ERAS = ("legacy", "modern")


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By era: samples by kind, those of a plain call of the mesh (`PLAIN`) and of nginx (`nginx`) among them."""
    found: dict = {}
    if "meshproxy" not in wanted:
        return found
    with Arena(ground) as arena:
        upstreams = arena.http(["bench", "other"])
        names = [name for name in ("nginx", "meshproxy") if name in wanted]
        running = start_all(arena, ground, names, dict.fromkeys(names, upstreams))
        if "meshproxy" not in running:
            return found
        for era in ERAS:
            say(f"  kinds of requests, {era}")
            entries = []
            if "nginx" in running:
                arena.open(running["nginx"], f"nginx {era}", era, CLIENTS, PLAIN)
                entries.append(Entry("nginx", f"nginx {era}", running["nginx"]))
            for call in CALLS:
                arena.open(running["meshproxy"], f"{call} {era}", era, CLIENTS, call)
                entries.append(Entry(call, f"{call} {era}", running["meshproxy"]))
            entries += over_pipes(arena, ground, upstreams, era)
            found[era] = rounds(arena, entries, effort.rounds, effort.seconds)
            for entry in entries:
                arena.load.job("close", entry.load)
    return found


def over_pipes(arena: Arena, ground: Ground, upstreams: dict, era: str) -> list[Entry]:
    """The load of a stdio client, opened; none, with a reason in `ground.missing`, if it does not serve."""
    load = f"{STDIO} {era}"
    running = arena.start(PIPES, upstreams)
    try:
        arena.open(running, load, era, CLIENTS, PLAIN)
    except LoadFailed as error:
        ground.missing[PIPES.name] = f"it did not serve: {error}"
        return []
    return [Entry(STDIO, load, running)]
