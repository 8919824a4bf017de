import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.limits import MAX_CUT, MAX_DEPTH, LimitError
from meshproxy.wire.codec import (
    EMPTY,
    JsonError,
    Raw,
    dumps,
    loads,
    mapping,
    members,
    on_one_line,
    opened,
    outline,
    shallow,
    shallow_list,
    text,
    whole,
)

DEEP = b"[" * 100_000 + b"]" * 100_000
DEEPER = b"[" * 2000 + b"]" * 2000
OTHER_CODES = ['["x"]'.encode("utf-16"), '{"a":1}'.encode("utf-16-le")]
ODD_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ODD_TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(ODD_TEXT, inner), max_leaves=10)
INDENTS = st.sampled_from([None, 0, 2, "\t"])


def spelled(parts):
    return [bytes(part).strip() for part in parts]


@given(JSON)
def test_any_json_is_decoded_as_the_standard_library_decodes_it(value):
    text = json.dumps(value).encode()
    assert loads(text) == value
    assert loads(Raw(text)) == value


def test_numbers_beyond_a_double_and_lone_surrogates_are_json():
    assert loads(rb'[1E400, -1e400, "\ud800"]') == [math.inf, -math.inf, "\ud800"]


@given(st.dictionaries(ODD_TEXT, JSON), INDENTS)
def test_an_object_is_opened_by_one_level(value, indent):
    fields = shallow(json.dumps(value, indent=indent).encode())
    assert {key: json.loads(bytes(item)) for key, item in fields.items()} == value
    assert [*fields] == [*value]
    assert json.loads(dumps(fields)) == value


@given(st.lists(JSON), INDENTS)
def test_an_array_is_opened_by_one_level(value, indent):
    items = shallow_list(Raw(json.dumps(value, indent=indent).encode()))
    assert [json.loads(bytes(item)) for item in items] == value


def test_what_is_not_looked_at_keeps_its_spelling_even_beside_a_lone_surrogate():
    items = [rb'"\ud800"', b"1E400", b"1.0e5", b"-0", b"36893488147419103232", rb'{"a" : "\u00e9\/"}', b"null"]
    assert spelled(shallow_list(b" [ " + b" , ".join(items) + b" ] ")) == items
    text = b'{"\\ud800" : ' + b' , "x" : '.join(items) + b"}"
    assert [*shallow(text)] == ["\ud800", "x"]
    assert members(rb'{"a":"\ud800","\u0061":2}') == [("a", Raw(rb'"\ud800"')), ("a", Raw(b"2"))]
    assert spelled(shallow(b'{"a":"\\ud800","b" : 1E400}').values()) == [rb'"\ud800"', b"1E400"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"nul", b"NaN", b"[1,]", b'{"a":1}x', b'"\xff"', b"[-Infinity]", DEEP, *OTHER_CODES]
)
def test_what_is_no_json_is_refused(text):
    for decode in (loads, shallow, shallow_list):
        with pytest.raises(JsonError):
            decode(text)


def test_half_a_character_in_utf_8_is_no_text():
    with pytest.raises(JsonError):
        loads(b'{"a":"\xed\xa0\x80"}')


@pytest.mark.parametrize("text", [b"1", rb'"\ud800"', b"null"])
def test_another_shape_is_refused(text):
    for decode in (shallow, shallow_list):
        with pytest.raises(JsonError):
            decode(text)
    with pytest.raises(JsonError):
        shallow(rb'["\ud800"]')
    with pytest.raises(JsonError):
        shallow_list(rb'{"a":"\ud800"}')


def test_undecoded_parts_are_encoded_as_the_bytes_that_came():
    assert dumps({"a": Raw(b"1.0e5"), "b": [Raw(b"null")]}) == b'{"a":1.0e5,"b":[null]}'
    assert (
        dumps({"a": (Raw(b"1E400"), "\ud800", 1.5), "b": [Raw(b"null")]}) == rb'{"a":[1E400,"\ud800",1.5],"b":[null]}'
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [(Raw(b'"a"'), "a"), ("a", "a"), (Raw(b"1"), None), (None, None), (Raw(b"[" * 999 + b"]" * 999), None)],
)
def test_a_string_is_opened_and_nothing_else(value, found):
    assert text(value) == found


def test_a_value_is_opened_once():
    assert opened(Raw(b"[1]")) == [1]
    assert opened([1]) == [1]


def test_only_an_object_is_a_mapping():
    assert mapping(EMPTY) == {}
    assert mapping({"a": 1}) == {"a": 1}
    assert mapping(Raw(b"[]")) is None
    assert mapping("a") is None


def test_what_is_decoded_whole_has_a_depth():
    for level in (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH):
        assert loads(level) == whole(level)
        for deeper in (b"[%b]" % level, b'{"x":%b}' % level):
            with pytest.raises(LimitError, match=f"deeper than {MAX_DEPTH} levels"):
                loads(deeper)
            assert whole(deeper)
    with pytest.raises(LimitError, match="deeper than 2 levels"):
        loads(b"[[[]]]", 2)
    assert loads(b"[" + b'"[{",' * MAX_DEPTH + b"[]]")
    assert loads(b"[" + b"[],{}," * MAX_DEPTH + b"1]")


@pytest.mark.parametrize("text", [DEEP, b'{"\\ud800":' + DEEP + b"}", b'["\\ud800",' + DEEP + b"]"])
def test_what_is_deeper_than_a_decoder_goes_is_refused_as_that(text):
    for decode in (loads, whole, *((shallow,) if text[:1] == b"{" else (shallow_list,))):
        with pytest.raises(LimitError, match="nested deeper"):
            decode(text)


def test_the_outline_of_what_is_too_deep_is_found_by_its_brackets():
    assert outline(b' {"a" : 1, "b":[2]}') == shallow(b' {"a" : 1, "b":[2]}')
    assert outline(b"[1, [2]]") == shallow_list(b"[1, [2]]")
    assert outline(b'{"\\u0061" : "]}[{\\"", "b":' + DEEP + b' , "c":[]}') == {
        "a": Raw(b'"]}[{\\""'),
        "b": Raw(DEEP),
        "c": Raw(b"[]"),
    }
    assert outline(b"[" + DEEP + b',\n1.5 ,"x",null]') == [Raw(DEEP), Raw(b"1.5"), Raw(b'"x"'), Raw(b"null")]


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b"1",
            b'"a"',
            b"{",
            DEEP[:-1],
            DEEP + b"]",
            DEEP + b" 1",
            b'{"a"' + DEEP[:-1] + b"}",
            b"[" + DEEP + b'"]',
        ),
        *(
            b"{1:" + DEEP + b"}",
            b'{"a":' + DEEP + b",1:2}",
            b'{"a":1,' + DEEP + b"}",
            b"{" + DEEP + b":1}",
            b"[" * MAX_CUT + b"]" * MAX_CUT,
        ),
    ],
)
def test_what_has_no_outline_is_refused(text):
    with pytest.raises(JsonError):
        outline(text)


@given(st.one_of(st.lists(JSON), st.dictionaries(ODD_TEXT, JSON)), INDENTS)
def test_parts_found_by_brackets_are_those_that_a_decoder_finds(value, indent):
    text = json.dumps(value, indent=indent).encode()
    deep = (
        text.rstrip()[:-1]
        + (b"," if value else b"")
        + (b'"deep":' if isinstance(value, dict) else b"")
        + DEEPER
        + text[-1:]
    )
    found = outline(deep)
    if isinstance(value, dict):
        assert {key: json.loads(bytes(part)) for key, part in found.items() if key != "deep"} == {
            key: item for key, item in value.items() if key != "deep"
        }
    else:
        assert [json.loads(bytes(part)) for part in found[:-1]] == value


def test_a_text_is_put_on_one_line() -> None:
    pretty = b'{\r\n  "a": "\\n"\n}'
    assert on_one_line(pretty) == b'{    "a": "\\n" }'
    assert on_one_line(b'{"a":1}') == b'{"a":1}'
