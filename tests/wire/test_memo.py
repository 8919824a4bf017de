"""What is remembered of what comes again and again."""

from typing import Any

from meshproxy.wire import memo


def test_what_was_made_is_kept_and_comes_back() -> None:
    made: dict[bytes, Any] = {}
    assert memo.remember(made, b"a", 1) == 1
    assert made == {b"a": 1}


def test_when_it_is_full_it_begins_anew() -> None:
    made: dict[int, Any] = {}
    for number in range(memo._MOST + 1):
        memo.remember(made, number, number)
    assert made == {memo._MOST: memo._MOST}
