"""The table of states is total, has no dead end, and says of each pair what the documentation says."""

from hypothesis import given
from hypothesis import strategies as st
from meshproxy.supervision.states import AVAILABLE, DOWN, WORDS, Event, State, after

STATES, EVENTS = st.sampled_from(State), st.sampled_from(Event)


@given(STATES, st.lists(EVENTS))
def test_any_event_in_any_state_gives_a_state(state: State, events: list[Event]) -> None:
    for event in events:
        state = after(state, event)
        assert state in State
        assert WORDS[state]


def reachable(state: State) -> set[State]:
    found, looked_at = {state}, set[State]()
    while new := found - looked_at:
        looked_at |= new
        found |= {after(one, event) for one in new for event in Event}
    return found


def test_from_each_state_there_is_a_way_up_but_from_those_that_end() -> None:
    ends = {State.DRAINING, State.STOPPED}
    assert {state for state in State if State.UP not in reachable(state)} == ends


def test_each_state_can_be_come_to() -> None:
    assert reachable(State.IDLE) == set(State)
    assert reachable(State.STARTING) == set(State)


@given(STATES)
def test_what_is_closed_stays_so(state: State) -> None:
    assert after(state, Event.CLOSED) is State.STOPPED
    assert reachable(State.STOPPED) == {State.STOPPED}


@given(STATES, st.lists(EVENTS))
def test_what_was_taken_out_of_the_mesh_takes_no_new_work(state: State, events: list[Event]) -> None:
    state = after(state, Event.RETIRED)
    for event in events:
        state = after(state, event)
        assert state in {State.DRAINING, State.STOPPED}


def test_a_failure_is_left_by_an_attempt_that_succeeds_and_a_login_by_itself() -> None:
    assert after(State.BACKING_OFF, Event.WELL) is State.UP
    assert after(State.BACKING_OFF, Event.IMPAIRED) is State.DEGRADED
    assert after(State.BACKING_OFF, Event.WANTED) is State.BACKING_OFF
    for state in (State.STARTING, State.UP, State.DEGRADED, State.BACKING_OFF):
        assert after(state, Event.REFUSED) is State.NEEDS_LOGIN
    assert after(State.NEEDS_LOGIN, Event.FAILED) is State.NEEDS_LOGIN
    assert after(State.NEEDS_LOGIN, Event.LOGGED_IN) is State.STARTING


def test_no_state_can_be_called_and_is_down() -> None:
    assert not AVAILABLE & DOWN
    assert {WORDS[state] for state in AVAILABLE} == {"up", "idle"}
