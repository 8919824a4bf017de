"""Event streams as bytes, in any pieces, read a second time by the algorithm as the HTML standard words it (9.2.6)."""

import re
from typing import Any, Self

from hypothesis import strategies as st
from meshproxy.http.sse import SseParser
from tests.fuzz.mutation import mutated

_FIELD = st.sampled_from([b"data", b"event", b"id", b"retry", b"", b"Data", b"data ", b"other", b"\xef\xbb\xbfdata"])
_VALUE = st.sampled_from([b"", b" x", b"x", b"  x", b"1-2", b"15", b"+1", b"1_0", b"a\0b", b"\xff", b"{}", b"message"])
_LINE = st.one_of(
    st.builds(b"%b:%b".__mod__, st.tuples(_FIELD, _VALUE)),
    _FIELD,
    st.just(b""),
    st.just(b": ping"),
    st.just(b"data: x"),
)
_END = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])
_STREAM = st.lists(st.builds(lambda line, end: line + end, _LINE, _END), max_size=12).map(b"".join)


def events(stream: bytes) -> tuple[list[tuple[str, bytes]], str | None]:
    """Type and data of the events that hold anything, and the last id, line by line."""
    found: list[tuple[str, bytes]] = []
    kind, data, last, known = b"", [], None, None
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:  # what has no end is no line yet
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            known = last if last is not None else known
            if joined := b"\n".join(data):
                found.append((kind.decode("utf-8", "replace") or "message", joined))
            kind, data, last = b"", [], None
        elif name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
        elif name == b"id" and not re.search(rb"[\0-\x08\x0a-\x1f\x7f]", value) and len(value) <= 4096:
            last = value.decode("utf-8", "replace")
    return found, known


class Target:
    """A stream gives the same events however it is cut, and those are the standard's."""

    examples = 300

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def strategy(self) -> st.SearchStrategy[Any]:
        return st.tuples(mutated("event-streams", _STREAM), st.lists(st.integers(0, 200), max_size=5))

    def check(self, example: tuple[bytes, list[int]]) -> None:
        stream, cuts = example
        parser = SseParser(1 << 20)
        found, start = [], 0
        for cut in [*sorted(cuts), len(stream)]:
            found += parser.feed(stream[start : max(start, cut)])
            start = max(start, cut)
        wanted, last = events(stream)
        # A CR at the very end ends a line, whether or not a LF follows.
        assert [(event.event, event.data) for event in found] == wanted
        assert parser.last_event_id == last
