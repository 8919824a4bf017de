"""Whatever works on a direct connection works through the mesh, on every way from a client to a server that the protocol allows."""

from collections.abc import AsyncIterator

import pytest
from tests.fidelity.bench import Bench, bench
from tests.fidelity.matrix import INTERACTIONS, PAGE, failures, line, observe, page
from tests.fidelity.table import Interaction
from tests.kit.processes import children

# Rows on one worker share one bench; none needs to know what another found.
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def ready() -> AsyncIterator[Bench]:
    before = children().keys()
    async with bench() as started:
        yield started
    assert {pid: line for pid, line in children().items() if pid not in before} == {}


@pytest.fixture(autouse=True)
def no_process_is_left() -> None:
    """The bench keeps its processes from row to row, and looks itself whether any is left in the end."""


@pytest.mark.parametrize("interaction", INTERACTIONS, ids=lambda interaction: interaction.name)
async def test_a_client_observes_the_same_through_the_mesh_as_directly(ready: Bench, interaction: Interaction) -> None:
    found = await observe(ready, interaction)
    assert not failures(found), "\n".join(failures(found))
    assert line(interaction, found) in PAGE.read_text().splitlines(), "run ./scripts/fidelity"


def test_the_published_matrix_has_just_these_rows_columns_and_reasons() -> None:
    """Together with each row's own test, which holds its line to what was found: the page is what a run of all rows makes."""
    passed = {row: dict.fromkeys(row.cells) for row in INTERACTIONS}
    assert page(passed) == PAGE.read_text(), "run ./scripts/fidelity"
