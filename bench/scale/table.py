"""The tables of the paper, in Markdown, of the model and the simulation. The same costs give the same text."""

from bench.scale.costs import Costs
from bench.scale.model import Bounds, Demand, Load, binding, demand, event, needed, walls
from bench.scale.waiting import waits

CALLS = (0.1, 1.0, 6.0, 60.0)
"""Per session and minute: one that is left open, a person at times, an agent at work, and nothing but agents that call each second."""
EVENTS = (
    ("all are started", "each process fetches ten catalogs of 1,000 tools", {"catalog fetched": (0, 10)}),
    ("a listing of 1,000 tools changes", "each process puts it", {"catalog put": (0, 1)}),
    ("a key is revoked", "one puts it, and each reads which are", {"key revoked": (1, 0), "key told": (0, 1)}),
)
"""What comes at times: how often each part is done in all, and how often by each process."""
BEGIN, END = "<!-- ./scripts/bench --scale prints what follows -->", "<!-- end of what it prints -->"


def text(costs: Costs) -> str:
    """All of them."""
    bounds = Bounds()
    parts = [
        "### What was measured, and goes in",
        inputs(costs),
        "### Machines of four cores for 100,000 sessions and 1,000,000 tools a minute",
        fleets(costs, bounds),
        "### What the store carries for them",
        stores(costs, bounds),
        "### What it carries at times",
        events(costs),
        "### How many more sessions need",
        sizes(costs, bounds),
        "### Which number of processes is too much for what",
        limits(costs, bounds),
    ]
    return "\n\n".join(parts)


def rows(head: list[str], lines: list[list[str]]) -> str:
    table = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def inputs(costs: Costs) -> str:
    us = 1e6
    lines = [
        ["a call at its home", f"{costs.call * us:.0f} µs"],
        ["a listing of 1,000 tools at its home", f"{costs.listing * us:.0f} µs"],
        [
            "a call by way of another worker",
            f"{costs.worker_hop:.1f} times a call, {costs.worker_home:.1f} of it at the home",
        ],
        [
            "a call by way of another machine",
            f"{costs.replica_hop:.1f} times a call, {costs.replica_home:.1f} of it at the home",
        ],
        ["a listing by way of another machine", f"{costs.listing_hop:.1f} times a listing"],
        ["a process", f"{costs.process_bytes / 1e6:.0f} MB"],
        ["a session that listens", f"{costs.stream_bytes / 1e3:.0f} kB"],
        [
            "the same by way of another machine",
            f"{(costs.handed_home_bytes + costs.handed_entry_bytes) / 1e3:.0f} kB, and {costs.handed_home_descriptors + costs.handed_entry_descriptors:.0f} descriptors in place of 1",
        ],
        [
            "a heartbeat of N processes, at the process",
            f"{costs.beat.fixed * us:.0f} + {costs.beat.each * us:.1f} N µs",
        ],
        [
            "the same at the store",
            f"{costs.beat_store.fixed * us:.0f} + {costs.beat_store.each * us:.1f} N µs, {costs.beat_commands:.0f} commands, {costs.beat_sent.fixed:.0f} + {costs.beat_sent.each:.0f} N bytes",
        ],
        [
            "a look at L limits that N processes use, at the process",
            f"{costs.look.fixed * us:.0f} + {costs.look.each * us:.0f} L µs",
        ],
        [
            "the same at the store",
            f"{costs.look_store.fixed * us:.0f} + {costs.look_store.each * us:.0f} L + {costs.look_store_others * us:.1f} L (N-1) µs, {costs.look_commands.fixed:.0f} + {costs.look_commands.each:.0f} L commands",
        ],
        [
            "a login that is refreshed, at the store",
            f"{costs.refresh['store_us'] * us:.0f} µs, and {costs.change['store_us'] * us:.0f} µs for each process that is told",
        ],
        ["a greeting, both sides", f"{costs.greeting * us:.0f} µs"],
        [
            "another machine that is known",
            f"{costs.peer_bytes / 1e3:.0f} kB and {costs.peer_descriptors:.0f} descriptors at each process",
        ],
    ]
    return rows(["what", "costs"], lines)


def fleets(costs: Costs, bounds: Bounds) -> str:
    head = [
        "calls per session and minute",
        "calls/s",
        "balancer",
        "machines",
        "set by",
        "handed on",
        "of the CPU",
        "CPU of a core",
        "memory of a process",
        "descriptors",
        "p50, p99 of the mesh",
    ]
    lines = []
    for calls in CALLS:
        for sticky in (True, False):
            load = Load(calls=calls)
            fleet = needed(costs, load, bounds, sticky=sticky)
            if fleet is None:
                lines.append(
                    [f"{calls:g}", f"{load.sessions * calls / 60:,.0f}", told(sticky=sticky), "none", *["-"] * 7]
                )
                continue
            found, waited = demand(costs, load, fleet), waits(costs, load, fleet)
            lines.append(
                [
                    f"{calls:g}",
                    f"{load.sessions * calls / 60:,.0f}",
                    told(sticky=sticky),
                    f"{fleet.machines:,}",
                    binding(costs, load, fleet, bounds),
                    f"{fleet.handed:.0%}",
                    f"{found.handing / found.core:.0%}",
                    f"{found.core:.0%}",
                    f"{found.memory / 1e6:,.0f} MB",
                    f"{found.descriptors:,.0f}",
                    f"{waited.p50:.2f}, {waited.p99:.2f} ms",
                ]
            )
    return rows(head, lines)


def told(*, sticky: bool) -> str:
    return "sticky" if sticky else "any"


def stores(costs: Costs, bounds: Bounds) -> str:
    head = [
        "processes",
        "calls per session and minute",
        "commands/s",
        "sent",
        "taken",
        "CPU of its core",
        "without limits",
        "without logins",
    ]
    lines = []
    for calls in CALLS:
        load = Load(calls=calls)
        fleet = needed(costs, load, bounds)
        if fleet is None:
            continue
        found = demand(costs, load, fleet)
        unlimited = demand(costs, Load(calls=calls, limits=0), fleet)
        alone = demand(costs, Load(calls=calls, logins=0), fleet)
        lines.append(
            [
                f"{fleet.processes:,}",
                f"{calls:g}",
                f"{found.store_commands:,.0f}",
                rate(found.store_sent),
                rate(found.store_taken),
                *(share(part) for part in (found, unlimited, alone)),
            ]
        )
    return rows(head, lines)


def events(costs: Costs) -> str:
    head = ["what", "at 16 processes", "at 76"]
    lines = []
    for what, cause, times in EVENTS:
        cells = []
        for count in (16, 76):
            found = event(costs, count, times)
            cells.append(f"{found['bytes'] / 1e3:,.0f} kB, {found['store_us'] * 1e3:.1f} ms")
        lines.append([f"{what}: {cause}", *cells])
    return rows(head, lines)


def rate(size: float) -> str:
    return f"{size / 1e6:.1f} MB/s"


def share(found: Demand) -> str:
    return f"{found.store_core:.0%}"


def sizes(costs: Costs, bounds: Bounds) -> str:
    head = ["sessions", "machines, sticky", "set by", "machines, any", "set by", "store"]
    lines = []
    for sessions in (1000, 10_000, 100_000, 300_000, 1_000_000):
        # Everything grows alike.
        load = Load(sessions=sessions, tools=sessions * 10, logins=sessions)
        cells = [f"{sessions:,}"]
        for sticky in (True, False):
            fleet = needed(costs, load, bounds, sticky=sticky)
            cells += ["none", "-"] if fleet is None else [f"{fleet.machines:,}", binding(costs, load, fleet, bounds)]
        cells.append("-" if fleet is None else share(demand(costs, load, fleet)))
        lines.append(cells)
    return rows(head, lines)


def limits(costs: Costs, bounds: Bounds) -> str:
    found = walls(costs, Load(), bounds)
    what = {
        "limits": "the store's core, by looks at five limits that all use",
        "heartbeats": "the store's core, by heartbeats alone",
        "logins": "the store's core, by heartbeats and 100,000 logins that are refreshed once an hour",
        "greetings, 4 workers a machine": "half of what a process may take of its core, by greetings, heartbeats and looks, with four workers a machine",
        "greetings, 1 worker a machine": "the same, with one process a machine",
    }
    lines = [[what[name], f"{count:,}"] for name, count in found.items()]
    return rows(["what is used up", "at so many processes"], lines)
