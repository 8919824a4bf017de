"""What a soak measured, and what was wrong."""

import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What was measured, and what was wrong."""

    violations: list[str] = field(default_factory=list)
    edits: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    in_force: list[float] = field(default_factory=list)
    reported: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {"legacy": [], "modern": []})
    retried: int = 0
    held: int = 0
    announced: Counter[str] = field(default_factory=Counter)
    lines: dict[str, str] = field(default_factory=dict)

    def wrong(self, text: str) -> None:
        self.violations.append(text)
        print(f"  VIOLATION: {text}", file=sys.stderr, flush=True)

    def summary(self) -> str:
        rows = [("edits", f"{sum(self.edits.values())} valid or neutral, {sum(self.broken.values())} broken")]
        rows += [("  valid", counts(self.edits)), ("  broken", counts(self.broken)), ("  saved", counts(self.ways))]
        rows += [("in force after", _spread(self.in_force)), ("reported after", _spread(self.reported))]
        rows += [("rejected after", _spread(self.rejected))]
        rows += [(f"calls, {era}", _spread(found)) for era, found in self.latencies.items()]
        rows += [("  under another separator", str(self.retried)), ("calls held over an edit", str(self.held))]
        rows += [("list_changed per client", counts(self.announced)), *self.lines.items()]
        rows += [("violations", str(len(self.violations)))]
        return "\n".join(f"{name:28} {text}" for name, text in rows)


def counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name.removeprefix('notifications/')} {count}" for name, count in counter.most_common())


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{len(ordered)}: median {statistics.median(ordered):.3f} s, p99 {p99:.3f} s, most {ordered[-1]:.3f} s"
