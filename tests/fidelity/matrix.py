"""The run: every interaction in every cell, beside the direct one; and the page that it makes."""

import asyncio
import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.fidelity import both, extensions, listings, notices, payloads, questions
from tests.fidelity.bench import CELLS, CELLS_OF_BOTH, ERAS, WAYS, Bench, Cell, Eras
from tests.fidelity.table import ROWS, Interaction
from tests.kit.places import ROOT

PAGE: Final = Path(ROOT, "docs", "fidelity.md")
INTERACTIONS: Final = [
    row for module in (questions, notices, payloads, listings, extensions, both) for row in ROWS[module.__name__]
]
"""All rows, in the order of the page."""

Outcome = Mapping[Cell, str | None]
"""For each cell that a row was run in, why it failed; None if it passed."""


async def observe(bench: Bench, interaction: Interaction) -> Outcome:
    """Run one row. An upstream serves one client after the other, since what one does to it another would see."""
    direct: dict[str, Any] = {}
    for era in ERAS:
        if any(cell.downstream == era for cell in interaction.cells):
            direct[era] = await interaction.run(await bench.direct(interaction.server, era, interaction.capabilities))
    found: dict[Cell, str | None] = {}

    async def along(way: tuple[Eras, str]) -> None:
        for cell in interaction.cells:
            if (cell.upstream, cell.transport) == way:
                try:
                    peer = await bench.through(interaction.server, cell, interaction.capabilities, interaction.session)
                    seen = await interaction.run(peer)
                    assert seen == direct[cell.downstream], difference(direct[cell.downstream], seen)
                except Exception as error:  # noqa: BLE001  # whatever it is, the other cells are looked at, too
                    found[cell] = f"{type(error).__name__}: {error}"
                else:
                    found[cell] = None

    await asyncio.gather(*(along(way) for way in WAYS))
    return found


def failures(outcome: Outcome) -> list[str]:
    """What failed, a line each."""
    return [f"{cell}: {reason}" for cell, reason in outcome.items() if reason is not None]


def difference(expected: Any, seen: Any, at: str = "") -> str:
    """Where two observations part."""
    if isinstance(expected, dict) and isinstance(seen, dict):
        for key in sorted(expected.keys() | seen.keys()):
            if expected.get(key) != seen.get(key) or (key in expected) != (key in seen):
                return difference(expected.get(key, "(nothing)"), seen.get(key, "(nothing)"), f"{at}.{key}")
    if isinstance(expected, list | tuple) and isinstance(seen, list | tuple) and len(expected) == len(seen):
        for index, (one, other) in enumerate(zip(expected, seen, strict=True)):
            if one != other:
                return difference(one, other, f"{at}[{index}]")
    return f"at {at or 'the top'}: directly {_short(expected)}, through the mesh {_short(seen)}"


def page(outcomes: Mapping[Interaction, Outcome]) -> str:
    """The matrix as Markdown."""
    groups = [
        _group(name, [*rows], outcomes) for name, rows in groupby(INTERACTIONS, lambda interaction: interaction.group)
    ]
    passed = sum(len(interaction.cells) for interaction in INTERACTIONS)
    head = HEAD.format(rows=len(INTERACTIONS), passed=passed, cells=len(CELLS), both=len(CELLS_OF_BOTH))
    notes = [f"{number}. {note[0].upper()}{note[1:]}." for number, note in enumerate(NOTES, 1)]
    return "\n".join([head, *groups, "## Not possible", "", *notes, ""])


def line(row: Interaction, outcome: Outcome) -> str:
    """A row of the page. A cell that the protocol allows and the outcome lacks is a `KeyError`: no cell is taken for passed unseen."""
    cells = (_cell(row, cell, outcome) for _, cell in columns(row))
    return f"| {row.name} | " + " | ".join(cells) + " |"


HEAD: Final = """\
# Fidelity

What works on a direct connection works through the mesh: {rows} interactions, each on {cells} or {both} ways from a client to a server, {passed}
cells in all that the protocol allows. This page is made by a test run (`./scripts/fidelity`), and CI fails if it is not what a run finds.

For every cell a client does the same twice: directly with a server that speaks its era, and through a mesh with an upstream of the cell's era
and transport, under a namespace. What it observes, message by message on the wire, must be equal but for names, URIs and what belongs to a
connection: results, errors, notifications and their order, questions, and what the server saw of the answers. The servers are built on
the SDK's server and transports; the clients are written for this, since the SDK's own rebuild what they receive.

The columns: the client's era → the upstream's era (L: legacy, up to 2025-11-25; M: modern, 2026-07-28; B: both), and the upstream's transport:
standard input and output, streamable HTTP, or the event stream of 2024 (SSE), which is of the legacy era alone. The client uses streamable HTTP;
in the columns that are called pipes, standard input and output, as the upstream does. In the last table the upstream is written as real servers
are, with the SDK's `MCPServer` or with FastMCP, and its columns say how it is shared: the setting `session` of the config.

✓ is passed; a number is the reason why there can be no such thing, below.
"""
COLUMNS: Final[list[tuple[str, Cell]]] = [
    (f"{down[0].upper()}→{up[0].upper()} {transport}", Cell(down, up, transport))
    for down in ERAS
    for up in ERAS
    for transport in ("stdio", "http", "sse")
] + [(f"{cell.downstream[0].upper()}→{cell.upstream[0].upper()} pipes", cell) for cell in CELLS if cell.wire == "stdio"]
COLUMNS += [
    (f"{down[0].upper()}→B {transport}", Cell(down, "dual", transport))
    for down in ERAS
    for transport in ("stdio", "http")
]
COLUMNS_OF_BOTH: Final = [
    (f"{cell.downstream[0].upper()}→B {cell.transport} {cell.session}", cell) for cell in CELLS_OF_BOTH
]
NO_SSE: Final = "the transport of 2024 is of the legacy era alone"


def columns(row: Interaction) -> list[tuple[str, Cell]]:
    """The columns of a row's table: their titles and cells."""
    return COLUMNS if row.ways is CELLS else COLUMNS_OF_BOTH


def _reason(row: Interaction, cell: Cell) -> str | None:
    return row.reason(cell) if (cell.upstream, cell.transport) in WAYS else NO_SSE


NOTES: Final = list(
    dict.fromkeys(
        reason for row in INTERACTIONS for _, cell in columns(row) if (reason := _reason(row, cell)) is not None
    )
)
"""The reasons for which there is no such thing, numbered from 1 as they first come on the page."""


def _group(name: str, rows: list[Interaction], outcomes: Mapping[Interaction, Outcome]) -> str:
    titles = [title for title, _ in columns(rows[0])]
    head = "| | " + " | ".join(titles) + " |"
    lines = [line(row, outcomes[row]) for row in rows]
    return "\n".join([f"## {name}", "", head, "| --- |" + " :-: |" * len(titles), *lines, ""])


def _cell(row: Interaction, cell: Cell, outcome: Outcome) -> str:
    if (reason := _reason(row, cell)) is not None:
        return str(NOTES.index(reason) + 1)
    return "✓" if outcome[cell] is None else "failed"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 600 else f"{text[:600]}..."
