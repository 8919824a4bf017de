"""Texts of others, as they are shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.observe.spelling import as_json, named, printable, told

COMMANDS = "\x1b[2J\x9b31m\x07\x08\x7f\r\u202e\u2066\u200f\u2028\x85\ue000\ud800"


@pytest.mark.parametrize("spell", [printable, named, told, as_json])
def test_what_commands_a_terminal_is_not_shown_and_every_other_letter_is(spell) -> None:
    assert spell('größer 日本 🙂 \\ "a"') == 'größer 日本 🙂 \\ "a"'
    shown = spell(f"a{COMMANDS}b")
    assert shown.isprintable()
    assert (shown[0], shown[-1]) == ("a", "b")


def test_a_name_is_one_line_and_a_message_is_one_message() -> None:
    assert named("a\nb\tc") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert told("a\nerror: forged") == "a\n    error: forged"
    assert printable("a\n\tb") == "a\n\tb"


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
    st.sampled_from([None, 2]),
)
def test_json_means_the_same(value, indent) -> None:
    shown = as_json(json.dumps(value, ensure_ascii=False, indent=indent))
    assert json.loads(shown) == value
    assert shown.replace("\n", "").isprintable()
