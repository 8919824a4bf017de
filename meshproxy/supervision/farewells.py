"""`Farewells`: the links of one upstream that are being closed. Place: supervision, above the links and under `supervisor`."""

import asyncio

from meshproxy.links.link import Link

__all__ = ["Farewells"]


class Farewells:
    """Closes links, and knows of those that are not closed yet."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()

    async def say(self, link: Link, *, is_shut_out: bool = False) -> None:
        """Close a link, and wait for that unless it has expired or is shut out: what runs in it is about to hear of it, and nobody need wait for that."""
        link.is_shut_out = is_shut_out
        farewell = asyncio.create_task(link.aclose())
        self._under_way.add(farewell)
        farewell.add_done_callback(self._under_way.discard)
        if not (link.has_expired or link.is_shut_out):
            await asyncio.shield(farewell)

    async def ended(self) -> None:
        """Wait until all are closed."""
        await asyncio.gather(*self._under_way)
