"""Event streams whose head came before on their connection: chunks that come whole are read without a parser, and mean what they mean to one."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from meshproxy.http.chunks import whole_chunk
from meshproxy.http.client_connection import Connection
from meshproxy.http.heads import chunked
from meshproxy.http.response import Response
from meshproxy.http.transport_errors import TransportError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: 1\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = chunk(b"")
WHOLE = HEAD + chunk(EVENT) + LAST


class Wire(asyncio.Transport):
    """What a connection writes to, which goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        self.is_over = True

    abort = close

    def write(self, data: Any) -> None:
        pass

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Peer:
    """A connection without a server: what comes of the bytes that it is given."""

    def __init__(self, *, release: bool = False) -> None:
        self.wire = Wire()
        self.is_idle = False
        self.connection = Connection("peer:1", self._on_idle, lambda *_: None, lambda *_: None)
        self.connection.connection_made(self.wire)
        self._release = release

    def _on_idle(self, _: Connection, __: bytes | None) -> None:
        self.is_idle = True

    def ask(self) -> None:
        self.said = b""
        self.told: list[str | None] = []
        self.is_idle = False
        self.connection.run(self, b"POST / HTTP/1.1\r\n\r\n", b"")

    def take(self, headers: dict[bytes, bytes], data: bytes, start: int) -> None:
        raise AssertionError("an event stream is no plain answer")

    def unroll(self, connection: Connection) -> Response:
        self.response = Response(connection, lambda *_: None, self.on_head, False, None)
        return self.response

    def on_head(self, response: Response) -> None:
        assert response.is_event_stream
        response.on_data(self._on_data, self._on_end)

    def _on_data(self, data: bytes) -> None:
        self.said += data
        if self._release:
            self.response.release()

    def _on_end(self, error: TransportError | None) -> None:
        self.told.append(None if error is None else str(error))

    def read(self, pieces: Iterable[bytes]) -> tuple[Any, ...]:
        for piece in pieces:
            if not self.wire.is_over:
                self.connection.data_received(piece)
        return self.said, self.told, self.is_idle, self.wire.is_over


def asked_again(*, release: bool = False) -> Peer:
    """One that has read an event stream, and waits for the answer to the next request."""
    peer = Peer(release=release)
    peer.ask()
    peer.read([WHOLE])
    assert peer.is_idle
    peer.ask()
    return peer


def asked(*, release: bool = False) -> Peer:
    peer = Peer(release=release)
    peer.ask()
    return peer


@pytest.mark.parametrize(
    "pieces",
    [
        [WHOLE],
        [HEAD, chunk(EVENT), LAST],
        [HEAD + chunk(EVENT), chunk(EVENT) + LAST],
        [HEAD + chunk(EVENT) + chunk(EVENT), LAST],
    ],
)
def test_a_stream_with_a_head_that_came_before_needs_no_parser(pieces: list[bytes]) -> None:
    peer = asked_again()
    peer.connection._parser = None  # the point: nobody misses it
    said, told, is_idle, is_over = peer.read(pieces)
    assert (said, told, is_idle, is_over) == (EVENT * b"".join(pieces).count(EVENT), [None], True, False)


SIZES = [b"%x", b"%X", b"0%x", b"+%x", b"%x ", b"%x;a=b", b"0x%x", b"%x\r\nX: y", b"", b"f" * 9 + b"%x"]


@st.composite
def bodies(draw: Any) -> bytes:
    data = b""
    for payload in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4)):
        size = draw(st.sampled_from([b"%x"] * 10 + SIZES)).replace(b"%x", b"%x" % len(payload))
        data += size.replace(b"%X", b"%X" % len(payload)) + draw(st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"]))
        data += payload + draw(st.sampled_from([b"\r\n"] * 8 + [b"\n", b"", b"xx"]))
    data += draw(st.sampled_from([LAST] * 6 + [b"", b"00\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0;a\r\n\r\n", b"0\r\n"]))
    return data + draw(st.sampled_from([b""] * 6 + [b"HTTP/1.1 200 OK\r\n", b"x"]))


@given(bodies(), st.lists(st.integers(0, 150), max_size=4), st.booleans())
@example(chunk(EVENT) + LAST, [], True)
@example(chunk(EVENT) + LAST, [len(HEAD) + 3], False)
def test_whatever_comes_means_what_it_means_to_a_parser(body: bytes, cuts: list[int], release: bool) -> None:  # noqa: FBT001
    data = HEAD + body
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places) if data[a:b]]
    known, parsed = asked_again(release=release).read(pieces), asked(release=release).read(pieces)
    assert known == parsed


@pytest.mark.parametrize(
    "data",
    [
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"5\r\nhelloxx",
        b"5\nhello\r\n",
        b"\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"000000005\r\nhello\r\n",
        b"",
        b"5",
    ],
)
def test_a_chunk_that_is_not_whole_or_not_plain_is_left_alone(data: bytes) -> None:
    assert whole_chunk(b"before" + data, 6) is None


def test_a_whole_chunk_is_found_where_it_begins() -> None:
    assert whole_chunk(b"xxA\r\n0123456789\r\n0\r\n\r\n", 2) == (5, 15)
    assert whole_chunk(b"0b\r\nhello\nworld\r\n", 0) == (4, 15)
    assert whole_chunk(LAST, 0) == (3, 3)


@pytest.mark.parametrize(
    "head",
    [
        HEAD[:-2],
        HEAD.replace(b"Transfer-Encoding: chunked\r\n", b""),
        HEAD.replace(b"chunked", b"gzip, chunked"),
        HEAD.replace(b"Transfer", b"Content-Length: 5\r\nTransfer"),
        HEAD.replace(b"Transfer", b"Transfer-Encoding: chunked\r\nTransfer"),
        HEAD.replace(b"\r\n", b"\n") + b"1\r\n\r\n",
        b"X: y\r\n" * 1000 + HEAD,
    ],
)
def test_a_head_that_leaves_a_doubt_is_not_remembered(head: bytes) -> None:
    assert chunked(head, None) is None


def test_a_head_is_remembered_to_its_last_byte() -> None:
    found = chunked(HEAD + b"0\r\n\r\n", "meaning")
    assert found is not None
    assert (found.head, found.meaning) == (HEAD, "meaning")
