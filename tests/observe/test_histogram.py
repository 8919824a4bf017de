"""A histogram counts each value once, in the first bucket that holds it."""

import pytest
from meshproxy.observe.histogram import LONG, Histogram


def test_the_buckets_are_those_of_the_conventions() -> None:
    assert LONG == (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


def test_a_value_is_in_the_first_bucket_that_holds_it() -> None:
    found = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 9.0):
        found.add(seconds)
    assert found.counts == [2, 1, 1]
    assert (found.count, found.total) == (4, 12.0)


@pytest.mark.parametrize(("share", "expected"), [(0.25, 0.5), (0.5, 1.0), (0.75, 2.0), (1.0, 2.0)])
def test_a_share_lies_within_a_bound(share: float, expected: float) -> None:
    found = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 9.0):
        found.add(seconds)
    assert found.within(share) == expected


def test_of_nothing_nothing_is_within() -> None:
    assert Histogram((1.0,)).within(0.5) == 0.0
    only_long = Histogram((1.0,))
    only_long.add(5.0)
    assert only_long.within(0.5) == 1.0
