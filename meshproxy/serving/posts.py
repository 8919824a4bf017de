"""`Posts`: what clients post, of either era, as far as nothing has to be waited for. Place: serving, under `http`."""

import time
from collections.abc import Mapping
from typing import Final, TypeAlias

from meshproxy.access.access import Entrance
from meshproxy.http.server_request import Head, Request
from meshproxy.serving.doors import Doors
from meshproxy.serving.exchange import HttpExchange
from meshproxy.serving.legacy_exchange import LegacyPosts
from meshproxy.serving.modern import ModernPosts
from meshproxy.serving.reply import Reply
from meshproxy.serving.seen import Seen

__all__ = ["Admission", "Posts", "admission"]

Admission: TypeAlias = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
"""All of a head that decides whether a request may be looked at."""
_REMEMBERED: Final = 256


class Posts:
    """Takes messages. `max_body` are the bytes of one.

    Attributes:
        legacy: those of the legacy era.
        modern: those of the modern one.
        passed: the admissions of heads that were looked at and may pass.
        is_closed: nothing is taken any more.
    """

    __slots__ = ("_doors", "_entrance", "_max_body", "is_closed", "legacy", "modern", "passed")

    def __init__(
        self, legacy: LegacyPosts, modern: ModernPosts, entrance: Entrance, doors: Doors, max_body: int
    ) -> None:
        self.legacy = legacy
        self.modern = modern
        self.passed: set[Admission] = set()
        self.is_closed = False
        self._entrance = entrance
        self._doors = doors
        self._max_body = max_body

    def take(self, head: Head, body: bytes, request: Request) -> bool:
        """See `meshproxy.http.server_request.Take`: a message whose head holds nothing new."""
        seen: Seen | None = head.seen
        if (
            seen is None
            or seen.access is not self._entrance.access
            or (seen.expires != 0.0 and time.time() >= seen.expires)
        ):
            seen = head.seen = self._look_at(head)
        if seen is None or self.is_closed or len(body) > self._max_body:
            return False
        self.post(seen, body, request)
        return True

    def post(self, seen: Seen, body: bytes, reply: Reply) -> HttpExchange | None:
        """Take a message of a client; the request, if it is one that a handler answers."""
        return self.legacy.post(seen, body, reply) if seen.is_legacy else self.modern.post(seen, body, reply)

    def remember(self, passed: Admission) -> None:
        """A head with such an admission may pass."""
        if len(self.passed) >= _REMEMBERED:
            self.passed.clear()
        self.passed.add(passed)

    def _look_at(self, head: Head) -> Seen | None:
        scope = head.scope
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        headers = dict(raw)
        if scope["method"] != "POST" or len(headers) != len(raw):
            return None
        # What is answered at once has no room for what a browser wants to be told.
        if b"origin" in headers or admission(headers, "POST") not in self.passed:
            return None
        visitor = self._doors.at_once(scope)
        if visitor is None:
            return None
        return Seen(visitor, self._entrance.access, visitor.principal.expires, headers, raw)


def admission(headers: Mapping[bytes, bytes], method: str) -> Admission:
    """That of a request with these headers."""
    return (
        headers.get(b"host"),
        headers.get(b"origin"),
        headers.get(b"accept"),
        headers.get(b"content-type") if method == "POST" else None,
    )
