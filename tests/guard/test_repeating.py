"""What is repeated: what is safe, where its answer was lost, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.errors import AnswerLost, AnswerTooLarge, AnswerTooLate, UpstreamBusy, UpstreamError, UpstreamUnavailable
from meshproxy.guard.repeating import LONGEST_PAUSE, READS, is_safe, is_worth_repeating, pause, repeats
from meshproxy.guard.rules import Rules
from meshproxy.links.negotiation import NotNowError, RequestRefusedError
from meshproxy.links.refusals import SessionExpiredError


@pytest.mark.parametrize(
    ("method", "times"), [*((read, 3) for read in sorted(READS)), ("tools/call", 2), ("tasks/cancel", 0)]
)
def test_reads_and_tools_are_repeated_as_often_as_their_key_says(method: str, times: int) -> None:
    assert repeats(method, Rules(reads=3, idempotent_tools=2)) == times


@pytest.mark.parametrize(
    ("annotations", "safe"),
    [
        ({"readOnlyHint": True}, True),
        ({"idempotentHint": True}, True),
        ({"readOnlyHint": False, "idempotentHint": False}, False),
        ({"readOnlyHint": "true", "idempotentHint": 1}, False),
        ({"destructiveHint": False}, False),
        ({}, False),
        (None, False),
        ([], False),
    ],
)
def test_a_tool_is_safe_if_it_says_so(annotations: object, safe: bool) -> None:  # noqa: FBT001  # a column of a table
    assert is_safe({"name": "tool", "annotations": annotations}) is safe


def test_a_tool_that_nobody_knows_is_not_safe() -> None:
    assert not is_safe(None)
    assert not is_safe({"name": "tool"})


@pytest.mark.parametrize(
    ("kind", "worth"),
    [
        (AnswerLost, True),
        (UpstreamUnavailable, True),
        (AnswerTooLate, False),
        (AnswerTooLarge, False),
        (UpstreamBusy, False),
        (RequestRefusedError, False),
        (NotNowError, False),
        (SessionExpiredError, False),
        (UpstreamError, False),
    ],
)
def test_what_would_end_the_same_way_is_not_repeated(kind: type[UpstreamError], worth: bool) -> None:  # noqa: FBT001  # likewise
    assert is_worth_repeating(kind("up", "it ended so")) is worth


@given(st.integers(1, 10), st.floats(0, 1))
def test_a_pause_is_spread_and_bounded(number: int, chance: float) -> None:
    assert 0 <= pause(number, chance) <= LONGEST_PAUSE
    assert pause(number, 1.0) <= pause(number + 1, 1.0)
