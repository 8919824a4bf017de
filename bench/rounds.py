"""Interleaving: each contender gets a short slice per round, in an order that rotates, so that the machine's moods fall on all alike."""

import statistics
from dataclasses import dataclass

from bench.arena import Arena, LoadFailed, Running

SLOW_ROUNDS = 2
"""Rounds for contenders whose calls take a tenth of a second and more."""


@dataclass
class Entry:
    """A load that is open, and the contender that pays for it."""

    name: str
    load: str
    running: Running
    slow: bool = False


def rounds(arena: Arena, entries: list[Entry], count: int, seconds: float) -> dict[str, list[dict]]:
    """Samples by entry, one per round: what the load client says, `cpu` in microseconds per call, and the number of the `round`."""
    samples: dict[str, list[dict]] = {entry.name: [] for entry in entries}
    for number in range(count):
        turn = number % len(entries)
        for entry in entries[turn:] + entries[:turn]:
            if not entry.slow or number < SLOW_ROUNDS:
                samples[entry.name].append(slice_of(arena, entry, seconds) | {"round": number})
    return samples


def slice_of(arena: Arena, entry: Entry, seconds: float, *, rate: float = 0.0) -> dict:
    """One sample. `rate` is of calls a second; 0 for as many as are answered."""
    try:
        arena.load.job("ready", entry.load, warm=not entry.slow)
        before = entry.running.cpu()
        sample = arena.load.job("run", entry.load, seconds=seconds, rate=rate)
        spent = entry.running.cpu() - before
    except LoadFailed as error:
        return {"calls": 0, "errors": 1, "error": str(error), "cpu": None}
    return sample | {"cpu": spent / sample["calls"] * 1e6 if sample["calls"] else None}


def median(samples: list[dict], key: str) -> float | None:
    values = [sample[key] for sample in samples if sample.get(key) is not None]
    return statistics.median(values) if values else None


def rate(samples: list[dict]) -> float | None:
    values = [sample["calls"] / sample["seconds"] for sample in samples if sample["calls"]]
    return statistics.median(values) if values else None


def errors(samples: list[dict]) -> int:
    return sum(sample["errors"] for sample in samples)


def ratio(samples: list[dict], base: list[dict], key: str) -> float | None:
    """Median over the rounds of what stands to the base as measured in the same round."""
    reference = {sample["round"]: sample.get(key) for sample in base}
    values = [
        sample[key] / reference[sample["round"]]
        for sample in samples
        if sample.get(key) is not None and reference.get(sample["round"])
    ]
    return statistics.median(values) if values else None
