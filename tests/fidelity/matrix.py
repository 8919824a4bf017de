"""The run: every interaction in every cell, beside the direct one; and the page that it makes."""

import asyncio
import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.fidelity import extensions, listings, notices, payloads, questions
from tests.fidelity.bench import CELLS, ERAS, WAYS, Bench, Cell
from tests.fidelity.table import ROWS, Interaction
from tests.support import ROOT

PAGE: Final = Path(ROOT, "docs", "fidelity.md")
INTERACTIONS: Final = [
    row for module in (questions, notices, payloads, listings, extensions) for row in ROWS[module.__name__]
]
"""All rows, in the order of the page."""

Outcome = Mapping[Cell, str]
"""For each cell in which an interaction failed, why."""


async def observe(bench: Bench, interaction: Interaction) -> Outcome:
    """Run one row. An upstream serves one client after the other, since what one does to it another would see."""
    direct: dict[str, Any] = {}
    for era in ERAS:
        if any(cell.downstream == era and interaction.reason(cell) is None for cell in CELLS):
            direct[era] = await interaction.run(await bench.direct(era, interaction.capabilities))
    failed: dict[Cell, str] = {}

    async def along(way: tuple[str, str]) -> None:
        for cell in CELLS:
            if (cell.upstream, cell.transport) == way and interaction.reason(cell) is None:
                try:
                    peer = await bench.through(cell, interaction.capabilities, interaction.session)
                    seen = await interaction.run(peer)
                    assert seen == direct[cell.downstream], difference(direct[cell.downstream], seen)
                except Exception as error:  # noqa: BLE001  # whatever it is, the other cells are looked at, too
                    failed[cell] = f"{type(error).__name__}: {error}"

    await asyncio.gather(*(along(way) for way in WAYS))
    return failed


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
    notes: list[str] = []
    groups = [
        _group(name, list(rows), outcomes, notes)
        for name, rows in groupby(INTERACTIONS, lambda interaction: interaction.group)
    ]
    passed = sum(interaction.reason(cell) is None for interaction in INTERACTIONS for cell in CELLS)
    head = HEAD.format(rows=len(INTERACTIONS), passed=passed, cells=len(CELLS))
    return "\n".join([head, *groups, "## Not possible in the protocol", "", *_listed(notes), ""])


HEAD: Final = """\
# Fidelity

What works on a direct connection works through the mesh: {rows} interactions, each on {cells} ways from a client to a server, {passed} cells in
all that the protocol allows. This page is made by a test run (`./scripts/fidelity`), and CI fails if it is not what a run finds.

For every cell a client does the same twice: directly with a server of its own era, and through a mesh with an upstream of the cell's era
and transport, under a namespace. What it observes, message by message on the wire, must be equal but for names, URIs and what belongs to a
connection: results, errors, notifications and their order, questions, and what the server saw of the answers. The servers are built on
the SDK's server and transports; the clients are written for this, since the SDK's own rebuild what they receive.

The columns: the client's era → the upstream's era (L: legacy, up to 2025-11-25; M: modern, 2026-07-28), and the upstream's transport: standard
input and output, streamable HTTP, or the event stream of 2024 (SSE), which is of the legacy era alone. The client uses streamable HTTP; in the
last four columns, standard input and output, as the upstream does.

✓ is passed; a number is the reason why there can be no such thing, below.
"""
COLUMNS: Final[list[tuple[str, Cell | None]]] = [
    (f"{down[0].upper()}→{up[0].upper()} {transport}", Cell(down, up, transport) if (up, transport) in WAYS else None)
    for down in ERAS
    for up in ERAS
    for transport in ("stdio", "http", "sse")
] + [(f"{cell.downstream[0].upper()}→{cell.upstream[0].upper()} pipes", cell) for cell in CELLS if cell.wire == "stdio"]
NO_SSE: Final = "the transport of 2024 is of the legacy era alone"


def _group(name: str, rows: list[Interaction], outcomes: Mapping[Interaction, Outcome], notes: list[str]) -> str:
    lines = [f"## {name}", "", "| | " + " | ".join(title for title, _ in COLUMNS) + " |"]
    lines.append("| --- |" + " :-: |" * len(COLUMNS))
    for row in rows:
        cells = (_cell(row, cell, outcomes[row], notes) for _, cell in COLUMNS)
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _cell(row: Interaction, cell: Cell | None, outcome: Outcome, notes: list[str]) -> str:
    reason = NO_SSE if cell is None else row.reason(cell)
    if reason is None:
        return "✓" if cell not in outcome else "failed"
    if reason not in notes:
        notes.append(reason)
    return str(notes.index(reason) + 1)


def _listed(notes: list[str]) -> list[str]:
    return [f"{number}. {note[0].upper()}{note[1:]}." for number, note in enumerate(notes, 1)]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 600 else f"{text[:600]}..."
