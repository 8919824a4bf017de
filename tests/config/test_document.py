import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.document import MAX_NODES, parse, resolve, spell

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), inner, max_size=4)
    ),
    max_leaves=20,
)


def values(item):
    if isinstance(item.value, dict):
        return {key: values(child) for key, child in item.value.items()}
    if isinstance(item.value, list):
        return [values(child) for child in item.value]
    return item.value


def flaw(text):
    _, (found, *_) = parse(text)
    return found


@given(json_values, st.sampled_from([None, 2, "\t"]))
def test_json_is_yaml_whatever_its_indentation(value, indent):
    item, flaws = parse(json.dumps(value, indent=indent))
    assert not flaws
    assert values(item) == value


@given(st.text(alphabet=" \t\n-:{}[],&*!|>'\"%@`#?~ab01\\<.", max_size=40) | st.text(max_size=40))
def test_any_text_is_an_item_or_has_flaws_with_a_place(text):
    item, flaws = parse(text)
    for found in flaws:
        assert (
            1
            <= found.line
            <= text.count("\n")
            + text.count("\r")
            + text.count("\x85")
            + text.count("\u2028")
            + text.count("\u2029")
            + 2
        )
        assert found.column >= 1
        assert found.message
    assert item is None or item.line >= 1


@pytest.mark.parametrize(
    "text", ["yes", "No", "on", "OFF", "y", "1:30", "2024-01-01", "0777 ", "1_000", "=", "0b1", "1e", "."]
)
def test_what_yaml_1_1_took_for_something_else_is_text(text):
    assert resolve(text) == text
    item, _ = parse(f"a: '{text}'\nb: {text}")
    assert values(item)["b"] == text.strip() or text == "0777 "


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("Null", None),
        ("", None),
        ("010", 10),
        ("0o17", 15),
        ("0xFf", 255),
        ("-3", -3),
        ("+1.5e3", 1500.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("<<", "<<"),
    ],
)
def test_the_core_schema_is_read(text, value):
    assert resolve(text) == value
    assert values(parse(f"a: {text}")[0])["a"] == value


def test_every_value_knows_its_place_and_that_of_its_key():
    item, _ = parse("a: 1\nb:\n  - x\n  - 'k k':   y\n")
    found = item.find(("b", 1, "k k"))
    assert (found.key, found.line, found.column, found.key_line, found.key_column) == ('b[1]."k k"', 4, 14, 4, 5)
    assert item.find(("b", 7, "z")).key == "b"
    assert item.find(("b", 0, "z")).key == "b[0]"


def test_paths_are_spelled_for_a_reader():
    assert spell(("upstreams", "my docs", "args", 1)) == 'upstreams."my docs".args[1]'
    assert spell(('a"b\\',)) == '"a\\"b\\\\"'
    assert spell(()) == ""


def test_anchors_and_merges_are_expanded():
    item, flaws = parse("base: &b {a: 1, c: 2}\nlist: [*b]\nd:\n  <<: *b\n  c: 3\ne:\n  <<: [{a: 9}, *b]\n")
    assert not flaws
    assert values(item) == {
        "base": {"a": 1, "c": 2},
        "list": [{"a": 1, "c": 2}],
        "d": {"a": 1, "c": 3},
        "e": {"a": 9, "c": 2},
    }


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: 2\na: 3", (3, 1), "repeated key; it is set at line 1, column 1"),
        ('{"a": 1,\n "a": 2}', (2, 2), "repeated key"),
        ("a:\n\tb: 1", (2, 1), "a tab is not allowed here; YAML is indented with spaces"),
        ("a:\n  b: 1\n  \tc: 1", (3, 3), "tab"),
        ("x: &a [1, *a]", (1, 4), "contains itself"),
        ("x: &a {b: *a}", (1, 4), "contains itself"),
        ("a: *nope", (1, 4), "undefined alias"),
        ("a: 1\n---\nb: 2", (2, 1), "second document"),
        ("a: !!python/object:os.system x", (1, 4), "!!python/object:os.system is not supported"),
        ("a: !mine {}", (1, 4), "tag !mine"),
        ("a: !!set {b}", (1, 4), "!!set"),
        ("a: !!int x", (1, 4), "no whole number"),
        ("a: !!float x", (1, 4), "no number"),
        ("a: !!timestamp 2024-01-01", (1, 4), "!!timestamp"),
        ("? [a]\n: b", (1, 3), "a key must be text"),
        ("a:\n  <<: 5", (2, 7), "only a mapping can be merged"),
        ("a: b: c", (1, 5), "a colon that starts no value"),
        ("a: {b: ${C}}", (1, 8), "put a reference in quotes"),
        ("a: [x${C}]", (1, 6), "put a reference in quotes"),
        ("a: @b", (1, 4), "cannot begin with '@'"),
        ("a: [1\nb: 2", (2, 2), "which began at line 1"),
        ("a: 'b", (1, 6), "quoted scalar"),
        ("a: \x07", (1, 4), "U+0007"),
        ("a: \ud800", (1, 4), "U+D800"),
        ('a: "\\ud83d"', (1, 4), "surrogate"),
        ('"\\ud83d": 1', (1, 1), "surrogate"),
        ('a: "\\UFFFFFFFF"', (1, 7), "names no character"),
        ("[" * 10_000, (1, 65), "nested"),
        ("a: " + "9" * 5000, (1, 4), "too long"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text, place, message):
    found = flaw(text)
    assert (found.line, found.column) == place
    assert message in found.message


def test_the_rest_of_a_document_with_flaws_is_read():
    item, flaws = parse("a: 1\na: 2\nb: !x y\nc: 3")
    assert len(flaws) == 2
    assert values(item) == {"a": 1, "c": 3}


def test_an_anchor_bomb_is_refused_before_it_goes_off():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)
    )
    began = time.process_time()
    _, (found,) = parse(text)
    assert f"more than {MAX_NODES} values" in found.message
    assert time.process_time() - began < 30


def test_no_document_is_nothing_and_no_flaw():
    for text in ("", "\n", "# only a comment\n", "---\n# x\n"):
        item, flaws = parse(text)
        assert not flaws
        assert item is None or item.value is None
