"""When an upstream is left in peace, by a clock of the test's own."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from meshproxy.guard.breaker import TRANSITIONS, Breaker, Event, State


def opened(failures: int = 3, pause: float = 30.0) -> Breaker:
    breaker = Breaker(failures, pause)
    for _ in range(failures):
        assert breaker.rest(0.0) is None
        assert not breaker.enter()
        breaker.failed(0.0, "it broke", is_probe=False)
    assert breaker.state is State.OPEN
    return breaker


def test_any_event_in_any_state_gives_a_state_and_each_state_can_be_left() -> None:
    assert set(TRANSITIONS) == set(Event)
    for row in TRANSITIONS.values():
        assert set(row) == set(State)
    for state in State:
        assert any(row[state] is not state for row in TRANSITIONS.values()), state


def test_failures_in_a_row_open_it_and_any_answer_begins_anew() -> None:
    breaker = Breaker(2, 30.0)
    for _ in range(5):
        breaker.failed(1.0, "it broke", is_probe=False)
        breaker.went_well(is_probe=False)
        assert breaker.rest(1.0) is None
    breaker.failed(1.0, "it broke", is_probe=False)
    breaker.given_up(is_probe=False)
    breaker.failed(2.0, "it broke again", is_probe=False)
    assert (breaker.state, breaker.reason) == (State.OPEN, "it broke again")
    assert breaker.rest(2.0) == 30.0
    assert breaker.rest(31.5) == 1.0, "less is no time to come again after"


def test_after_the_pause_one_call_tries_and_the_others_wait_for_what_becomes_of_it() -> None:
    breaker = opened()
    assert breaker.rest(30.0) is None
    assert breaker.enter()
    assert breaker.state is State.HALF_OPEN
    assert breaker.rest(30.0) == 1.0
    breaker.went_well(is_probe=True)
    assert breaker.state is State.CLOSED
    assert not breaker.enter()


def test_a_probe_that_fails_begins_the_pause_anew() -> None:
    breaker = opened()
    assert breaker.enter()
    breaker.failed(40.0, "still broken", is_probe=True)
    assert breaker.rest(40.0) == 30.0
    assert breaker.rest(70.0) is None


def test_after_a_probe_that_is_given_up_the_next_call_is_one() -> None:
    breaker = opened()
    assert breaker.enter()
    breaker.given_up(is_probe=True)
    assert breaker.rest(30.0) is None
    assert breaker.enter()


def test_what_was_sent_before_it_opened_changes_nothing() -> None:
    breaker = opened()
    breaker.went_well(is_probe=False)
    breaker.failed(10.0, "late", is_probe=False)
    assert (breaker.state, breaker.rest(10.0)) == (State.OPEN, 20.0)
    assert breaker.rest(30.0) is None
    assert breaker.enter()
    for _ in range(5):
        breaker.failed(31.0, "late", is_probe=False)
    breaker.went_well(is_probe=False)
    assert breaker.state is State.HALF_OPEN


def test_other_numbers_hold_from_the_next_failure_on() -> None:
    breaker = opened()
    breaker.obey(1, 5.0)
    assert breaker.rest(1.0) == 29.0
    assert breaker.rest(30.0) is None
    assert breaker.enter()
    breaker.failed(30.0, "it broke", is_probe=True)
    assert breaker.rest(30.0) == 5.0


class Machine(RuleBasedStateMachine):
    """Calls that pass, in any order of their ends."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(2, 10.0)
        self.now = 0.0
        self.passed: list[bool] = []

    @rule(seconds=st.sampled_from([0.0, 1.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        if self.breaker.rest(self.now) is None:
            self.passed.append(self.breaker.enter())

    @rule(data=st.data(), outcome=st.sampled_from(["well", "failed", "given up"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        if not self.passed:
            return
        is_probe = self.passed.pop(data.draw(st.integers(0, len(self.passed) - 1)))
        if outcome == "well":
            self.breaker.went_well(is_probe=is_probe)
        elif outcome == "failed":
            self.breaker.failed(self.now, "it broke", is_probe=is_probe)
        else:
            self.breaker.given_up(is_probe=is_probe)

    @invariant()
    def there_is_one_probe_while_it_is_half_open_and_none_otherwise(self) -> None:
        assert sum(self.passed) == (self.breaker.state is State.HALF_OPEN)

    @invariant()
    def it_never_stays_shut(self) -> None:
        if self.breaker.state is State.OPEN:
            assert self.breaker.rest(self.now + 10.0) is None


TestAgainstAModel = Machine.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
