"""What is kept of the past, and for how long."""

import pytest
from meshproxy.serving.events import EventLog, parse_event_id


def log(max_bytes: int = 10_000, max_count: int = 100) -> EventLog:
    return EventLog(max_bytes, max_count)


def test_an_event_has_an_id_that_names_its_stream_and_its_place() -> None:
    events = log()
    first, second = events.append(3, b"{}"), events.append(4, b"")
    assert first == b"id: 3-1\nevent: message\ndata: {}\n\n"
    assert second == b"id: 4-2\nevent: message\ndata: \n\n"
    assert b"retry: 500\n" in events.append(4, b"", 500)
    assert parse_event_id("3-1") == (3, 1)


@pytest.mark.parametrize(
    "text", ["", "1", "-", "1-", "-1", "a-1", "1-a", "1--1", "1-1-1", "٣-1", f"1-{'9' * 5000}", "1- 1"]
)
def test_an_id_that_was_never_ours_names_nothing(text: str) -> None:
    assert parse_event_id(text) is None


def test_what_came_after_a_place_is_that_of_the_stream_alone() -> None:
    events = log()
    said = [events.append(stream, b"%d" % number) for number, stream in enumerate((1, 2, 1, 1, 2))]
    assert events.after(1, 1) == [said[2], said[3]]
    assert events.after(2, 0) == [said[1], said[4]]
    assert events.after(3, 0) == []
    assert events.issued(5)
    assert not events.issued(6)
    assert not events.issued(0)


def test_the_oldest_go_when_there_are_too_many() -> None:
    events = log(max_count=2)
    said = [events.append(1, b"%d" % number) for number in range(4)]
    assert events.after(1, 0) == said[2:]


def test_the_oldest_go_when_they_are_too_large_but_the_newest_stays() -> None:
    events = log(max_bytes=100)
    events.append(1, b"x" * 50)
    events.append(1, b"y" * 50)
    assert len(events) == 1
    largest = events.append(1, b"z" * 500)
    assert events.after(1, 0) == [largest]


def test_what_nobody_came_back_for_is_forgotten_at_the_second_time() -> None:
    events = log()
    events.append(1, b"old")
    events.age()
    young = events.append(1, b"young")
    events.age()
    assert events.after(1, 0) == [young]
    events.age()
    assert len(events) == 0
    assert events.issued(2)
