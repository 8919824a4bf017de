"""What failed is tried again after pauses that grow and are drawn, never before its upstream wants it, and seldom where trying cures nothing."""

from hypothesis import given
from hypothesis import strategies as st
from meshproxy.supervision.backoff import (
    BACKOFF,
    HELD,
    IMPATIENCE,
    LASTING,
    LONGEST,
    LOOP,
    RELUCTANCE,
    STABLE,
    Backoff,
)

NOW = 1000.0


def pauses(count: int, chance: float = 1.0, *, is_lasting: bool = False) -> list[float]:
    backoff = Backoff()
    return [backoff.failed(NOW, chance, is_lasting=is_lasting) for _ in range(count)]


def test_the_bound_of_a_pause_doubles_with_each_failure() -> None:
    assert pauses(8) == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pauses(3, 0.5) == [0.25, 0.5, 1]
    assert pauses(3, 0.0) == [0, 0, 0]
    assert pauses(5000)[-1] == BACKOFF[1]


def test_what_trying_does_not_cure_is_tried_seldom() -> None:
    assert pauses(5, is_lasting=True) == [60, 120, 240, 480, 600]
    assert pauses(2, 0.0, is_lasting=True) == [30, 60]


def test_one_that_was_up_and_is_refused_now_is_perhaps_being_restarted() -> None:
    backoff = Backoff()
    backoff.came_up(NOW)
    paused = [backoff.failed(NOW + HELD, 1.0, is_lasting=True) for _ in range(12)]
    assert paused[:3] == [0.5, 1, 2]
    assert paused[-1] == LASTING[1]


def test_a_link_that_held_is_opened_again_at_once_and_once() -> None:
    backoff = Backoff()
    backoff.came_up(NOW)
    assert backoff.failed(NOW + STABLE, 1.0) == 0
    backoff.came_up(NOW + STABLE)
    assert backoff.failed(NOW + 2 * STABLE, 1.0) == 1.0
    backoff.came_up(NOW)
    assert backoff.failed(NOW + HELD, 1.0) == 0


def test_coming_up_ends_no_row_of_failures_and_holding_does() -> None:
    backoff, now = Backoff(), NOW
    for bound in (0.5, 1, 2, 4):
        backoff.came_up(now)
        assert backoff.failed(now + 1, 1.0) == bound
        now += 10
    assert backoff.failures == 4
    backoff.came_up(now)
    backoff.failed(now + HELD, 1.0)
    assert backoff.failures == 1


def test_what_ends_again_and_again_soon_after_it_came_up_is_a_loop_until_it_holds() -> None:
    backoff = Backoff()
    for number in range(LOOP):
        assert not backoff.is_loop
        backoff.came_up(NOW + number)
        backoff.failed(NOW + number, 0.5)
    assert backoff.is_loop
    # An attempt that fails in between changes nothing of it.
    backoff.failed(NOW, 0.5)
    assert backoff.is_loop
    assert not backoff.may_hurry(NOW + RELUCTANCE)
    assert backoff.may_hurry(NOW + RELUCTANCE + 1)
    backoff.came_up(NOW)
    backoff.failed(NOW + HELD, 0.5)
    assert not backoff.is_loop


@given(chance=st.floats(0, 1), asked=st.floats(0, LONGEST), is_lasting=st.booleans(), count=st.integers(1, 40))
def test_what_an_upstream_asks_for_is_the_least(*, chance: float, asked: float, is_lasting: bool, count: int) -> None:
    backoff = Backoff()
    for _ in range(count):
        pause = backoff.failed(NOW, chance, asked=asked, is_lasting=is_lasting)
        assert asked - 0.001 <= pause <= max(asked, LASTING[1]) + 0.001
    assert backoff.due is not None
    assert not backoff.may_hurry(NOW + asked - 0.01)
    assert backoff.may_hurry(NOW + asked + RELUCTANCE + 1)


def test_nobody_can_ask_for_ever_or_for_the_past() -> None:
    backoff = Backoff()
    assert backoff.failed(NOW, 0.0, asked=1e12) == LONGEST
    assert backoff.failed(NOW, 0.0, asked=-5.0) == 0


def test_somebodys_need_is_reason_enough_after_a_while() -> None:
    backoff = Backoff()
    backoff.failed(NOW, 1.0)
    assert not backoff.may_hurry(NOW + IMPATIENCE)
    assert backoff.may_hurry(NOW + IMPATIENCE + 0.1)
    backoff.failed(NOW, 1.0, is_lasting=True)
    assert not backoff.may_hurry(NOW + RELUCTANCE)
    assert backoff.may_hurry(NOW + RELUCTANCE + 0.1)


def test_the_time_of_the_next_attempt_is_known_until_it_begins() -> None:
    backoff = Backoff()
    assert backoff.due is None
    backoff.failed(NOW, 1.0)
    assert backoff.due == NOW + 0.5
    backoff.tries()
    assert backoff.due is None
    backoff.failed(NOW, 1.0)
    backoff.came_up(NOW)
    assert backoff.due is None
