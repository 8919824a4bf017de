"""One upstream of ten falls ill in every way, and the other nine do not notice. `./scripts/soak chaos` measures what depends on time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.chaos.faults import CASES, Fault
from tests.chaos.visitors import VISITORS, Visitor
from tests.chaos.ward import Ward, ward

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def hospital(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    async with ward(Path(tmp_path_factory.mktemp("ward"))) as found:
        yield found


@pytest.mark.parametrize(("fault", "kind"), CASES, ids=[f"{fault.name}, {kind}" for fault, kind in CASES])
async def test_a_fault_of_one_upstream_costs_the_others_nothing_and_passes(
    hospital: Ward, fault: Fault, kind: str
) -> None:
    patient = hospital.patients[kind]
    await hospital.admit(patient, fault)
    await hospital.ordeal(fault, patient)


@pytest.mark.parametrize("kind", VISITORS, ids=[kind.name for kind in VISITORS])
async def test_clients_that_misbehave_cost_the_others_nothing(hospital: Ward, kind: type[Visitor]) -> None:
    await hospital.suffer(kind(hospital.program.url))


async def test_a_state_directory_that_cannot_be_written_to_costs_no_call(hospital: Ward) -> None:
    await hospital.forget()
