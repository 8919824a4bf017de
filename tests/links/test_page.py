"""A page of a listing is taken apart so that what cannot be used of it costs itself alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.kinds import KINDS, Kind
from meshproxy.limits import MAX_CUT, MAX_DEFINITION, MAX_DEFINITION_DEPTH
from meshproxy.links.page import read_page
from meshproxy.wire.codec import Raw

TOOLS = KINDS[Kind.TOOL]
GOOD = b'{"name":"good","inputSchema":{"type":"object"}}'


def deep(levels: int) -> bytes:
    """A tool with so many arrays and objects in each other."""
    return b'{"inputSchema":' + b'{"a":' * (levels - 1) + b"1" + b"}" * (levels - 1) + b', "name":"deep"}'


def page(*items: bytes, rest: bytes = b"") -> Any:
    return read_page(Raw(b'{"tools":[' + b",".join(items) + b"]" + rest + b"}"), TOOLS)


@pytest.mark.parametrize("levels", [MAX_DEFINITION_DEPTH + 1, 500, 970, 1000, 5000, 100_000])
def test_a_definition_that_is_too_deep_costs_itself_alone(levels: int) -> None:
    read = page(GOOD, deep(levels), GOOD, rest=b',"nextCursor":"2"')
    assert [item["name"] for item in read.items] == ["good", "good"]
    assert [name for name, _ in read.refused] == ["deep"]
    assert "nested deeper" in read.refused[0][1]
    assert read.rest == {"nextCursor": "2"}


def test_a_definition_of_the_depth_and_size_that_are_allowed_is_used() -> None:
    large = b'{"name":"large","description":"%b"}' % (b"x" * (MAX_DEFINITION - 33))
    assert len(large) == MAX_DEFINITION
    assert [item["name"] for item in page(deep(MAX_DEFINITION_DEPTH), large).items] == ["deep", "large"]


def test_a_definition_that_is_too_large_costs_itself_alone() -> None:
    read = page(GOOD, b'{"name":"large","x":"' + b"x" * MAX_DEFINITION + b'"}')
    assert len(read.items) == 1
    assert read.refused == [("large", f"it is larger than {MAX_DEFINITION} bytes")]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (b'{"name":"huge","x":' + b"9" * 5000 + b"}", "huge"),
        (b'{"name":["a"],"x":' + b"9" * 5000 + b"}", ""),
        (b"[" * 2000 + b"]" * 2000, ""),
        (b'{"name":' * 2000 + b"1" + b"}" * 2000, ""),
    ],
)
def test_what_cannot_be_read_is_named_as_far_as_it_has_a_name(item: bytes, name: str) -> None:
    read = page(GOOD, item)
    assert len(read.items) == 1
    assert [named for named, _ in read.refused] == [name]


@pytest.mark.parametrize("null", [b"null", b" null "])
def test_a_list_that_was_never_made_is_empty(null: bytes) -> None:
    assert read_page(Raw(b'{"tools":%b}' % null), TOOLS) == ([], [], {})


@pytest.mark.parametrize(
    "result",
    [
        *(b"[]", b"3", b"{}", b'{"tools":{}}', b"{", b'{"tools":[}', b"[" * 2000 + b"]" * 2000),
        b'{"tools":[' + b"[" * 2000 + b"]" * 1999 + b"]}",
        b'{"tools":[],"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"tools":[' + b"[" * MAX_CUT + b"]" * MAX_CUT + b"]}",
    ],
)
def test_a_page_without_a_list_is_none(result: bytes) -> None:
    assert read_page(Raw(result), TOOLS) is None


@given(st.lists(st.sampled_from([GOOD, deep(1500), b"null", b" 1 ", b'"a"', b'{ "name" : "\\ud800" }']), max_size=5))
def test_what_is_used_of_a_page_is_what_a_decoder_makes_of_it(items: list[bytes]) -> None:
    read = page(*items)
    assert read.items == [json.loads(item) for item in items if b"deep" not in item]
    assert len(read.refused) == sum(b"deep" in item for item in items)
