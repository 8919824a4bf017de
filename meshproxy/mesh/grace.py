"""`Grace`: how long listings and look-ups wait for providers that are starting. Place: mesh, beside `composite`.

Many clients list only once, as soon as they are connected. What was not there by then they never see.
"""

import asyncio
import time
from collections.abc import Callable

from meshproxy.mesh.composite import CompositeProvider
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

    def starting(self) -> list[ProxyProvider]:
        """The providers that may offer more soon. A provider that is idle and was never listed is started by this question."""
        starting = []
        for mounted in self._composite.mounted:
            if mounted.provider.state is State.IDLE and mounted.provider.catalog is None:
                mounted.provider.want()
                self.extend()
            if mounted.provider.state is State.STARTING:
                starting.append(mounted.provider)
        return starting

    async def wait(self, is_enough: Callable[[], bool] = lambda: False) -> None:
        """Wait for providers that are starting, until it is enough or their time is over."""
        waiting = {asyncio.ensure_future(provider.settled()) for provider in self.starting()}
        try:
            while waiting and not is_enough() and (left := self._ends - time.monotonic()) > 0:
                _, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waiting:
                wait.cancel()
