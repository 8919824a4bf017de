"""`Costs`: what one call, listing, session, stream, hand-over, heartbeat and look at limits costs, as it was measured.

Times and sizes of one process come from docs/performance/raw.json (`./scripts/bench --publish`), the rest from measured.json (`./scripts/bench --scale --measure`). Standard library alone, as all of the simulation.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PUBLISHED = HERE.parents[1] / "docs" / "performance" / "raw.json"
MEASURED = HERE / "measured.json"


@dataclass(frozen=True)
class Line:
    """What costs `fixed` and `each` more for every one of something."""

    fixed: float
    each: float

    def at(self, count: float) -> float:
        return self.fixed + self.each * count


@dataclass(frozen=True)
class Costs:
    """Times in seconds of CPU, sizes in bytes. `_hop`: how many times as much it costs to come by another process, both processes together; `_home`: the part of that at the home."""

    call: float
    listing: float
    worker_hop: float
    worker_home: float
    replica_hop: float
    replica_home: float
    listing_hop: float
    process_bytes: float
    session_bytes: float
    stream_bytes: float
    """Of a session that listens, its stream included."""
    handed_home_bytes: float
    """The same at its home, if the stream comes by another replica; and at that."""
    handed_entry_bytes: float
    handed_home_descriptors: float
    handed_entry_descriptors: float
    greeting: float
    """One that is sent and one that is answered."""
    peer_bytes: float
    peer_descriptors: float
    beat: Line
    """Of a process; by how many there are."""
    beat_store: Line
    beat_sent: Line
    """Bytes that the store sends."""
    beat_taken: float
    beat_commands: float
    look: Line
    """Of a process; by limits in use."""
    look_store: Line
    """By limits in use."""
    look_store_others: float
    """More, for each limit and each other process that uses it."""
    look_sent: Line
    look_taken: Line
    look_commands: Line
    refresh: dict[str, float]
    change: dict[str, float]
    """A change that is told to one process, and what it then reads."""
    seldom: dict[str, dict[str, float]]
    """A catalog of 1,000 tools that is put or fetched; a key that is revoked, or told to one process with a hundred others."""


def measured(published: Path = PUBLISHED, own: Path = MEASURED) -> Costs:
    """As the two files have them."""
    raw, found = json.loads(published.read_text()), json.loads(own.read_text())
    # Many sessions that call in turn find less in the processor's caches than sixteen.
    spread = median(raw["scale"]["legacy"]["turns"]) / median(raw["scale"]["legacy"]["base"])
    session = raw["memory"]["session"]
    store, worker, replica = found["store"], found["worker"], found["replica"]
    streams, greeting = replica["streams"], found["greeting"]
    beats = {int(count): cost for count, cost in store["beats"].items()}
    looks = {tuple(map(int, pair.split(", "))): cost for pair, cost in store["leases"].items() if pair[0].isdigit()}
    alone = {limits: cost for (limits, sharers), cost in looks.items() if sharers == 1}
    most = max(looks)
    others = (looks[most]["store_us"] - alone[most[0]]["store_us"]) / (most[0] * (most[1] - 1))
    plain = streams["home"]["at_home"]
    return Costs(
        call=median(raw["hop"]["http legacy small 16"]["meshproxy"]) * spread / 1e6,
        listing=median(raw["listing"]["legacy"]["meshproxy"]) / 1e6,
        worker_hop=worker["small"]["ratio"],
        worker_home=worker["small"]["ratio_of_home"],
        replica_hop=replica["small"]["ratio"],
        replica_home=replica["small"]["ratio_of_home"],
        listing_hop=replica["list"]["ratio"],
        process_bytes=raw["memory"]["rest"]["http"]["meshproxy"]["rss"],
        session_bytes=session["bound"]["meshproxy"]["rss"],
        stream_bytes=session["listening"]["meshproxy"]["rss"],
        # What it takes more than a stream at home, as both were weighed in one run.
        handed_home_bytes=session["listening"]["meshproxy"]["rss"]
        + streams["entry"]["at_home"]["bytes"]
        - plain["bytes"],
        handed_entry_bytes=streams["entry"]["at_entry"]["bytes"],
        handed_home_descriptors=streams["entry"]["at_home"]["descriptors"],
        handed_entry_descriptors=streams["entry"]["at_entry"]["descriptors"],
        greeting=(greeting["us_sent"] + greeting["us_answered"]) / 1e6,
        peer_bytes=greeting["bytes"],
        peer_descriptors=greeting["descriptors"],
        beat=line(beats, "own_us", 1e6),
        beat_store=line(beats, "store_us", 1e6),
        beat_sent=line(beats, "out"),
        beat_taken=statistics.median(cost["in"] for cost in beats.values()),
        beat_commands=statistics.median(cost["commands"] for cost in beats.values()),
        look=line(alone, "own_us", 1e6),
        look_store=line(alone, "store_us", 1e6),
        look_store_others=others / 1e6,
        look_sent=line(alone, "out"),
        look_taken=line(alone, "in"),
        look_commands=line(alone, "commands"),
        refresh=scaled(store["logins"]["refresh"]),
        change=scaled(store["logins"]["change"][max(store["logins"]["change"], key=int)]),
        seldom={what: scaled(cost) for what, cost in store["at times"].items()},
    )


def median(samples: list[dict]) -> float:
    """Of the microseconds of CPU per call."""
    return statistics.median(sample["cpu"] for sample in samples if sample["cpu"] is not None)


def line(costs: dict[int, dict[str, float]], key: str, unit: float = 1.0) -> Line:
    """Through the first and the last of what was measured: what is to be known is how it grows."""
    first, last = min(costs), max(costs)
    each = (costs[last][key] - costs[first][key]) / (last - first)
    return Line((costs[first][key] - each * first) / unit, each / unit)


def scaled(cost: dict[str, float]) -> dict[str, float]:
    """Times in seconds."""
    return {key: value / 1e6 if key.endswith("_us") else value for key, value in cost.items()}
