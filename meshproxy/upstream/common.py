"""`Common`: one link that several clients use; who calls over it now, and whose it has become. Place: upstream; what waits for a place is in `waiting`.

A program does not say which of the calls under way a log line or a question of its is about. So it matters who is there at the same time, and since
a program remembers what it was told to do, it matters who was there before: a client that has used a link finds there, and nowhere else, the
page that it opened.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from meshproxy.links.call import Call
from meshproxy.links.known import Known
from meshproxy.links.link import Link
from meshproxy.relay.call import Lease
from meshproxy.relay.downstream import Downstream
from meshproxy.upstream.uses import Uses
from meshproxy.wire.protocol import Era

__all__ = ["NOBODY_IN_PARTICULAR", "Common", "heard"]

NOBODY_IN_PARTICULAR: Final = ""
"""The callers that have no session. They count as one client, since nobody can tell which of them has called before."""


class _Seat:
    """A call that is under way: whose it is, whether it uses something for the first time, and whether it must be alone."""

    __slots__ = ("is_alone", "is_first", "key")

    def __init__(self, key: str, *, is_first: bool, is_alone: bool) -> None:
        self.key = key
        self.is_first = is_first
        self.is_alone = is_alone


class Common:
    """A link that several clients use.

    `known` says whether the upstream talks, and `tried` holds what was used before without a question; both belong to the upstream. `on_unused` is
    called whenever the last of those who have used the link is gone.

    Attributes:
        link: the link.
        residents: the clients that have used it, by their keys; None stands for callers without a session.
        known: what was found out about the upstream.
        seats: the calls under way.
        waiting: set whenever somebody has left.
        queue: the clients whose calls come one after another, in the order of arrival.
    """

    def __init__(self, link: Link, known: Known, tried: Uses, on_unused: Callable[[], None] = lambda: None) -> None:
        self.link = link
        self.residents: dict[str, Downstream | None] = {}
        self.known = known
        self._tried = tried
        self._on_unused = on_unused
        self.seats: dict[Lease, _Seat] = {}
        self._alone = 0
        self._forget: dict[str, Callable[[], None]] = {}
        self.waiting: set[asyncio.Event] = set()
        self.queue: deque[str] = deque()

    @property
    def is_used(self) -> bool:
        """Whether somebody calls over it, or has called and may come back."""
        return bool(self.seats or self.residents)

    @property
    def is_busy(self) -> bool:
        """Whether somebody calls over it now."""
        return bool(self.seats)

    def is_of(self, downstream: Downstream) -> bool:
        """Whether a client has used it before."""
        return _name(downstream) in self.residents

    @property
    def sole_resident(self) -> Downstream | None:
        """The one session that has ever used it; None if there were several, or callers without a session."""
        return next(iter(self.residents.values())) if len(self.residents) == 1 else None

    def admit(self, downstream: Downstream) -> None:
        """A client has something there from now on, without a call: it waits for what happens to a resource."""
        name = _name(downstream)
        if name not in self.residents:
            self._move_in(name, downstream)

    def join(self, downstream: Downstream, use: object) -> Lease | None:
        """A place beside others for a call of `use`, if there may be one now.

        As long as the upstream has not talked: unless two clients would use something for the first time, since nobody knows yet that it does not
        ask. Once it has: for those who have used the link before, while no other client's call is under way.
        """
        key = downstream.key
        if self.known.talks:
            if not self.is_of(downstream) or self._is_taken(key):
                return None
            return self._seat(downstream, use)
        # What the modern era asks comes with its call.
        is_first = self.link.era is Era.LEGACY and use not in self._tried
        if (is_first or self._alone) and any(
            seat.key != key and (seat.is_alone or (is_first and seat.is_first)) for seat in self.seats.values()
        ):
            return None
        return self._seat(downstream, use, is_first)

    def join_anyway(self, downstream: Downstream, use: object, *, is_first: bool) -> Lease | None:
        """As `join`, without caution about first uses."""
        return None if self.known.talks else self._seat(downstream, use, is_first)

    def alone(self, downstream: Downstream) -> Lease | None:
        """A place for a call that must have whatever is said for itself; None if another's call may be what it is said of."""
        return None if self._is_taken(downstream.key) else self._seat(downstream, None, False, True)

    def is_free_for(self, downstream: Downstream) -> bool:
        """Whether a caller without a session may have it for itself: no client that has used it would miss what it did."""
        return not self._is_taken(downstream.key) and (not self.residents or self.is_of(downstream))

    def changed(self) -> None:
        """Let those who wait look again."""
        for waiting in self.waiting:
            waiting.set()

    def end(self) -> None:
        """The link has ended, and what clients did there with it."""
        self._on_unused = lambda: None
        forget, self._forget = self._forget, {}
        for callback in forget.values():
            callback()
        self.residents.clear()
        self.changed()

    def _seat(
        self,
        downstream: Downstream,
        use: object,
        is_first: bool = False,  # noqa: FBT001, FBT002  # a keyword costs
        is_alone: bool = False,  # noqa: FBT001, FBT002
    ) -> Lease:
        self.admit(downstream)
        lease = Lease(self.link)
        lease.given = partial(self._leave, lease)
        if is_first:
            lease.on_asked = partial(self._told_apart, lease, use)
        self.seats[lease] = _Seat(downstream.key, is_first=is_first, is_alone=is_alone)
        self._alone += is_alone
        return lease

    def _move_in(self, name: str, downstream: Downstream) -> None:
        if name == NOBODY_IN_PARTICULAR:
            self.residents[name] = None
        else:
            self.residents[name] = downstream
            self._forget[name] = downstream.on_close(partial(self._move_out, name))

    def _move_out(self, name: str) -> None:
        self.residents.pop(name, None)
        self._forget.pop(name, None)
        self.changed()
        if not self.is_used:
            self._on_unused()

    def _leave(self, lease: Lease) -> None:
        self._alone -= self.seats.pop(lease).is_alone
        self.changed()
        if not self.is_used:
            self._on_unused()

    def _told_apart(self, lease: Lease, use: object) -> None:
        """The upstream asked something, and it was certain at once whose call it is about."""
        seat = self.seats.get(lease)
        if seat is not None and not self.known.talks:
            self._tried.remember(use)
            seat.is_first = False
            self.changed()

    def _is_taken(self, key: str) -> bool:
        """Whether something that is said now may be about the call of somebody else."""
        if self.queue and self.queue[0] != key:
            return True
        if any(seat.key != key for seat in self.seats.values()):
            return True
        return any(call.owner not in (None, key) for call in heard(self.link, self.link.given_up.values()))


def heard(link: Link, calls: Iterable[Call | None]) -> Iterator[Call]:
    """Those of some calls that a log line on the link may be about: a modern upstream logs for those alone that asked for it."""
    return (call for call in calls if call is not None and (link.era is Era.LEGACY or call.log_level is not None))


def _name(downstream: Downstream) -> str:
    return downstream.key if downstream.era is Era.LEGACY else NOBODY_IN_PARTICULAR
