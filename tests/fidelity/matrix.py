"""The run: every interaction in every cell, beside the direct one; and the page that it makes."""

import asyncio
import json
from typing import Any

from tests.fidelity import extensions, listings, notices, payloads, questions
from tests.fidelity.bench import CELLS, ERAS, WAYS, Bench, Cell
from tests.fidelity.table import INTERACTIONS, Interaction

DEFINED_IN = (questions, notices, payloads, listings, extensions)
"""The modules whose rows are the matrix."""


async def observe(bench: Bench, interaction: Interaction) -> dict[Cell, str]:
    """Run one row. The answer says for each cell that failed, why."""
    direct: dict[str, Any] = {}
    for era in ERAS:
        if any(cell.downstream == era and interaction.reason(cell) is None for cell in CELLS):
            direct[era] = await interaction.run(await bench.direct(era, interaction.capabilities))
    failed: dict[Cell, str] = {}

    async def along(way: tuple[str, str]) -> None:
        # What one client does to an upstream, another would see: one after the other.
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
        for key in expected.keys() | seen.keys():
            if expected.get(key) != seen.get(key) or (key in expected) != (key in seen):
                return difference(expected.get(key, "(nothing)"), seen.get(key, "(nothing)"), f"{at}.{key}")
    if isinstance(expected, list | tuple) and isinstance(seen, list | tuple) and len(expected) == len(seen):
        for index, (one, other) in enumerate(zip(expected, seen, strict=True)):
            if one != other:
                return difference(one, other, f"{at}[{index}]")
    return f"at {at or 'the top'}: directly {_short(expected)}, through the mesh {_short(seen)}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 600 else f"{text[:600]}..."


assert INTERACTIONS
