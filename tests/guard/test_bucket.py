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
