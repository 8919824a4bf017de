"""Bytes cut into lines, however they come, and no more kept of a line than is allowed."""

import sys

import pytest
from meshproxy.links.large import KEPT
from meshproxy.links.lines import EARLY, Lines, LineTooLong


def test_lines_are_cut_alike_however_they_come() -> None:
    data = b"one\n\ntwo\r\nthree" + b"x" * 1000 + b"\nrest"
    whole = Lines(10_000).feed(data)
    for size in range(1, 40):
        lines = Lines(10_000)
        cut = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
        assert cut == whole == [b"one", b"", b"two\r", b"three" + b"x" * 1000]


def test_of_a_line_that_may_not_be_so_large_no_more_is_kept_than_its_ends() -> None:
    heads: list[bytes] = []
    left: list[tuple[bytes, bytes]] = []

    def judge(head: bytes) -> int:
        heads.append(head)
        return 1000 if head.startswith(b"small") else 1 << 20

    large = b"small" + b"x" * (3 * EARLY) + b"end"
    allowed = b"large" + b"y" * (3 * EARLY)
    data = b"before\n" + large + b"\n" + allowed + b"\nafter\n"
    for size in (7, 1000, EARLY, EARLY + 1, 2 * EARLY):
        lines = Lines(1 << 20, judge, lambda head, tail: left.append((head, tail)))
        cut = []
        for start in range(0, len(data), size):
            cut += lines.feed(data[start : start + size])
            assert sum(map(len, lines._parts)) <= len(allowed)
        assert cut == [b"before", allowed, b"after"]
        assert left == [(large[:KEPT], large[-KEPT:])]
        assert [head[:5] for head in heads] == [b"small", b"large"]
        left.clear()
        heads.clear()


def test_a_line_that_is_left_out_is_bounded_too() -> None:
    lines = Lines(4 * EARLY, lambda _: 10)
    for _ in range(4):
        assert lines.feed(b"x" * EARLY) == []
    with pytest.raises(LineTooLong):
        lines.feed(b"x")
    lines = Lines(4 * EARLY, lambda _: 10)
    assert lines.feed(b"x" * 2 * EARLY) == []
    assert lines.feed(b"\nnext\n") == [b"next"]


def test_a_line_without_end_is_bounded() -> None:
    lines = Lines(10)
    assert lines.feed(b"x" * 10) == []
    with pytest.raises(LineTooLong):
        lines.feed(b"x")


def test_nothing_is_kept_of_a_line_that_never_ended() -> None:
    lines, piece = Lines(150), b"x" * 100
    before = sys.getrefcount(piece)
    lines.feed(piece)
    with pytest.raises(LineTooLong):
        lines.feed(piece)
    assert sys.getrefcount(piece) == before
    lines.feed(piece)
    lines.clear()
    assert sys.getrefcount(piece) == before


def test_a_large_line_that_is_left_out_needs_nobody_who_is_told() -> None:
    lines = Lines(4 * EARLY, lambda _: 10)
    assert lines.feed(b"x" * 2 * EARLY + b"\nnext\nre") == [b"x" * 2 * EARLY, b"next"]
    assert lines.feed(b"st" + b"y" * 2 * EARLY) == []
    assert lines.feed(b"y") == []
    assert lines.feed(b"\n") == []
