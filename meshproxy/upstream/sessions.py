"""`Sessions`: the isolated links of one upstream, one for each downstream session, opened on first use and closed with it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from meshproxy.relay.downstream import Downstream
from meshproxy.upstream.link import Link

Open = Callable[[Downstream], Awaitable[Link]]


class Sessions:
    """Links by the key of their downstream.

    Each is opened in a task of its own, so that two calls at once share the opening and neither one's cancellation spoils it for the other.
    """

    def __init__(self, open_link: Open) -> None:
        self._open_link = open_link
        self._links: dict[str, Link] = {}
        self._opening: dict[str, asyncio.Task[Link]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._forget: dict[str, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[tuple[str, Link]]:
        return iter(list(self._links.items()))

    def get(self, key: str) -> Link | None:
        """The open link of a downstream, if there is one."""
        link = self._links.get(key)
        return link if link is not None and link.is_open else None

    async def obtain(self, downstream: Downstream) -> Link:
        """The link of a downstream, opened if need be.

        Raises:
            UpstreamUnavailable: it cannot be opened, or the downstream is gone.
        """
        link = self.get(downstream.key)
        if link is not None:
            return link
        opening = self._opening.get(downstream.key)
        if opening is None:
            opening = asyncio.create_task(self._obtain(downstream))
            self._opening[downstream.key] = opening
            opening.add_done_callback(lambda _: self._opening.pop(downstream.key, None))
        return await asyncio.shield(opening)

    def discard(self, key: str) -> None:
        """Close a downstream's link in the background."""
        forget = self._forget.pop(key, None)
        if forget is not None:
            forget()
        link = self._links.pop(key, None)
        if link is not None:
            task = asyncio.create_task(link.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        opening = self._opening.get(key)
        if opening is not None:
            opening.cancel()

    async def aclose(self) -> None:
        """Close all of them and wait for it."""
        opening = list(self._opening.values())
        for key in {*self._links, *self._opening}:
            self.discard(key)
        await asyncio.gather(*opening, *self._closing, return_exceptions=True)

    async def _obtain(self, downstream: Downstream) -> Link:
        stale = self._links.pop(downstream.key, None)
        if stale is not None:
            await stale.aclose()
        link = await self._open_link(downstream)
        self._links[downstream.key] = link
        if downstream.key in self._forget:
            self._forget.pop(downstream.key)()
        self._forget[downstream.key] = downstream.on_close(lambda: self.discard(downstream.key))
        return link
