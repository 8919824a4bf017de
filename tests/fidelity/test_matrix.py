"""Whatever works on a direct connection works through the mesh, on every way from a client to a server that the protocol allows."""

from collections.abc import AsyncIterator

import pytest
from tests.fidelity.bench import Bench, bench
from tests.fidelity.matrix import INTERACTIONS, PAGE, Outcome, observe, page
from tests.fidelity.table import Interaction
from tests.support import children

# All rows run on one bench, and the page is made of all of them.
pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("fidelity")]

OUTCOMES: dict[Interaction, Outcome] = {}


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
    OUTCOMES[interaction] = failed = await observe(ready, interaction)
    assert not failed, "\n".join(f"{cell}: {reason}" for cell, reason in failed.items())


def test_the_published_matrix_is_what_this_run_found() -> None:
    if len(OUTCOMES) < len(INTERACTIONS):
        pytest.skip("not every row ran")
    assert page(OUTCOMES) == PAGE.read_text(), "run ./scripts/fidelity"
