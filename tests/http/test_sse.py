"""Event streams: the WHATWG rules, however the bytes are cut, and in linear time."""

import re
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.http.sse import SseOverflow, SseParser, encode_event

SAMPLE = (
    b"\xef\xbb\xbf: a comment\r\nretry: 1500\r\nid: 1\r\ndata:\r\n\r\n"
    b'event: message\r\ndata: {"a":1}\r\n\r\n'
    b"event: endpoint\ndata: /messages?x=\xc3\xa9\n\n"
    b"data: one\rdata:two\rdata\rid: 3\rretry: 2s\r\r"
    b":\n\nunknown: x\nid: with\0null\ndata:  two spaces \n\n"
    b"data: cut off"
)
Event = tuple[str, bytes, str | None, int | None]

EVENTS: list[Event] = [
    ("message", b'{"a":1}', None, None),
    ("endpoint", "/messages?x=é".encode(), None, None),
    ("message", b"one\ntwo\n", "3", None),
    ("message", b" two spaces ", None, None),
]


class Reference:
    """The standard's algorithm, spelled out, over the whole stream at once."""

    def __init__(self, stream: bytes) -> None:
        text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self.events: list[Event] = []
        self.last_event_id: str | None = None
        self.retry: int | None = None
        kind, data, own_id, own_retry = "", b"", None, None
        for line in text.split(b"\n")[:-1]:
            if line == b"":
                if own_id is not None:
                    self.last_event_id = own_id
                if data not in (b"", b"\n"):
                    self.events.append((kind or "message", data[:-1], own_id, own_retry))
                kind, data, own_id, own_retry = "", b"", None, None
                continue
            name, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if name == b"event":
                kind = value.decode("utf-8", "replace")
            elif name == b"data":
                data += value + b"\n"
            elif name == b"id" and re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*", value):
                own_id = value.decode("utf-8", "replace")
            elif name == b"retry" and value and all(48 <= c <= 57 for c in value):
                self.retry = own_retry = int(value)


def fed(parser: SseParser, chunk: bytes) -> list[Event]:
    return [(event.event, event.data, event.id, event.retry) for event in parser.feed(chunk)]


def state(parser: SseParser | Reference) -> tuple[str | None, int | None]:
    return parser.last_event_id, parser.retry


def test_the_sample_reads_as_the_standard_says() -> None:
    parser = SseParser()
    assert fed(parser, SAMPLE) == EVENTS == Reference(SAMPLE).events
    assert state(parser) == ("3", 1500) == state(Reference(SAMPLE))


def test_a_stream_cut_at_any_byte_reads_the_same() -> None:
    for at in range(len(SAMPLE) + 1):
        parser = SseParser()
        assert fed(parser, SAMPLE[:at]) + fed(parser, SAMPLE[at:]) == EVENTS, at
        assert state(parser) == ("3", 1500)


def test_a_stream_cut_at_any_two_bytes_reads_the_same() -> None:
    stream = b"\xef\xbb\xbfid: 7\r\ndata: a\r\ndata: b\r\n\r\ndata: c\n\n"
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            parser = SseParser()
            pieces = (stream[:first], stream[first:second], stream[second:])
            events = [event for piece in pieces for event in fed(parser, piece)]
            assert events == [("message", b"a\nb", "7", None), ("message", b"c", None, None)], (first, second)


def test_a_stream_fed_byte_by_byte_reads_the_same() -> None:
    parser = SseParser()
    assert [event for byte in SAMPLE for event in fed(parser, bytes([byte]))] == EVENTS


FIELDS = b"data:|data: |data|id: |id|event: |retry: |:|x| |12|message".split(b"|")
PIECES = st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\n", b"\xef", b"\xbb", b"\xbf", b"\0", *FIELDS])


@given(chunks=st.lists(st.lists(PIECES).map(b"".join)), bom=st.booleans())
def test_any_stream_in_any_pieces_reads_as_the_reference_does(chunks: list[bytes], *, bom: bool) -> None:
    if bom:
        chunks = [b"\xef\xbb", b"\xbf", *chunks]
    parser, reference = SseParser(), Reference(b"".join(chunks))
    assert [event for chunk in chunks for event in fed(parser, chunk)] == reference.events
    assert state(parser) == state(reference)


def test_an_event_comes_at_its_last_line_end_even_if_that_is_half_a_crlf() -> None:
    parser = SseParser()
    assert fed(parser, b"data: a\r\n\r") == [("message", b"a", None, None)]
    assert fed(parser, b"\ndata: b\r\n\r\n") == [("message", b"b", None, None)]


def test_a_priming_event_is_not_delivered_but_its_id_is_known() -> None:
    parser = SseParser()
    assert fed(parser, b"id: stream-1\nretry: 300\ndata:\n") == []
    assert state(parser) == (None, 300)  # the id counts from the end of the event on
    assert fed(parser, b"\n") == []
    assert state(parser) == ("stream-1", 300)
    assert fed(parser, b"id\ndata: x\n\n") == [("message", b"x", "", None)]
    assert parser.last_event_id == ""  # taken back, as the standard says


def test_an_event_may_be_as_large_as_the_bound_and_no_larger() -> None:
    line = b"data: " + b"x" * 94  # 100 bytes
    assert SseParser(200).feed(line + b"\n" + line + b"\n\n")[0].data == b"x" * 94 + b"\n" + b"x" * 94
    with pytest.raises(SseOverflow, match="199 bytes"):
        SseParser(199).feed(line + b"\n" + line + b"\n\n")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_bound_holds_for_lines_that_never_end(size: int) -> None:
    for start in (b"data: ", b": ", b"id: "):
        parser = SseParser(500)
        parser.feed(b"data: ok\n\n" + start)
        with pytest.raises(SseOverflow):
            deque((parser.feed(b"x" * size) for _ in range(500 // size + 1)), maxlen=0)


def test_small_events_never_add_up_to_the_bound() -> None:
    parser = SseParser(100)
    for _ in range(50):
        assert len(parser.feed(b": ping\n\nid: 1\ndata: " + b"x" * 80 + b"\n\n")) == 1
        assert fed(parser, b": " + b"y" * 50 + b"\n") == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("size", "piece"), [(2_000_000, 1), (5_000_000, 65536)])
def test_a_long_line_takes_linear_time_however_it_is_cut(size: int, piece: int) -> None:
    """Reading again what was read before would take minutes here."""
    parser = SseParser()
    assert fed(parser, b"data: ") == []
    chunk = b"x" * piece
    for _ in range(size // piece):
        assert fed(parser, chunk) == []
    (event,) = parser.feed(b"\n\n")
    assert len(event.data) == size // piece * piece


@given(
    st.binary(),
    st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])),
    st.none() | st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs", "Cc"])),
    st.none() | st.integers(0, 10**9),
)
def test_what_is_written_is_read(data: bytes, event: str, own_id: str | None, retry: int | None) -> None:
    parser = SseParser()
    read = fed(parser, encode_event(data, event, own_id, retry))
    expected = b"\n".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    assert read == ([(event or "message", expected, own_id, retry)] if expected else [])
    assert state(parser) == (own_id, retry)


def test_a_message_is_written_plainly() -> None:
    assert encode_event(b"{}") == b"event: message\ndata: {}\n\n"
    assert encode_event(b"", id="1", retry=5) == b"id: 1\nevent: message\nretry: 5\ndata: \n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
def test_an_id_or_type_that_would_forge_fields_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_event(b"x", id=bad)
    with pytest.raises(ValueError, match="one line"):
        encode_event(b"x", event=bad)


@pytest.mark.parametrize("bad", [b"a\0b", b"\x01", b"a\x7f", b"x" * 4097])
def test_an_id_that_no_header_could_carry_is_none(bad: bytes) -> None:
    parser = SseParser()
    assert parser.feed(b"id: good\ndata: a\n\nid: " + bad + b"\ndata: b\n\n")[1].id is None
    assert parser.last_event_id == "good"
