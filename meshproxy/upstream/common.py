"""`Common`: one link that several clients use; who calls over it now, and whose it has become.

A program does not say which of the calls under way a log line or a question of its is about. So it matters who is there at the same time, and since
a program remembers what it was told to do, it matters who was there before: a client that has used a link finds there, and nowhere else, the
page that it opened.
"""

import asyncio
from typing import Final

from meshproxy.relay.call import Lease
from meshproxy.relay.downstream import Downstream, may_be_asked
from meshproxy.upstream.seats import Seats

GLANCE: Final = 0.05
"""Seconds between two looks at whether a call that was given up may still be what the upstream speaks of."""


CAUTION: Final = 1.0
"""Seconds that the first use of something waits for the first uses of others; then it gets a link of its own, if it may be asked."""
LITTLE_CAUTION: Final = 0.1
"""The same where the link can tell calls apart and the upstream need only do so."""


class Common(Seats):
    """The same, for those who wait for a place on it."""

    __slots__ = ()

    async def join_later(self, downstream: Downstream, use: object) -> Lease | None:
        """A place beside others after a while; None if there is none, because of a link that has ended or an upstream that talks, too."""
        lease = self.join(downstream, use)
        try:
            async with asyncio.timeout(LITTLE_CAUTION if self.link.tells_calls_apart else CAUTION):
                while lease is None and self.link.is_open and not self._known.talks:
                    await self.change()
                    lease = self.join(downstream, use)
        except TimeoutError:
            is_askable = may_be_asked(downstream)
            # A client that cannot be asked waits for nobody: what the upstream asks it is refused. And one that has been here stays.
            if not is_askable or self.is_of(downstream):
                lease = self.join_anyway(downstream, use, is_first=is_askable)
        return lease

    async def change(self) -> None:
        """Wait until somebody has left, or may have been forgotten by the upstream."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(GLANCE if self.link.given_up else None):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(changed)

    async def turn(self, downstream: Downstream, use: object) -> Lease | None:
        """As `join`, when the calls of others have ended, in the order of arrival; None if the client has no business there any more."""
        key = downstream.key
        self._queue.append(key)
        try:
            while self.link.is_open and self.is_of(downstream):
                lease = self.join(downstream, use) if self._queue[0] == key else None
                if lease is not None:
                    return lease
                await self.change()
            return None
        finally:
            self._queue.remove(key)
            self.changed()

    async def when_certain(self, downstream: Downstream) -> Lease | None:
        """As `alone`, after calls that were given up, which the upstream may still speak of; other calls are not waited for."""
        while self.link.is_open:
            lease = self.alone(downstream)
            if lease is not None or any(seat.key != downstream.key for seat in self._seats.values()):
                return lease
            await self.change()
        return None
