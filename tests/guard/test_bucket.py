"""How many calls may begin in a time, by a clock of the test's own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.units import Rate
from meshproxy.guard.bucket import Bucket


def test_as_many_as_the_rate_says_begin_at_once_and_then_one_by_one() -> None:
    bucket = Bucket(Rate(4, 2.0), now=10.0)
    assert [bucket.take(10.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert bucket.take(10.25) == 0.25
    assert bucket.take(10.5) == 0
    assert bucket.take(10.5) == 0.5


def test_what_is_not_used_is_kept_up_to_the_rate() -> None:
    bucket = Bucket(Rate(2, 60.0), now=0.0)
    assert [bucket.take(1e6) for _ in range(3)] == [0, 0, 30]


@given(
    st.integers(1, 20),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.lists(st.floats(0, 10), min_size=1, max_size=200),
)
def test_no_more_begin_than_one_burst_and_the_rate(times: int, seconds: float, gaps: list[float]) -> None:
    bucket, now, begun = Bucket(Rate(times, seconds), 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        begun += bucket.take(now) == 0
    assert begun <= times + math.floor(now * times / seconds + 1e-6)


@given(st.integers(1, 20), st.sampled_from([1.0, 60.0, 3600.0]), st.lists(st.floats(0, 10), min_size=1, max_size=100))
def test_whoever_comes_when_he_was_told_to_is_let_through(times: int, seconds: float, gaps: list[float]) -> None:
    bucket, now = Bucket(Rate(times, seconds), 0.0), 0.0
    for gap in gaps:
        now += gap
        rest = bucket.take(now)
        if rest:
            now += rest + 1e-6
            assert bucket.take(now) == pytest.approx(0)


def test_one_whose_tokens_come_from_elsewhere_gets_none_with_the_time() -> None:
    bucket = Bucket(Rate(4, 2.0), now=0.0)
    bucket.share()
    assert bucket.may_be_lent(0.0)
    assert [bucket.take(0.0), bucket.take(100.0)] == [0.5, 0.5]
    bucket.lend(2.0, 0.0)
    assert not bucket.may_be_lent(100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [0, 0, 0.5]
    bucket.lend(1.0, 0.0)
    bucket.lend(-1.0, 107.0)
    # There are none elsewhere, either, until then.
    assert bucket.take(100.0) == 7.0
    assert (bucket.may_be_lent(106.9), bucket.may_be_lent(107.0)) == (False, True)


def test_one_that_stands_alone_again_has_a_part_of_a_full_one_and_what_comes_with_the_time() -> None:
    bucket = Bucket(Rate(4, 2.0), now=0.0)
    bucket.share()
    bucket.stand_alone(10.0, 0.25)
    assert not bucket.may_be_lent(10.0)
    assert [bucket.take(10.0) for _ in range(2)] == [0, 0.5]
    assert bucket.take(10.5) == 0
