"""What waits for a place on a link that several clients use. Place: upstream, beside `common`, which is compiled and waits for nothing."""

import asyncio
from typing import Final

from meshproxy.relay.call import Lease
from meshproxy.relay.downstream import Downstream, may_be_asked
from meshproxy.upstream.common import Common

__all__ = ["join_later", "turn", "when_certain"]

GLANCE: Final = 0.05
"""Seconds between two looks at whether a call that was given up may still be what the upstream speaks of."""


CAUTION: Final = 1.0
"""Seconds that the first use of something waits for the first uses of others; then it gets a link of its own, if it may be asked."""
LITTLE_CAUTION: Final = 0.1
"""The same where the link can tell calls apart and the upstream need only do so."""


async def join_later(common: Common, downstream: Downstream, use: object) -> Lease | None:
    """A place beside others after a while; None if there is none, because of a link that has ended or an upstream that talks, too."""
    lease = common.join(downstream, use)
    try:
        async with asyncio.timeout(LITTLE_CAUTION if common.link.tells_calls_apart else CAUTION):
            while lease is None and common.link.is_open and not common.known.talks:
                await _change(common)
                lease = common.join(downstream, use)
    except TimeoutError:
        is_askable = may_be_asked(downstream)
        # A client that cannot be asked waits for nobody: what the upstream asks it is refused. And one that has been here stays.
        if not is_askable or common.is_of(downstream):
            lease = common.join_anyway(downstream, use, is_first=is_askable)
    return lease


async def _change(common: Common) -> None:
    """Wait until somebody has left, or may have been forgotten by the upstream."""
    changed = asyncio.Event()
    common.waiting.add(changed)
    try:
        async with asyncio.timeout(GLANCE if common.link.given_up else None):
            await changed.wait()
    except TimeoutError:
        pass
    finally:
        common.waiting.discard(changed)


async def turn(common: Common, downstream: Downstream, use: object) -> Lease | None:
    """A place as `Common.join` gives it, when the calls of others have ended, in the order of arrival; None if the client has no business there any more."""
    key = downstream.key
    common.queue.append(key)
    try:
        while common.link.is_open and common.is_of(downstream):
            lease = common.join(downstream, use) if common.queue[0] == key else None
            if lease is not None:
                return lease
            await _change(common)
        return None
    finally:
        common.queue.remove(key)
        common.changed()


async def when_certain(common: Common, downstream: Downstream) -> Lease | None:
    """A place as `Common.alone` gives it, after calls that were given up, which the upstream may still speak of; other calls are not waited for."""
    while common.link.is_open:
        lease = common.alone(downstream)
        if lease is not None or any(seat.key != downstream.key for seat in common.seats.values()):
            return lease
        await _change(common)
    return None
