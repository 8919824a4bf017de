"""The simulation of fleets: its arithmetic, what must hold whatever things cost, and that the documentation has what it prints."""

import dataclasses
from pathlib import Path

import pytest
from bench.scale.costs import Costs, Line, line, measured
from bench.scale.model import Bounds, Fleet, Load, demand, event, fits, needed, stored, walls
from bench.scale.table import BEGIN, END, text
from bench.scale.waiting import waits
from hypothesis import given, settings
from hypothesis import strategies as st

PAGE = Path(__file__).parents[2] / "docs" / "how-far.md"
NOTHING = dict.fromkeys(("commands", "in", "out", "store_us", "own_us"), 0.0)
FREE = Costs(
    **{field.name: 0.0 for field in dataclasses.fields(Costs) if field.type is float},
    **{field.name: Line(0.0, 0.0) for field in dataclasses.fields(Costs) if field.type is Line},
    refresh=NOTHING,
    change=NOTHING,
    seldom={},
)
"""Everything costs nothing: what a test is about it sets."""


@pytest.fixture(scope="module")
def costs() -> Costs:
    return measured()


def test_of_n_processes_all_but_one_in_n_of_the_requests_are_handed_on() -> None:
    for machines, workers in ((1, 1), (1, 4), (3, 1), (5, 4)):
        fleet = Fleet(machines, workers)
        assert fleet.handed == pytest.approx(1 - 1 / (machines * workers))
        assert Fleet(machines, workers, sticky=True).handed == 0


def test_cpu_is_rates_times_costs() -> None:
    load = Load(sessions=60_000, calls=1, tools=0, minutes=1e12, limits=0, logins=0)
    at_home = demand(dataclasses.replace(FREE, call=0.001, worker_hop=3, replica_hop=3), load, Fleet(2, 1, sticky=True))
    assert at_home.core == pytest.approx(0.5)
    # Half of the calls come to the other one, and cost three times as much.
    anywhere = demand(dataclasses.replace(FREE, call=0.001, worker_hop=3, replica_hop=3), load, Fleet(2, 1))
    assert anywhere.core == pytest.approx(1.0)
    assert anywhere.handing == pytest.approx(0.5)


def test_memory_and_descriptors_are_those_of_streams_where_they_end_and_where_they_come_in() -> None:
    weighed = dataclasses.replace(
        FREE,
        process_bytes=1000,
        stream_bytes=10,
        handed_home_bytes=20,
        handed_entry_bytes=30,
        handed_home_descriptors=1,
        handed_entry_descriptors=2,
        peer_bytes=5,
        peer_descriptors=2,
    )
    load = Load(sessions=200, calls=0, tools=0, limits=0, logins=0)
    assert demand(weighed, load, Fleet(2, 1, sticky=True)).memory == 1000 + 100 * 10 + 5
    assert demand(weighed, load, Fleet(2, 1)).memory == 1000 + 50 * 10 + 50 * 50 + 5
    assert demand(weighed, load, Fleet(2, 1)).descriptors == 100 + 50 + 50 * 3 + 2


def test_heartbeats_of_n_processes_cost_their_store_n_times_what_each_is_told() -> None:
    told = dataclasses.replace(FREE, beat_sent=Line(10, 100), beat_store=Line(0.001, 0))
    found = stored(told, Load(limits=0, logins=0), 10)
    assert found["store_sent"] == 10 * 4 * (10 + 10 * 100)
    assert found["store_core"] == pytest.approx(0.04)


def test_what_every_process_does_at_times_is_done_as_often_as_there_are_processes() -> None:
    cost = {"in": 10.0, "out": 5.0, "store_us": 0.001}
    told = dataclasses.replace(FREE, seldom={"put": cost, "read": cost})
    assert event(told, 9, {"put": (1, 0), "read": (0, 1)}) == {"bytes": 150.0, "store_us": pytest.approx(0.01)}


def test_a_line_goes_through_the_first_and_the_last_that_was_measured() -> None:
    assert line({1: {"out": 30.0}, 10: {"out": 99.0}, 21: {"out": 230.0}}, "out") == Line(20.0, 10.0)


@settings(max_examples=30, deadline=None)
@given(
    sessions=st.integers(1, 500_000),
    more=st.integers(0, 500_000),
    calls=st.floats(0, 60),
    sticky=st.booleans(),
    workers=st.sampled_from((1, 4)),
)
def test_more_sessions_never_need_fewer_machines(
    costs: Costs, *, sessions: int, more: int, calls: float, sticky: bool, workers: int
) -> None:
    few, many = (
        needed(costs, Load(sessions=number, calls=calls), Bounds(), workers=workers, sticky=sticky, most=300)
        for number in (sessions, sessions + more)
    )
    assert many is None or (few is not None and few.machines <= many.machines)


@settings(max_examples=30, deadline=None)
@given(sessions=st.integers(1, 500_000), calls=st.floats(0, 60))
def test_a_fleet_that_is_said_to_do_does_and_stickiness_never_costs_machines(
    costs: Costs, sessions: int, calls: float
) -> None:
    load = Load(sessions=sessions, calls=calls)
    anywhere, sticky = (needed(costs, load, Bounds(), sticky=each, most=300) for each in (False, True))
    if anywhere is not None:
        assert fits(costs, load, anywhere, Bounds())
        assert sticky is not None
        assert sticky.machines <= anywhere.machines
        assert anywhere.machines == 1 or not fits(costs, load, Fleet(anywhere.machines - 1), Bounds())


def test_the_simulation_of_queues_finds_processes_as_busy_as_the_arithmetic_has_them(costs: Costs) -> None:
    load = Load(calls=60, tools=0, logins=0)
    for sticky in (True, False):
        fleet = needed(costs, load, Bounds(), sticky=sticky)
        assert fleet is not None
        found = waits(costs, load, fleet)
        assert found.core == pytest.approx(demand(costs, load, fleet).core, rel=0.05)
        assert 0 < found.p50 < found.p99
        assert found == waits(costs, load, fleet)


def test_each_wall_stands_where_its_bound_is_passed(costs: Costs) -> None:
    found = walls(costs, Load(), Bounds())
    lent = Load(logins=0)
    assert stored(costs, lent, found["limits"])["store_core"] > Bounds().store
    assert stored(costs, lent, found["limits"] - 1)["store_core"] <= Bounds().store
    assert found["limits"] < found["heartbeats"]


def test_the_documentation_has_what_the_simulation_prints(costs: Costs) -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN)
    assert rest.partition(END)[0].strip() == text(costs), "run ./scripts/bench --scale --publish"
