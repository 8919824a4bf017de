"""Which request a line answers that is too large to be read, by its beginning and its end."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.links.large import KEPT, answered_at_last, answered_at_start

VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from([',"id":7}', '"id":7', '{"id":7,"result":', "}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "result", "a"]) | st.text(), inner, max_size=3)
    ),
)


def ends(line: str) -> tuple[bytes, bytes]:
    data = line.encode()
    return data[:KEPT], data[-KEPT:]


@pytest.mark.parametrize("outcome", ["result", "error"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", " : ")])
@pytest.mark.parametrize("order", list(itertools.permutations(["jsonrpc", "id", "outcome"])))
def test_an_answer_is_known_in_any_order_of_its_members(
    order: tuple[str, ...], separators: tuple[str, str], outcome: str
) -> None:
    members = {"jsonrpc": "2.0", "id": 12, "outcome": {"text": "x" * 1000, "id": 5}}
    line = json.dumps({outcome if key == "outcome" else key: members[key] for key in order}, separators=separators)
    assert answered_at_last(*ends(line)) == 12
    assert answered_at_start(line.encode()[:KEPT]) == (12 if order.index("id") < order.index("outcome") else None)


@given(VALUES, st.sampled_from(["result", "error"]), st.booleans())
def test_what_is_said_of_an_answer_is_its_id_whatever_is_in_it(value: object, outcome: str, is_last: bool) -> None:  # noqa: FBT001  # drawn
    members = {"jsonrpc": "2.0", outcome: value, "id": 3} if is_last else {"jsonrpc": "2.0", "id": 3, outcome: value}
    assert answered_at_last(*ends(json.dumps(members))) == 3


@given(VALUES)
def test_what_is_no_answer_is_none(value: object) -> None:
    for line in (
        {"jsonrpc": "2.0", "id": 3, "method": "x", "params": value},
        {"jsonrpc": "2.0", "method": "x", "params": value, "id": 3},
        {"jsonrpc": "2.0", "method": "x", "params": value},
        {"params": value, "id": 3},
        [value],
    ):
        assert answered_at_last(*ends(json.dumps(line))) is None
