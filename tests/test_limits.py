"""Limits are held to the level and to the byte, and say which they are."""

from typing import Any

import pytest
from meshproxy.limits import LimitError, check_depth, check_size


def nested(levels: int, inner: Any = 1) -> Any:
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_what_is_as_deep_as_is_allowed_passes(levels: int) -> None:
    check_depth(nested(levels), 3)
    check_depth([nested(2), 1, {}, nested(1)], 3)


def test_what_is_deeper_is_refused_wherever_it_is() -> None:
    for value in (nested(4), [1, {"a": nested(2), "b": 2}], {"a": [[[]]]}, nested(5000)):
        with pytest.raises(LimitError, match="deeper than 3 levels"):
            check_depth(value, 3)


def test_a_size_is_held_to_the_byte() -> None:
    check_size(3, 3)
    with pytest.raises(LimitError, match="larger than 3 bytes"):
        check_size(4, 3)
