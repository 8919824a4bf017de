"""`needed`: how many processes carry a load, and what they and the store then do. Arithmetic alone: rates times costs, and bounds.

A fleet is of machines with `workers` processes each, one core a process. Without stickiness a request comes to any process, and its session has its home at any.
"""

from dataclasses import dataclass

from bench.scale.costs import Costs

BEATS = 4.0
"""A second and process (`meshproxy.cluster.pulse`)."""
GREETINGS = 1.0
"""A second, process and other replica (`meshproxy.cluster.roll`)."""
LOOKS = 20.0
"""A second and process that uses limits (`meshproxy.guard.loans`)."""
OPENING = 3
"""Requests with which a session begins and ends: `initialize`, `notifications/initialized`, `DELETE`."""


@dataclass(frozen=True)
class Load:
    """What clients do. Rates are of all of them together but for `calls`.

    Attributes:
        sessions: of the legacy era, which have a home.
        calls: per session and minute.
        listening: of the sessions, those whose event stream is open.
        tools: listed per minute, in listings of `tools_each`.
        minutes: that a session lasts.
        limits: upstreams with `limits` that are called all the time.
        logins: accounts of callers, whose tokens are each refreshed once an hour.
    """

    sessions: int = 100_000
    calls: float = 6.0
    listening: float = 1.0
    tools: int = 1_000_000
    tools_each: int = 1000
    minutes: float = 30.0
    limits: int = 5
    logins: int = 100_000


@dataclass(frozen=True)
class Bounds:
    """What a process and the store may be given: parts of a core, bytes, descriptors (deploy/systemd), sessions (`server.max_sessions`, at its default)."""

    core: float = 0.6
    store: float = 0.6
    memory: float = 1e9
    descriptors: float = 65_536
    sessions: float = 10_000


@dataclass(frozen=True)
class Fleet:
    """Machines of so many processes each, behind a balancer that keeps clients at the home of their session (`sticky`) or does not."""

    machines: int
    workers: int = 4
    sticky: bool = False

    @property
    def processes(self) -> int:
        return self.machines * self.workers

    @property
    def by_worker(self) -> float:
        """Of requests that have a home: those that reach another worker of the machine that has it."""
        return 0.0 if self.sticky else (self.workers - 1) / self.processes

    @property
    def by_replica(self) -> float:
        """Those that reach another machine."""
        return 0.0 if self.sticky else (self.machines - 1) / self.machines

    @property
    def handed(self) -> float:
        """All that are handed on: (N-1)/N of N processes."""
        return self.by_worker + self.by_replica

    @property
    def hops(self) -> float:
        """Hand-overs per request that has a home."""
        return self.by_replica + self.worker_hops

    @property
    def worker_hops(self) -> float:
        """Hand-overs between workers per request: what comes from another machine comes to any worker of this one."""
        return self.by_worker + self.by_replica * (self.workers - 1) / self.workers


@dataclass(frozen=True)
class Demand:
    """What a process needs, parts of a core, bytes and so on; and the store in all, per second."""

    core: float
    handing: float
    """Of that, what hand-over takes."""
    keeping: float
    """Of that, what heartbeats, greetings and limits take."""
    memory: float
    descriptors: float
    sessions: float
    store_core: float
    store_commands: float
    store_sent: float
    store_taken: float

    def excess(self, bounds: Bounds) -> dict[str, float]:
        """How far each bound is used: over 1 is too much."""
        return {
            "CPU": self.core / bounds.core,
            "memory": self.memory / bounds.memory,
            "descriptors": self.descriptors / bounds.descriptors,
            "sessions": self.sessions / bounds.sessions,
            "store": self.store_core / bounds.store,
        }


def demand(costs: Costs, load: Load, fleet: Fleet) -> Demand:
    """Of an even spread."""
    count = fleet.processes
    calls = load.sessions * load.calls / 60 + OPENING * load.sessions / (60 * load.minutes)
    listings = load.tools / load.tools_each / 60
    more = fleet.worker_hops * (costs.worker_hop - 1) + fleet.by_replica * (costs.replica_hop - 1)
    handing = (calls * costs.call * more + listings * costs.listing * fleet.handed * (costs.listing_hop - 1)) / count
    keeping = kept(costs, load, fleet)
    core = (calls * costs.call + listings * costs.listing) / count + handing + keeping
    streams = load.sessions * load.listening / count
    # A stream that comes by two others is taken to weigh as much at each, though there is no TLS between workers.
    away = fleet.handed
    memory = (
        costs.process_bytes
        + load.sessions / count * (1 - load.listening) * costs.session_bytes
        + streams * ((1 - away) * costs.stream_bytes + away * costs.handed_home_bytes)
        + streams * fleet.hops * costs.handed_entry_bytes
        + (fleet.machines - 1) * costs.peer_bytes
    )
    descriptors = (
        load.sessions / count  # each client's connection for its calls
        + streams * (1 - away + away * costs.handed_home_descriptors)
        + streams * fleet.hops * costs.handed_entry_descriptors
        + (fleet.machines - 1) * costs.peer_descriptors
    )
    return Demand(core, handing, keeping, memory, descriptors, load.sessions / count, **stored(costs, load, count))


def kept(costs: Costs, load: Load, fleet: Fleet) -> float:
    """Parts of a core that a process spends on being one of many."""
    changes = load.logins / 3600
    looks = LOOKS * costs.look.at(load.limits) if load.limits else 0.0
    others = GREETINGS * (fleet.machines - 1) * costs.greeting
    return BEATS * costs.beat.at(fleet.processes) + looks + others + min(changes, BEATS) * costs.change["own_us"]


def stored(costs: Costs, load: Load, count: int) -> dict[str, float]:
    """What the store does a second for so many processes."""
    beats, looks = BEATS * count, LOOKS * count if load.limits else 0.0
    refreshes = load.logins / 3600
    # However many change between two heartbeats, a process asks once.
    told = min(refreshes, BEATS) * count
    look = costs.look_store.at(load.limits) + load.limits * costs.look_store_others * (count - 1)
    changes = {key: refreshes * costs.refresh[key] + told * costs.change[key] for key in costs.refresh}
    return {
        "store_core": beats * costs.beat_store.at(count) + looks * look + changes["store_us"],
        "store_commands": beats * costs.beat_commands
        + looks * costs.look_commands.at(load.limits)
        + changes["commands"],
        "store_sent": beats * costs.beat_sent.at(count) + looks * costs.look_sent.at(load.limits) + changes["out"],
        "store_taken": beats * costs.beat_taken + looks * costs.look_taken.at(load.limits) + changes["in"],
    }


def event(costs: Costs, count: int, times: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Bytes, and seconds of the store's core, that something takes: by part, how often it is done in all and how often by each of so many processes."""
    found = {"bytes": 0.0, "store_us": 0.0}
    for what, (once, each) in times.items():
        often, cost = once + each * count, costs.seldom[what]
        found["bytes"] += often * (cost["in"] + cost["out"])
        found["store_us"] += often * cost["store_us"]
    return found


def fits(costs: Costs, load: Load, fleet: Fleet, bounds: Bounds) -> bool:
    """Whether no process has too much. The store is another matter: more processes are no help to it."""
    excess = demand(costs, load, fleet).excess(bounds)
    return all(part <= 1 for bound, part in excess.items() if bound != "store")


def needed(
    costs: Costs, load: Load, bounds: Bounds, *, workers: int = 4, sticky: bool = False, most: int = 2000
) -> Fleet | None:
    """The smallest fleet that carries a load; None where there is none: what processes cost each other grows with them."""
    for machines in range(1, most):
        fleet = Fleet(machines, workers, sticky)
        if fits(costs, load, fleet, bounds):
            return fleet
    return None


def binding(costs: Costs, load: Load, fleet: Fleet, bounds: Bounds) -> str:
    """Which bound of a process is the nearest."""
    excess = demand(costs, load, fleet).excess(bounds)
    del excess["store"]
    return max(excess, key=excess.__getitem__)


def walls(costs: Costs, load: Load, bounds: Bounds, most: int = 20_000) -> dict[str, int]:
    """At how many processes each thing that grows with their number has too much, whatever clients do; `most` for none before that."""

    def first(holds) -> int:
        low, high = 1, most
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if holds(middle) else (low, middle)
        return low

    quiet = Load(sessions=load.sessions, calls=load.calls, limits=0, logins=0)
    lent = Load(sessions=load.sessions, calls=load.calls, limits=load.limits, logins=0)
    several = Load(sessions=load.sessions, calls=load.calls, limits=0, logins=load.logins)

    def store(part: Load):
        return lambda count: stored(costs, part, count)["store_core"] <= bounds.store

    def process(workers: int):
        return lambda count: kept(costs, lent, Fleet(-(-count // workers), workers)) <= bounds.core / 2

    return {
        "limits": first(store(lent)),
        "heartbeats": first(store(quiet)),
        "logins": first(store(several)),
        "greetings, 4 workers a machine": first(process(4)),
        "greetings, 1 worker a machine": first(process(1)),
    }
