"""A mesh of ten whose log, standard error, state directory and audit log are on one disk, and that is full."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.disk import Disk, disk
from tests.chaos.faults import KilledDuring
from tests.chaos.ward import PATIENCE, Ward, ward
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

EXPECTED = ("audit.unwritable", "(half an event)")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path / "disk") as found:
        yield found


async def test_a_full_disk_costs_no_call_and_everything_is_written_again_when_there_is_room(
    small: Disk, tmp_path: Path
) -> None:
    audit = {"file": str(small.root / "audit.jsonl"), "arguments": "all"}
    async with ward(tmp_path, writes=small.root, expected=EXPECTED, observe={"audit": audit}) as mesh:
        patient, fault = mesh.patients["pipe"], KilledDuring()
        await mesh.admit(patient, fault)
        small.fill()
        assert small.is_full()
        known = memory_of(small)
        assert len(known) >= len(mesh.echoes)
        # An edit is in force, and calls are answered, though nothing can be said or kept of it.
        await edited(mesh)
        await mesh.others()
        # One of the ten dies, comes back, and has something new to be remembered.
        before = patient.pids
        patient.serial += 1
        await patient.kill()
        await edited(mesh)
        await mesh.others(patient)
        await mesh._is_back(patient)
        assert patient.pids != before
        assert small.is_full()
        # What was remembered of before is whole.
        assert memory_of(small) == known
        since = len(mesh.program.read())
        small.free()
        await mesh.edit()
        await mesh.others()
        for event in ("state.usable", "audit.writable"):
            assert await mesh.program.until(lambda event=event: mesh.program.of(event, since=since), PATIENCE), event
        text = mesh.program.log.read_text()
        assert "Traceback" not in text
        assert "exception" not in text


async def edited(mesh: Ward) -> None:
    """Make an edit, and wait until it is in force: the log cannot tell."""
    guest = (await mesh.up("guest"))["pids"]
    mesh.begin_edit()

    async def another() -> bool:
        return (await mesh.up("guest"))["pids"] != guest

    await eventually(another)


def memory_of(small: Disk) -> dict[str, bytes]:
    """What the state directory holds, but for what is written while it is looked at."""
    return {
        str(file): file.read_bytes()
        for file in sorted((small.root / "state").rglob("*"))
        if file.is_file() and file.suffix != ".tmp"
    }
