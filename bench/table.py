"""From the raw numbers of a run: what was to be reached and what was, the table of all contenders, and the pictures.

Every figure is a ratio between contenders of the same round, and the median of that over the rounds, unless it says that it is bytes or seconds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bench.contenders import CONTENDERS
from bench.measures.kinds import KINDS, PLAIN
from bench.pictures import Bar, chart, number
from bench.rounds import errors, median, rate, ratio

ERAS = ("legacy", "modern")
MB, KB = 1e6, 1e3
COUNTED = ("hop", "kinds", "listing", "scale", "reload")
"""The measures whose samples count calls."""
KIND_LABELS = {
    "read": "`resources/read`",
    "prompt": "`prompts/get`",
    "complete": "`completion/complete`",
    "stream": "a tool that answers by event stream",
    "failed": "a tool that fails (`isError`)",
    "stdio client": "a call of a stdio client",
}


@dataclass(frozen=True)
class Target:
    what: str
    values: dict[str, float]
    """By era, or by what else there is more than one of."""
    must: float
    aim: float
    unit: str = ""
    more: bool = False
    """Whether more is better."""

    def reached(self, bound: float) -> bool:
        return all(value >= bound if self.more else value <= bound for value in self.values.values())

    def verdict(self) -> str:
        if not self.values:
            return "not measured"
        if self.reached(self.aim):
            return "aim"
        return "yes" if self.reached(self.must) else "**no**"


class Report:
    """Reads one raw file."""

    def __init__(self, raw: dict) -> None:
        self.raw = raw
        self.hop: dict = raw.get("hop", {})

    def scene(self, kind: str, era: str, call: str, clients: int) -> dict:
        return self.hop.get(f"{kind} {era} {call} {clients}", {})

    def against(self, name: str, base: str, key: str, *scene: object) -> float | None:
        """Median over the rounds of `key` of one contender to another's."""
        samples = self.scene(*scene)
        return ratio(samples[name], samples[base], key) if name in samples and base in samples else None

    def eras(self, name: str, base: str, key: str, kind: str, call: str, clients: int) -> dict[str, float]:
        found = {era: self.against(name, base, key, kind, era, call, clients) for era in ERAS}
        return {era: value for era, value in found.items() if value is not None}

    def throughput(self, name: str, kind: str, era: str, clients: int) -> float | None:
        """To that of no proxy at all, over HTTP."""
        ours, direct = (
            rate(self.scene(k, era, "small", clients).get(n, [])) for n, k in ((name, kind), ("direct", "http"))
        )
        return ours / direct if ours and direct else None

    def added(self, kind: str, era: str) -> float | None:
        scene = self.scene(kind, era, "small", 1)
        direct = self.scene("http", era, "small", 1).get("direct", [])
        ours, without = median(scene.get("meshproxy", []), "p50"), median(direct, "p50")
        return ours - without if ours is not None and without is not None else None

    def kind(self, kind: str, base: str = PLAIN) -> dict[str, float]:
        """A kind of request to another one's cost, by era."""
        kinds = self.raw.get("kinds", {})
        return present({era: ratio(kinds[era].get(kind, []), kinds[era].get(base, []), "cpu") for era in kinds})

    def targets(self) -> Iterator[Target]:
        yield Target(
            "CPU per call, HTTP upstream, to an nginx hop",
            self.eras("meshproxy", "nginx", "cpu", "http", "small", 16),
            1.8,
            1.3,
        )
        yield Target(
            "CPU per call, stdio upstream, to the same nginx hop",
            self.eras("meshproxy", "nginx", "cpu", "stdio", "small", 16),
            1.4,
            1.2,
        )
        label = "CPU per call, HTTP upstream of the legacy era alone, to the same nginx hop"
        yield Target(label, self.eras("meshproxy", "nginx", "cpu", "old", "small", 16), 1.8, 1.3)
        for kind in KINDS:
            yield Target(f"CPU of {KIND_LABELS[kind]}, to that of a plain call", self.kind(kind), 1.3, 1.1)
        yield Target(
            "CPU per call, to an SDK server that answers itself",
            self.eras("meshproxy", "sdk", "cpu", "http", "small", 16),
            0.5,
            0.25,
        )
        for name, must, aim in (("fastmcp", 40, 100), ("fastmcp-documented", 500, 1500)):
            label = CONTENDERS[name].label
            yield Target(
                f"CPU per call of {label}, to ours",
                self.eras(name, "meshproxy", "cpu", "http", "small", 16),
                must,
                aim,
                more=True,
            )
        yield Target(
            "64 kB results, HTTP, to an nginx hop",
            self.eras("meshproxy", "nginx", "cpu", "http", "large", 16),
            1.9,
            1.5,
        )
        listing = self.raw.get("listing", {})
        found = {era: ratio(listing[era].get("meshproxy", []), listing[era].get("nginx", []), "cpu") for era in listing}
        yield Target("`tools/list` of 1,000 tools, to nginx sending the bytes as a file", present(found), 2, 1.5)
        yield Target(
            "added p50 at one client over direct",
            present({era: self.added("http", era) for era in ERAS}),
            0.5,
            0.25,
            " ms",
        )
        found = {era: self.throughput("meshproxy", "http", era, 16) for era in ERAS}
        yield Target("throughput at 16 clients, to direct", present(found), 0.33, 0.45, more=True)
        for variant, label in (
            ("tools", "1,000 tools"),
            ("upstreams", "10 upstreams"),
            ("sessions", "1,000 open sessions"),
            ("turns", "1,000 sessions that call in turn"),
            ("all", "all three"),
        ):
            scale = self.raw.get("scale", {})
            found = {era: ratio(scale[era].get(variant, []), scale[era].get("base", []), "cpu") for era in scale}
            yield Target(f"CPU per call with {label}, to 8 tools and one session", present(found), 1.3, 1.05)
        memory = self.raw.get("memory", {})
        found = {kind: memory["rest"][kind].get("meshproxy", {}).get("rss", 0) / MB for kind in memory.get("rest", {})}
        yield Target("memory at rest with ten upstreams", present(found), 90, 60, " MB")
        sessions = {form: memory["session"][form].get("meshproxy", {}).get("rss") for form in memory.get("session", {})}
        yield Target(
            "memory per open session",
            present({form: value / KB for form, value in sessions.items() if value}),
            40,
            15,
            " kB",
        )
        start = [sample for sample in self.raw.get("start", {}).get("meshproxy", []) if "port" in sample]
        for key, label, must, aim in (
            ("port", "port open", 1, 0.5),
            ("listing", "complete listing after the slowest upstream is up", 0.5, 0.2),
        ):
            found = median(start, key)
            yield Target(
                f"cold start, ten stdio upstreams: {label}", {"": found} if found is not None else {}, must, aim, " s"
            )

    def problems(self) -> list[str]:
        """Every scene in which an answer was wrong or missing."""
        found = []
        for measure in COUNTED:
            for scene, entries in self.raw.get(measure, {}).items():
                for name, samples in entries.items():
                    if errors(samples):
                        first = next(sample["error"] for sample in samples if sample["errors"])
                        found.append(f"{measure}, {scene}, {name}: {errors(samples)} errors, such as {first}")
        return found

    def markdown(self) -> str:
        lines = [
            "### What is to be reached",
            "",
            "| what | must | aim | measured | reached |",
            "| --- | --- | --- | --- | --- |",
        ]
        for target in self.targets():
            values = ", ".join(
                f"{number(value)}{target.unit} {label}".strip() for label, value in target.values.items()
            )
            bounds = f"{number(target.must)}{target.unit} | {number(target.aim)}{target.unit}"
            lines.append(f"| {target.what} | {bounds} | {values or '-'} | {target.verdict()} |")
        calls = sum(
            sample["calls"]
            for measure in COUNTED
            for scene in self.raw.get(measure, {}).values()
            for samples in scene.values()
            for sample in samples
        )
        problems = self.problems()
        lines += ["", f"{calls:,} calls, each answer checked; {'no' if not problems else len(problems)} errors.", ""]
        lines += [f"- {problem}" for problem in problems]
        for kind in ("http", "stdio"):
            for era in ERAS:
                lines += ["", *self.contenders(kind, era)]
        lines += [
            "",
            *self.kinds(),
            "",
            *self.listings(),
            "",
            *self.weights(),
            "",
            *self.reloads(),
            "",
            *self.shares(),
            "",
            *self.surroundings(),
        ]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"

    def contenders(self, kind: str, era: str) -> list[str]:
        clients = [n for n in (1, 16, 64) if self.scene(kind, era, "small", n)]
        names = [name for name in CONTENDERS if any(name in self.scene(kind, era, "small", n) for n in clients)]
        if not names:
            return []
        head = (
            [f"CPU, {n}" for n in clients]
            + ["CPU, 64 kB"]
            + [f"calls/s, {n}" for n in clients]
            + [f"p50, {n}" for n in clients]
        )
        head += [f"p99, {n}" for n in clients]
        title = {"http": "an HTTP", "stdio": "a stdio"}[kind]
        lines = [
            f"### Calls to {title} upstream, {era} era",
            "",
            f"| contender | {' | '.join(head)} |",
            "| --- |" + " --- |" * len(head),
        ]
        for name in names:
            cells = [self.against(name, "nginx", "cpu", kind, era, "small", n) for n in clients]
            cells.append(self.against(name, "nginx", "cpu", kind, era, "large", 16))
            cells += [self.throughput(name, kind, era, n) for n in clients]
            for key in ("p50", "p99"):
                cells += [self.spell(name, kind, era, n, key) for n in clients]
            if name == "direct":
                cells[: len(clients) + 1] = [None] * (len(clients) + 1)
            lines.append(
                f"| {CONTENDERS[name].label} | "
                + " | ".join("-" if cell is None else number(cell) for cell in cells)
                + " |"
            )
        return lines

    def spell(self, name: str, kind: str, era: str, clients: int, key: str) -> float | None:
        """A latency to that of no proxy at all, over HTTP."""
        ours = median(self.scene(kind, era, "small", clients).get(name, []), key)
        direct = median(self.scene("http", era, "small", clients).get("direct", []), key)
        return ours / direct if ours and direct else None

    def kinds(self) -> list[str]:
        if not self.raw.get("kinds"):
            return []
        head = [f"{what}, {era}" for what in ("to a plain call", "to an nginx hop") for era in ERAS]
        lines = ["### Every kind of request", "", f"| kind | {' | '.join(head)} |", "| --- |" + " --- |" * len(head)]
        for kind in (PLAIN, *KINDS):
            cells = [self.kind(kind, base).get(era) for base in (PLAIN, "nginx") for era in ERAS]
            if any(cells):
                label = KIND_LABELS.get(kind, "a plain call of a tool")
                lines.append(
                    f"| {label} | " + " | ".join("-" if cell is None else number(cell) for cell in cells) + " |"
                )
        return lines

    def listings(self) -> list[str]:
        lines = [
            "### Listing 1,000 tools of ten upstreams",
            "",
            "| contender | CPU, legacy | CPU, modern |",
            "| --- | --- | --- |",
        ]
        listing = self.raw.get("listing", {})
        for name in CONTENDERS:
            cells = [
                ratio(listing.get(era, {}).get(name, []), listing.get(era, {}).get("nginx", []), "cpu") for era in ERAS
            ]
            if any(cells):
                label = "nginx, the bytes as a file" if name == "nginx" else CONTENDERS[name].label
                lines.append(
                    f"| {label} | " + " | ".join("-" if cell is None else number(cell) for cell in cells) + " |"
                )
        return lines if len(lines) > 4 else []

    def weights(self) -> list[str]:
        memory = self.raw.get("memory")
        if not memory:
            return []
        forms = list(memory["session"])
        lines = [
            "### Memory",
            "",
            "| contender | ten HTTP upstreams | ten stdio upstreams | "
            + " | ".join(f"a session, {form}" for form in forms)
            + " |",
            "| --- | --- | --- |" + " --- |" * len(forms),
        ]
        for name in CONTENDERS:
            rest = [memory["rest"][kind].get(name, {}).get("rss") for kind in ("http", "stdio")]
            session = [memory["session"][form].get(name, {}).get("rss") for form in forms]
            if any(rest) or any(session):
                cells = [f"{number(value / MB)} MB" if value else "-" for value in rest]
                cells += ["-" if value is None else f"{number(max(value, 0) / KB)} kB" for value in session]
                lines.append(f"| {CONTENDERS[name].label} | {' | '.join(cells)} |")
        return lines

    def reloads(self) -> list[str]:
        reload = self.raw.get("reload")
        if not reload:
            return []
        head = ["edits", "reloads", "CPU", "p50", "p99", "longest"]
        lines = ["### Reload under load: while the file is edited five times a second, to while it is not", ""]
        lines += [f"| era | {' | '.join(head)} |", "| --- |" + " --- |" * len(head)]
        for era, samples in reload.items():
            edited = samples["edited"]
            cells = [ratio(edited, samples["quiet"], key) for key in ("cpu", "p50", "p99", "max")]
            edits = " | ".join(str(sum(sample[key] for sample in edited)) for key in ("edits", "reloads"))
            lines.append(
                f"| {era} | {edits} | " + " | ".join("-" if cell is None else number(cell) for cell in cells) + " |"
            )
        return lines

    def shares(self) -> list[str]:
        profile = self.raw.get("profile")
        if not profile:
            return []
        rooms = [
            room
            for room in next(iter(profile.values()))
            if any(shares.get(room, 0) >= 0.01 for shares in profile.values())
        ]
        lines = [
            "### Where the time goes",
            "",
            f"| room or library | {' | '.join(profile)} |",
            "| --- |" + " --- |" * len(profile),
        ]
        rows = ((room, [f"{shares.get(room, 0):.0%}" for shares in profile.values()]) for room in rooms)
        return lines + [f"| {room} | {' | '.join(cells)} |" for room, cells in rows]

    def surroundings(self) -> list[str]:
        versions = ", ".join(f"{name} {value}" for name, value in self.raw["versions"].items() if name != "cores")
        lines = [f"One run on {self.raw['versions']['cores']} cores, {self.raw['rounds']} rounds. {versions}."]
        return lines + [
            f"- {name} did not take part: {reason.splitlines()[0]}" for name, reason in self.raw["missing"].items()
        ]

    def pictures(self) -> dict[str, str]:
        """SVG by file name."""
        found = {}
        for kind in ("http", "stdio"):
            found[f"cpu-{kind}"] = (
                "CPU per call, " + kind + " upstream, 16 clients: times an nginx hop",
                self.bars("cpu", kind, "small"),
            )
        found["cpu-64k"] = (
            "CPU per call with results of 64 kB, HTTP upstream: times an nginx hop",
            self.bars("cpu", "http", "large"),
        )
        found["kinds"] = (
            "CPU per request, HTTP upstream, 16 at once: times a plain call",
            [Bar(KIND_LABELS[kind].replace("`", ""), by_era) for kind in KINDS if (by_era := self.kind(kind))],
        )
        listing = self.raw.get("listing", {})
        by_era = {
            name: present(
                {era: ratio(listing[era].get(name, []), listing[era].get("nginx", []), "cpu") for era in listing}
            )
            for name in CONTENDERS
        }
        found["listing"] = ("CPU per listing of 1,000 tools: times nginx sending the bytes as a file", bars(by_era))
        by_era = {name: present({era: self.throughput(name, "http", era, 16) for era in ERAS}) for name in CONTENDERS}
        found["throughput"] = ("Calls per second at 16 clients, HTTP upstream: share of direct", bars(by_era))
        return {f"{name}.svg": chart(title, "", drawn) for name, (title, drawn) in found.items() if drawn}

    def bars(self, key: str, kind: str, call: str) -> list[Bar]:
        return bars({name: self.eras(name, "nginx", key, kind, call, 16) for name in CONTENDERS if name != "direct"})


def bars(values: dict[str, dict[str, float]]) -> list[Bar]:
    return [Bar(CONTENDERS[name].label, by_era, name == "meshproxy") for name, by_era in values.items() if by_era]


def present(values: dict[str, float | None]) -> dict[str, float]:
    return {key: value for key, value in values.items() if value is not None}
