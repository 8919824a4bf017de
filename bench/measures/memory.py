"""Memory: at rest with ten upstreams, and what one more open session adds."""

import time

from bench.arena import Arena, LoadFailed, Running
from bench.contenders import CONTENDERS
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all

WARM_UP = 100
"""Sessions opened before the first weighing, so that what is made once is not counted."""
FORMS = {
    "opened": {"calls": 0, "stream": False, "options": ()},
    "called": {"calls": 1, "stream": False, "options": ()},
    "bound": {"calls": 1, "stream": False, "options": ("--legacy",)},
    "listening": {"calls": 1, "stream": True, "options": ("--legacy",)},
}
"""A session that was opened; one that has called; one that has called an upstream of the legacy era, where it may have a session of its own
now; and such a one whose event stream is open too."""


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """`rest`: bytes with ten upstreams by kind and contender. `session`: bytes per session by form and contender."""
    names = [name for name in wanted if CONTENDERS[name].kinds == ("http", "stdio")]
    found: dict = {"rest": {}, "session": {form: {} for form in FORMS}}
    for kind in ("http", "stdio"):
        with Arena(ground) as arena:
            ten = ["bench", *(f"more{number}" for number in range(1, 10))]
            upstreams = arena.http(ten) if kind == "http" else arena.stdio(ten)
            running = start_all(arena, ground, names, dict.fromkeys(names, upstreams))
            time.sleep(2)  # for what is still starting to come to rest
            found["rest"][kind] = {name: contender.memory() for name, contender in running.items()}
    for form, asked in FORMS.items():
        say(f"  memory of sessions: {form}")
        with Arena(ground) as arena:
            quick = [name for name in wanted if name in (*names, "sdk") and not CONTENDERS[name].slow]
            running = start_all(
                arena, ground, quick, dict.fromkeys(quick, arena.http(["bench", "other"], options=asked["options"]))
            )
            for name, contender in running.items():
                # A session of a peer costs a thousand times more work, and weighs enough to be seen sooner.
                count = effort.sessions if name.startswith("meshproxy") else min(effort.sessions, 100)
                found["session"][form][name] = weigh(
                    arena, contender, count, calls=asked["calls"], stream=asked["stream"]
                )
    return found


def weigh(arena: Arena, running: Running, count: int, *, calls: int, stream: bool) -> dict:
    load = f"{running.contender.name} sessions"
    try:
        arena.open(running, load, "legacy", 1, "small")
        if running.contender.eras["legacy"] == "sse":
            return {"missing": "its sessions are event streams of their own"}
        arena.load.job("hold", load, count=min(WARM_UP, count), calls=calls, stream=stream)
        before = running.memory()
        arena.load.job("hold", load, count=count, calls=calls, stream=stream)
        time.sleep(1)
        after = running.memory()
        arena.load.job("close", load)
    except LoadFailed as error:
        return {"missing": str(error)}
    return {"sessions": count} | {key: (after[key] - before[key]) / count for key in after}
