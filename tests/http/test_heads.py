"""Heads that came before: the next one like it is recognised by its bytes, and nothing else is."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.http.heads import chunked, familiar

HEAD = b"POST /mcp HTTP/1.1\r\nHost: mesh\r\nContent-Length: %b\r\nAccept: */*\r\n\r\n"


def known(head: bytes = HEAD):
    found = familiar(head % b"5" + b"hello", "meaning")
    assert found is not None
    return found


def test_a_head_is_known_by_the_next_one_like_it_whatever_its_length() -> None:
    head = known()
    assert head.meaning == "meaning"
    for body in (b"", b"hello", b"x" * 100_000):
        data = HEAD % str(len(body)).encode() + body
        assert head.measure(data) == (len(data) - len(body), len(body))


def test_the_length_may_come_last_and_be_spelled_in_any_case() -> None:
    head = known(b"HTTP/1.1 200 OK\r\ncontent-LENGTH:%b\r\n\r\n")
    assert head.measure(b"HTTP/1.1 200 OK\r\ncontent-LENGTH:2\r\n\r\nhi") == (37, 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST /other HTTP/1.1\r\n",
        HEAD[: HEAD.index(b"%")],
        HEAD % b"",
        HEAD % b"+5",
        HEAD % b"5_0",
        HEAD % b" 5",
        HEAD % b"0x5",
        HEAD % b"5, 5",
        HEAD % b"12345678901",
        HEAD % "\u0665".encode(),
        (HEAD % b"5").replace(b"*/*", b"text/html"),
        (HEAD % b"5")[:-1],
    ],
)
def test_another_head_or_a_part_of_one_is_not_known(data: bytes) -> None:
    assert known().measure(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD[:-2] % b"5",
        b"GET / HTTP/1.1\r\nHost: mesh\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: %b\r\nContent-Length: 5\r\n\r\n" % (b"x" * 5000),
    ],
)
def test_a_head_that_does_not_tell_one_length_once_is_not_remembered(data: bytes) -> None:
    assert familiar(data, None) is None


class Reader:
    """What a parser makes of a head."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = True


def read(data: bytes) -> Reader:
    reader = Reader()
    httptools.HttpRequestParser(reader).feed_data(data)
    return reader


NAMES = st.sampled_from([b"Host", b"Accept", b"Mcp-Session-Id", b"X-Content-Length", b"MCP-Protocol-Version"])
VALUES = st.from_regex(rb"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6), st.integers(0, 6), st.binary(max_size=50), st.binary(max_size=50)
)
def test_what_is_known_is_what_a_parser_reads(fields, place, first: bytes, second: bytes) -> None:
    def spelled(body: bytes) -> bytes:
        lines = [b"%b: %b\r\n" % field for field in fields]
        lines.insert(place, b"Content-Length: %d\r\n" % len(body))
        return b"POST /mcp HTTP/1.1\r\n" + b"".join(lines) + b"\r\n" + body

    head = familiar(spelled(first), None)
    data = spelled(second)
    measured = None if head is None else head.measure(data)
    if measured is None:
        # Only what speaks of lengths elsewhere is left to the parser.
        assert any(b"content-length" in b": ".join(field).lower() for field in fields)
        return
    start, length = measured
    reader = read(data)
    assert (reader.whole, reader.body) == (True, data[start:])
    assert (length, start + length) == (len(second), len(data))
    assert [field for field in reader.headers if field[0] != b"Content-Length"] == fields


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_the_head_of_a_body_in_chunks_is_known_by_its_bytes() -> None:
    found = chunked(CHUNKED + b"5\r\nhello\r\n", "meaning")
    assert found is not None
    assert (found.head, found.meaning) == (CHUNKED, "meaning")


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED[:-1],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        CHUNKED.replace(b"chunked", b"gzip, chunked"),
        CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
        CHUNKED.replace(b"OK\r\n", b"OK\n"),
    ],
)
def test_a_head_that_says_anything_else_of_its_body_is_none_of_a_body_in_chunks(data: bytes) -> None:
    assert chunked(data, "meaning") is None
