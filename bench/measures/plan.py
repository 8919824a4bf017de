"""What all measurements share: how much effort they make, and starting those who take part."""

from dataclasses import dataclass

from bench.arena import Arena, LoadFailed, Running
from bench.contenders import CONTENDERS, Upstreams
from bench.ground import Ground, say
from bench.processes import NotReady


@dataclass(frozen=True)
class Effort:
    rounds: int
    seconds: float
    sessions: int
    """How many sessions are opened to see what one weighs."""
    repeats: int
    """How often what cannot be interleaved is done."""
    full: bool

    def takes(self, scene: tuple) -> bool:
        """A quick run leaves out the load of 64 clients."""
        return self.full or 64 not in scene


FULL = Effort(rounds=7, seconds=1.0, sessions=2000, repeats=5, full=True)
QUICK = Effort(rounds=3, seconds=0.5, sessions=500, repeats=2, full=False)


def start_all(arena: Arena, ground: Ground, names: list[str], upstreams: dict[str, Upstreams]) -> dict[str, Running]:
    """Those that can be started, before the upstreams given for each; a reason in `ground.missing` for the others."""
    running = {}
    for name in names:
        contender = CONTENDERS[name]
        reason = ground.missing.get(contender.needs or name)
        if reason:
            ground.missing[name] = reason
            continue
        try:
            started = arena.start(contender, upstreams[name])
            if started.process is not None:
                arena.wait_for_tool(started)
        except (NotReady, LoadFailed, OSError) as error:
            ground.missing[name] = f"it did not serve: {error}"
            say(f"  {name} does not take part: {str(error).splitlines()[0]}")
            continue
        running[name] = started
    return running
