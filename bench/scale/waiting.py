"""`waits`: how long requests wait within a fleet, by a simulation of its queues, event by event. Standard library alone.

Each process does one thing at a time, in the order in which things come. Requests come at random (Poisson), each at a random process, and have their home at a random one: what is handed on waits at its entry, at its home, and at its entry again for the answer.
Between them come heartbeats and looks at limits, each at its time. Upstreams and networks take no time here, so that what is left is the mesh's own.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from bench.scale.costs import Costs
from bench.scale.model import BEATS, GREETINGS, LOOKS, OPENING, Fleet, Load


@dataclass(frozen=True)
class Waits:
    """Milliseconds from a request's coming to its answer, by quantile; and the part of its time that a process works."""

    p50: float
    p99: float
    core: float


def path(costs: Costs, fleet: Fleet, chance: random.Random) -> Iterator[tuple[int, float]]:
    """Where a call goes, and how long it is worked at there."""
    entry = chance.randrange(fleet.processes)
    home = entry if fleet.sticky else chance.randrange(fleet.processes)
    if entry == home:
        yield entry, costs.call
        return
    machine, workers = home // fleet.workers, fleet.workers
    is_far = entry // workers != machine
    hop, at_home = (costs.replica_hop, costs.replica_home) if is_far else (costs.worker_hop, costs.worker_home)
    # The half of what its entry does comes before, the other with the answer.
    half = costs.call * (hop - at_home) / 2
    yield entry, half
    door = machine * workers + chance.randrange(workers)
    if is_far and door != home:
        # Another worker of its machine has taken it, and hands it to the home.
        passing = costs.call * (costs.worker_hop - costs.worker_home) / 2 + costs.call * (at_home - 1) / 2
        yield door, passing
        yield home, costs.call * costs.worker_home
        yield door, passing
    else:
        yield home, costs.call * at_home
    yield entry, half


def waits(costs: Costs, load: Load, fleet: Fleet, requests: int = 30_000, seed: int = 1) -> Waits:
    """Of so many requests at the rate of the load. The same seed gives the same."""
    chance = random.Random(seed)
    rate = load.sessions * load.calls / 60 + OPENING * load.sessions / (60 * load.minutes)
    # Listings are left out: all of them together are less work than one process's heartbeats and looks.
    end = requests / rate
    events: list[tuple[float, int, float, list[tuple[int, float]]]] = []
    number = 0
    now = 0.0
    for _ in range(requests):
        now += chance.expovariate(rate)
        heappush(events, (now, number, now, [*path(costs, fleet, chance)]))
        number += 1
    chores = [(1 / BEATS, costs.beat.at(fleet.processes))]
    if load.limits:
        chores.append((1 / LOOKS, costs.look.at(load.limits)))
    if fleet.machines > 1:
        chores.append((1 / GREETINGS / (fleet.machines - 1), costs.greeting))
    for process in range(fleet.processes):
        for every, cost in chores:
            at = chance.random() * every
            while at < now:
                heappush(events, (at, number, -1.0, [(process, cost)]))
                number += 1
                at += every
    free = [0.0] * fleet.processes
    worked, spells = 0.0, []
    while events:
        at, number, came, steps = heappop(events)
        (process, cost), *rest = steps
        free[process] = done = max(at, free[process]) + cost
        worked += cost
        if rest:
            heappush(events, (done, number, came, rest))
        elif came >= 0:
            spells.append(done - came)
    spells.sort()
    p50, p99 = (spells[int(len(spells) * part)] * 1e3 for part in (0.5, 0.99))
    return Waits(p50, p99, worked / max(end, now) / fleet.processes)
