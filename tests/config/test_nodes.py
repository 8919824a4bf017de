import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.document import parse
from meshproxy.config.nodes import MAX_DEPTH, compose_with_libyaml
from tests.config.test_document import json_values
from tests.fuzz.config_text import readers_agree
from tests.kit.places import ROOT

PIECES = [
    *("a", "b", "1", "true", "null", "~", "x:y", "0x1", "http://h/p?q=1", "é", "😀", "@", "`", "=", "<<", "---", "..."),
    *(
        ":",
        ": ",
        ":\n",
        ":\n ",
        "- ",
        "-",
        "-\n",
        "? ",
        "?",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ",",
        "#",
        " #c",
        "// x",
        " /* x */ ",
    ),
    *("&a ", "*a", "!!str ", "!t ", "|", "|-", "|2", ">", ">-", "<<: ", "%YAML 1.1\n", "\\n", "\\", "\\u00e9"),
    *("\n", "\n", "\n  ", "\n ", "\n    ", " ", "  ", "\r\n", "\r", "\t", "\x85", "\u2028", "\ufeff", "\x7f"),
    *('"', '"x"', "'", "'y'", "''"),
]
pieces = st.sampled_from(PIECES)
lines = st.sampled_from(
    [line for path in sorted((ROOT / "configs").rglob("*.yaml")) for line in path.read_text().splitlines()]
)


@given(st.lists(pieces, max_size=14).map("".join))
def test_both_parsers_say_the_same_of_whatever_both_take(text):
    readers_agree(text)
    readers_agree("a: 1\nb: " + text)


@given(st.lists(lines, max_size=8).map("\n".join), st.integers(0, 400), pieces)
def test_both_parsers_say_the_same_of_configs_with_a_slip_of_the_pen(text, at, piece):
    readers_agree(text[:at] + piece + text[at:])


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), json_values, max_size=4))
def test_both_parsers_say_the_same_of_json(value):
    readers_agree(json.dumps(value, indent=1))
    readers_agree(json.dumps(value, ensure_ascii=False))


def test_the_swift_one_reads_every_config_that_is_shipped():
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        assert readers_agree(path.read_text()), path


@pytest.mark.parametrize(
    "text",
    [
        "a:\tb",
        "a: |# no comment\n  x",
        "a: [b?c]",
        "a: {b: }",
        "? a\n: b",
        "a: \x7f",
        "a\x85b: c",
        "a: b\n\ufeff",
        "---",
        "a: [",
        "a: *b",
        '{"a": "\\ud83d\\ude00"}',
        "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "a: " + "[" * 100_000,
    ],
)
def test_what_they_differ_about_is_for_the_other_one(text):
    assert compose_with_libyaml(text) is None
    parse(text)


def test_an_alias_counts_as_deep_as_it_stands():
    readers_agree("a: &x [1]\nb: " + "[" * (MAX_DEPTH - 2) + "*x" + "]" * (MAX_DEPTH - 2))
    readers_agree("a: &x [1]\nb: " + "[" * (MAX_DEPTH - 1) + "*x" + "]" * (MAX_DEPTH - 1))
    readers_agree("a: &x [*x]")


def test_a_key_may_be_as_long_for_one_as_for_the_other():
    for length in range(1020, 1030):
        readers_agree("k" * length + ": 1")
        readers_agree("{" + '"' + "k" * length + '": 1}')
