"""`Sessions`: the isolated links of one upstream, one for each downstream session, opened on first use and closed with it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from meshproxy.errors import UpstreamUnavailable
from meshproxy.links.link import Link
from meshproxy.relay.call import Lease
from meshproxy.relay.downstream import Downstream

Open = Callable[[Downstream], Awaitable[Link]]
Close = Callable[[Link], Awaitable[None]]


class Sessions:
    """Links by the key of their downstream.

    Each is opened in a task of its own, so that two calls at once share the opening and neither one's cancellation spoils it for the other.

    Attributes:
        leases: the lease of each link, by the key of its downstream; the link may have ended.
    """

    def __init__(self, name: str, open_link: Open, close_link: Close | None = None) -> None:
        self._name = name
        self._close_link = close_link or _close
        self._open_link = open_link
        self.leases: dict[str, Lease] = {}
        self._opening: dict[str, asyncio.Task[Link]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._forget: dict[str, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self.leases)

    def __iter__(self) -> Iterator[tuple[str, Link]]:
        return iter([(key, lease.link) for key, lease in self.leases.items()])

    def get(self, key: str) -> Link | None:
        """The open link of a downstream, if there is one."""
        lease = self.leases.get(key)
        return lease.link if lease is not None and lease.link.is_open else None

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
            if downstream.closed.is_set():
                raise UpstreamUnavailable(self._name, "the client is gone")
            opening = asyncio.create_task(self._obtain(downstream))
            self._opening[downstream.key] = opening
            opening.add_done_callback(lambda done: self._opened(downstream.key, done))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and task is not None and not task.cancelling():
                raise UpstreamUnavailable(
                    self._name, "the session was closed while its connection was being opened"
                ) from None
            raise

    def discard(self, key: str) -> None:
        """Close a downstream's link in the background."""
        forget = self._forget.pop(key, None)
        if forget is not None:
            forget()
        lease = self.leases.pop(key, None)
        if lease is not None:
            task = asyncio.ensure_future(self._close_link(lease.link))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        opening = self._opening.get(key)
        if opening is not None:
            opening.cancel()

    async def aclose(self) -> None:
        """Close all of them and wait for it."""
        opening = list(self._opening.values())
        for key in {*self.leases, *self._opening}:
            self.discard(key)
        await asyncio.gather(*opening, *self._closing, return_exceptions=True)

    def _opened(self, key: str, opening: asyncio.Task[Link]) -> None:
        del self._opening[key]
        if not opening.cancelled():
            # Whoever still waits has it too.
            opening.exception()

    async def _obtain(self, downstream: Downstream) -> Link:
        stale = self.leases.pop(downstream.key, None)
        if stale is not None:
            await self._close_link(stale.link)
        key = downstream.key
        # Before anything is opened, so that a client that leaves meanwhile takes it along.
        if key not in self._forget:
            self._forget[key] = downstream.on_close(lambda: self.discard(key))
        try:
            link = await self._open_link(downstream)
        except BaseException:
            self._forget.pop(key, lambda: None)()
            raise
        # Nothing about it is one call's own, so it can be every call's.
        self.leases[key] = Lease(link, downstream)
        return link


async def _close(link: Link) -> None:
    await link.aclose()
