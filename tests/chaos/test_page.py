"""docs/reliability.md names every fault, tests that there are, and runs that there are."""

import re

from tests.chaos.faults import FAULTS
from tests.chaos.visitors import VISITORS
from tests.kit.places import ROOT
from tests.soak.__main__ import RUNS

PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


def test_the_page_has_each_fault_and_who_can_have_it() -> None:
    told = {row[0]: row[1] for row in ROWS if len(row) == 5 and row[0] not in ("Fault", "---")}
    assert told == {fault.name: ", ".join(fault.kinds) for fault in FAULTS}


def test_the_page_has_each_kind_of_client_and_how_many_of_it_come() -> None:
    told = {row[0]: row[1] for row in ROWS if len(row) == 3 and row[0] not in ("Clients", "---")}
    assert told == {kind.name: str(kind.count) for kind in VISITORS}


def test_each_promise_is_held_by_tests_that_there_are() -> None:
    promises = [row for row in ROWS if len(row) == 2 and "::" in row[1]]
    assert len(promises) == len({row[0] for row in promises}) > 10
    for promise, tests in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
        assert named, promise
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text(), f"{promise}: {file}::{name}"


def test_each_long_run_that_is_named_is_one() -> None:
    assert set(re.findall(r"\./scripts/soak (\w+)", PAGE)) <= RUNS.keys()
