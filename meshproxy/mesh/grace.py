"""`Grace`: how long listings and look-ups wait for providers that are starting. Place: mesh, beside `composite`.

Many clients list only once, as soon as they are connected. What was not there by then they never see.
"""

import asyncio
import time
from collections.abc import Callable

from meshproxy.mesh.callers import Account
from meshproxy.mesh.composite import CompositeProvider
from meshproxy.relay.principal import Visitor
from meshproxy.supervision.states import State
from meshproxy.upstream.provider import ProxyProvider

__all__ = ["Grace"]


class Grace:
    """The time that the providers of a composite have to start.

    Attributes:
        seconds: how long it is.
    """

    def __init__(self, composite: CompositeProvider, seconds: float) -> None:
        self.seconds = seconds
        self._composite = composite
        self._ends = 0.0

    def extend(self) -> None:
        """Give the providers that are starting their time, from now on."""
        self._ends = time.monotonic() + self.seconds

    def starting(self, visitor: Visitor, *, for_listing: bool = True) -> list[ProxyProvider]:
        """The providers that may offer a visitor more soon. One that is idle and was never listed is started by this question.

        A listing need not wait for those that are shown already, as they were in an earlier run. One that was listed a moment ago is not
        shown before it is up.
        """
        starting = []
        for provider, member in self._composite.providers_for(visitor):
            if isinstance(provider, Account) and provider.is_new:
                provider.is_new = False
                self.extend()
            if provider.state is State.IDLE and provider.catalog is None:
                provider.want()
                self.extend()
            is_shown = member.catalog is not None and not member.mount.hide_when_down
            if provider.state is State.STARTING and not (for_listing and is_shown):
                starting.append(provider)
        return starting

    async def wait(self, visitor: Visitor, is_enough: Callable[[], bool] | None = None) -> None:
        """Wait for providers that are starting, until it is enough or their time is over; without a word on what is enough, for a listing."""
        for_listing = is_enough is None
        waiting = {
            asyncio.ensure_future(provider.settled()) for provider in self.starting(visitor, for_listing=for_listing)
        }
        try:
            while (
                waiting and not (is_enough is not None and is_enough()) and (left := self._ends - time.monotonic()) > 0
            ):
                _, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waiting:
                wait.cancel()
