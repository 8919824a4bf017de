"""Chunks that come whole and plain: each means what RFC 9112, 7.1 says, and whatever is not one is left to the parser."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.http.chunks import whole_chunk

PLAIN = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")


def by_the_grammar(data: bytes, start: int) -> tuple[int, int] | None:
    """The same, the long way."""
    size = PLAIN.match(data, start)
    if size is None:
        return None
    begin, after = size.end(), size.end() + int(size[1], 16)
    return (begin, after) if data[after : after + 2] == b"\r\n" else None


@given(st.binary(max_size=40), st.integers(0, 5))
def test_any_bytes_mean_what_the_grammar_says(data: bytes, start: int) -> None:
    assert whole_chunk(data, start) == by_the_grammar(data, start)


@given(
    st.lists(st.sampled_from([b"0", b"5", b"a", b"F", b"\r\n", b"\n", b"hello", b";x", b" ", b"00000000"])),
    st.integers(0, 5),
)
def test_what_is_nearly_a_chunk_means_what_the_grammar_says(pieces: list[bytes], start: int) -> None:
    data = b"".join(pieces)
    assert whole_chunk(data, start) == by_the_grammar(data, start)


@given(st.binary(max_size=300), st.booleans())
def test_a_chunk_is_found_with_either_case_of_digits(payload: bytes, large: bool) -> None:  # noqa: FBT001  # drawn
    size = (b"%X" if large else b"%x") % len(payload)
    data = b"before" + size + b"\r\n" + payload + b"\r\nafter"
    begin = 6 + len(size) + 2
    assert whole_chunk(data, 6) == (begin, begin + len(payload))


@pytest.mark.parametrize(
    "data", [b"", b"5", b"5\r\nhell", b"5\r\nhello", b"5\r\nhello\r", b"5\nhello\r\n", b"5;x\r\nhello\r\n", b"\r\n"]
)
def test_a_part_of_a_chunk_or_one_with_an_extension_is_none(data: bytes) -> None:
    assert whole_chunk(data, 0) is None
