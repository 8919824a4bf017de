"""`Exclusive`: links that carry one call at a time, for callers without a session at an upstream that asks its callers.

A modern client has no session, so it cannot have a process of its own; but as long as its call is alone on a link, whatever the upstream says
there is for it. The control link is the first of them, so that callers who do not overlap meet the same process.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from meshproxy.errors import UpstreamUnavailable
from meshproxy.links.link import Link

MOST: Final = 64
"""Links beside the control link; each may be a process. More callers wait, and so many are kept for callers to come."""
KEEP: Final = 60.0
"""Seconds after which a link that nobody took again is closed."""


Shown: TypeAlias = Mapping[str, str] | None
"""The headers by which a caller shows himself; None where he does by none."""


class Exclusive:
    """The links of one upstream that are lent to one call at a time; `open_link` makes another. None is lent to who shows himself otherwise."""

    def __init__(self, name: str, open_link: Callable[[Shown], Awaitable[Link]], patience: float | None) -> None:
        self._name = name
        self._open_link = open_link
        self._patience = patience
        self._lent: set[Link] = set()
        self._spare: list[Link] = []
        self._shown: WeakKeyDictionary[Link, Shown] = WeakKeyDictionary()
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._lent) + len(self._spare)

    async def take(self, free_control: Callable[[], Link | None], shown: Shown = None) -> Link:
        """A link that nobody else uses, until it is given back; the control link where `free_control` says that it is free.

        One for a caller who is `shown` by something was opened by it, and he gets no other.

        Raises:
            UpstreamUnavailable: none became free in time, or none could be opened.
        """
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    link = self._free_one(free_control(), shown)
                    if link is not None:
                        self._lent.add(link)
                        return link
                    if len(self._lent) + self._opening < MOST:
                        return await self._open(shown)
                    freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(freed)
                    try:
                        await freed
                    except asyncio.CancelledError:
                        # What was freed for somebody who has left is for the next one.
                        if freed.done() and not freed.cancelled():
                            self._wake()
                        raise
        except TimeoutError:
            raise UpstreamUnavailable(
                self._name, f"all its {MOST} connections are busy with calls that ask their callers"
            ) from None

    def give(self, link: Link, control: Link | None) -> None:
        """Give a link back. Idempotent."""
        if link not in self._lent:
            return
        self._lent.discard(link)
        if link is not control and link.is_open:
            self._spare.append(link)
            if len(self._spare) > MOST:
                self._close_soon(self._spare.pop(0))
            if self._expiry is None:
                self._expiry = asyncio.get_running_loop().call_later(KEEP, self._expire)
        self._wake()

    async def trim(self) -> None:
        """Close what nobody has borrowed."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        spare, self._spare = self._spare, []
        await asyncio.gather(*(link.aclose() for link in spare), *self._closing)

    async def aclose(self) -> None:
        """Close all of them."""
        lent, self._lent = self._lent, set()
        await asyncio.gather(self.trim(), *(link.aclose() for link in lent))

    def _free_one(self, control: Link | None, shown: Shown) -> Link | None:
        if control is not None and control not in self._lent:
            return control
        self._spare = [link for link in self._spare if link.is_open]
        for place in reversed(range(len(self._spare))):
            if self._shown.get(self._spare[place]) == shown:
                return self._spare.pop(place)
        return None

    def _wake(self) -> None:
        while self._waiting:
            freed = self._waiting.popleft()
            if not freed.done():
                freed.set_result(None)
                return

    async def _open(self, shown: Shown) -> Link:
        self._opening += 1
        try:
            link = await self._open_link(shown)
        except BaseException:
            # Whoever waits may have the place.
            self._wake()
            raise
        finally:
            self._opening -= 1
        self._shown[link] = shown
        self._lent.add(link)
        return link

    def _expire(self) -> None:
        self._expiry = None
        spare, self._spare = self._spare, []
        for link in spare:
            self._close_soon(link)

    def _close_soon(self, link: Link) -> None:
        task = asyncio.ensure_future(link.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
