"""What a session's streams have said lately, so that a client whose connection broke can have the rest. Place: serving.

Source: 2025-11-25 basic/transports, "Resumability and Redelivery". An event's id names its stream and its place in the session,
"<stream>-<place>"; it means nothing outside its session.
"""

from collections import deque
from typing import Final

from meshproxy.http.sse import encode_event

__all__ = ["STANDALONE", "EventLog", "parse_event_id"]

STANDALONE: Final = 0
"""The number of the stream that a GET opens; each request's stream has one of its own."""


def parse_event_id(text: str) -> tuple[int, int] | None:
    """The stream and the place that an id of ours names; None for any other text."""
    stream, dash, place = text.partition("-")
    # Bounded, since int() of a long text is slow; isascii, since isdigit admits digits that int() reads and we never wrote.
    if not dash or len(text) > 40 or not text.isascii() or not (stream.isdigit() and place.isdigit()):
        return None
    return int(stream), int(place)


class EventLog:
    """The last events of one session: at most `max_bytes` of them (but always the newest), and at most `max_count`."""

    __slots__ = ("_events", "_mark", "_place", "_size", "max_bytes", "max_count")

    def __init__(self, max_bytes: int, max_count: int) -> None:
        self.max_bytes = max_bytes
        self.max_count = max_count
        self._events: deque[tuple[int, int, bytes]] = deque()
        self._size = 0
        self._place = 0
        self._mark = 0

    def __len__(self) -> int:
        return len(self._events)

    def append(self, stream: int, data: bytes, retry: int | None = None) -> bytes:
        """Keep an event with this data, empty for one that only primes, and return it encoded with its id."""
        self._place += 1
        event = encode_event(data, id=f"{stream}-{self._place}", retry=retry)
        self._events.append((stream, self._place, event))
        self._size += len(event)
        while len(self._events) > 1 and (self._size > self.max_bytes or len(self._events) > self.max_count):
            self._drop()
        return event

    def after(self, stream: int, place: int) -> list[bytes]:
        """The events of a stream that came after a place, in order, as far as they are still kept."""
        return [event for number, at, event in self._events if number == stream and at > place]

    def issued(self, place: int) -> bool:
        """Whether an event of this place was ever made."""
        return 0 < place <= self._place

    def age(self) -> None:
        """Forget what was there already when this was last called: what nobody came back for is not kept for ever."""
        while self._events and self._events[0][1] <= self._mark:
            self._drop()
        self._mark = self._place

    def _drop(self) -> None:
        self._size -= len(self._events.popleft()[2])
