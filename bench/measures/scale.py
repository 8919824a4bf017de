"""What a call costs the mesh when it is large: 1,000 tools, 10 upstreams, 1,000 open sessions, against 8 tools and one session."""

from bench.arena import Arena
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all
from bench.rounds import Entry, rounds

SESSIONS = 1000
ERAS = ("legacy", "modern")


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By era: samples by variant, of one client. `turns` calls on 1,000 sessions in turn, where `sessions` leaves them idle."""
    if "meshproxy" not in wanted:
        return {}
    with Arena(ground) as arena:
        eight = arena.http(["bench"])
        ten = arena.http(["bench", *(f"more{number}" for number in range(1, 10))])
        thousand = arena.http(["bench"], tools=1000)
        both = arena.http(["bench", *(f"more{number}" for number in range(1, 10))], tools=100)
        before = {"base": eight, "tools": thousand, "upstreams": ten, "sessions": eight, "turns": eight, "all": both}
        running = {}
        for variant, upstreams in before.items():
            started = start_all(arena, ground, ["meshproxy"], {"meshproxy": upstreams})
            if not started:
                return {}
            running[variant] = started["meshproxy"]
        for variant in ("sessions", "all"):
            arena.open(running[variant], f"held {variant}", "legacy", 1, "small")
            arena.load.job("hold", f"held {variant}", count=SESSIONS, calls=1)
        found = {}
        for era in ERAS:
            say(f"  scale, {era}")
            entries = []
            for variant, contender in running.items():
                if era == "modern" and variant == "turns":
                    continue
                load = f"{variant} {era}"
                arena.open(contender, load, era, 1, "small", sessions=SESSIONS if variant == "turns" else 0)
                entries.append(Entry(variant, load, contender))
            found[era] = rounds(arena, entries, effort.rounds, effort.seconds)
        return found
