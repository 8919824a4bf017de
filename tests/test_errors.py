"""Errors say whose fault it is, whether trying again may help, and what a client is told."""

import pytest
from meshproxy.errors import (
    INTERNAL_ERROR,
    AnswerLost,
    AnswerTooLarge,
    AnswerTooLate,
    ConfigError,
    LoginNeeded,
    MeshError,
    Problem,
    RpcError,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnavailable,
)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("mesh.yaml", 3, 5, "upstreams.a", "is wrong", "write b"),
            "mesh.yaml:3:5: upstreams.a: is wrong; write b",
        ),
        (Problem("mesh.yaml", 3, None, "", "is wrong"), "mesh.yaml:3:1: is wrong"),
        (Problem("mesh.yaml", None, None, "", "is wrong"), "mesh.yaml: is wrong"),
    ],
)
def test_a_problem_names_its_place_as_far_as_it_has_one(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_config_error_is_all_its_problems_a_line_each() -> None:
    problems = (Problem("f", 1, 1, "", "a"), Problem("f", 2, 1, "", "b"))
    assert str(ConfigError(problems)) == "f:1:1: a\nf:2:1: b"
    assert ConfigError(problems).problems == problems


def test_an_upstream_that_was_not_reached_may_be_tried_again() -> None:
    error = UpstreamUnavailable("docs", "it is down")
    assert isinstance(error, UpstreamError)
    assert str(error) == "docs: it is down"
    assert error.retryable
    told = error.rpc
    assert (told.code, told.data) == (INTERNAL_ERROR, {"upstream": "docs", "reason": "it is down", "retryable": True})
    assert "'docs'" in told.message
    assert "it is down" in told.message
    assert "may be retried" in told.message


def test_a_call_whose_answer_was_lost_may_have_been_carried_out() -> None:
    error = AnswerLost("docs", "it died")
    assert not error.retryable
    assert error.rpc.data == {"upstream": "docs", "reason": "it died", "retryable": False}
    assert "may have been carried out" in error.rpc.message
    assert "may have been carried out" in UpstreamError.rpc.fget(error).message  # type: ignore[attr-defined]


def test_a_peers_error_is_kept_as_it_came() -> None:
    error = RpcError(-32602, "no such tool", {"name": "x"})
    assert isinstance(error, MeshError)
    assert (error.code, error.message, error.data) == (-32602, "no such tool", {"name": "x"})
    assert repr(error) == "RpcError(-32602, 'no such tool')"


def test_a_busy_upstream_says_which_limit_it_is_and_when_to_come_again() -> None:
    error = UpstreamBusy("docs", "8 calls are under way", "limits.concurrency", 1.2).reworded("too many calls")
    assert error.rpc.data == {
        "upstream": "docs",
        "reason": "too many calls",
        "retryable": True,
        "limit": "limits.concurrency",
        "retryAfter": 2,
    }
    assert "limits.concurrency" in error.rpc.message
    assert "try again in 2 s" in error.rpc.message


def test_an_upstream_that_needs_a_login_says_what_ends_it() -> None:
    error = LoginNeeded("docs", "needs login: run meshproxy auth login docs")
    assert error.retryable
    assert error.rpc.message == "upstream 'docs' needs login: run meshproxy auth login docs"
    assert error.rpc.data["retryable"] is True


def test_what_the_config_bounds_says_which_key_does() -> None:
    late = AnswerTooLate("docs", "no answer within 5 s").bound_by("timeouts.call")
    assert isinstance(late, AnswerTooLate)
    assert "no answer within 5 s, which `timeouts.call` of this upstream allows" in late.rpc.message
    assert "raise `limits.result`" in AnswerTooLarge.than("docs", "1MiB").rpc.message
