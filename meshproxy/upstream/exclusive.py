"""`Exclusive`: links that carry one call at a time, for callers without a session at an upstream that asks its callers.

A modern client has no session, so it cannot have a process of its own; but as long as its call is alone on a link, whatever the upstream says
there is for it. The control link is the first of them, so that callers who do not overlap meet the same process.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from meshproxy.errors import UpstreamUnavailable
from meshproxy.upstream.link import Link

MOST: Final = 8
"""Links beside the control link; each is a process. More callers wait."""
KEEP: Final = 60.0
"""Seconds after which a link that nobody took again is closed."""


class Exclusive:
    """The links of one upstream that are lent to one call at a time; `open_link` makes another."""

    def __init__(self, name: str, open_link: Callable[[], Awaitable[Link]], patience: float | None) -> None:
        self._name = name
        self._open_link = open_link
        self._patience = patience
        self._lent: set[Link] = set()
        self._spare: list[Link] = []
        self._opening = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._lent) + len(self._spare)

    async def take(self, control: Link) -> Link:
        """A link that nobody else uses, until it is given back.

        Raises:
            UpstreamUnavailable: none became free in time, or none could be opened.
        """
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    link = self._free_one(control)
                    if link is not None:
                        self._lent.add(link)
                        return link
                    if len(self._lent - {control}) + self._opening < MOST:
                        return await self._open()
                    freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(freed)
                    await freed
        except TimeoutError:
            raise UpstreamUnavailable(
                self._name, f"all its {MOST + 1} processes are busy with calls that ask their callers"
            ) from None

    def give(self, link: Link, control: Link | None) -> None:
        """Give a link back. Idempotent."""
        if link not in self._lent:
            return
        self._lent.discard(link)
        if link is not control and link.is_open:
            self._spare.append(link)
            if self._expiry is None:
                self._expiry = asyncio.get_running_loop().call_later(KEEP, self._trim)
        while self._waiting:
            freed = self._waiting.popleft()
            if not freed.done():
                freed.set_result(None)
                break

    async def aclose(self) -> None:
        """Close all but the control link."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        links, self._spare = [*self._spare, *self._lent], []
        self._lent.clear()
        await asyncio.gather(*(link.aclose() for link in links), *self._closing)

    def _free_one(self, control: Link) -> Link | None:
        if (
            control not in self._lent
            and control.is_open
            and not any(call and call.owner is not None for call in control.calls.values())
        ):
            return control
        while self._spare:
            link = self._spare.pop()
            if link.is_open:
                return link
        return None

    async def _open(self) -> Link:
        self._opening += 1
        try:
            link = await self._open_link()
        finally:
            self._opening -= 1
        self._lent.add(link)
        return link

    def _trim(self) -> None:
        self._expiry = None
        spare, self._spare = self._spare, []
        for link in spare:
            task = asyncio.ensure_future(link.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
