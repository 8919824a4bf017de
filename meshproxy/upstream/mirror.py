"""`Mirror`: whether a modern upstream takes the handshake of the legacy era, too; and `Counterpart`, the link with it that clients share.

An upstream that speaks both eras is spoken to in the era of each client, so that nothing has to be bridged. That it does is found out by the first
legacy client, since only the attempt can tell: a server that answers `server/discover` need not say what else it speaks.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from meshproxy.errors import UpstreamUnavailable
from meshproxy.links.known import Known
from meshproxy.links.link import Link
from meshproxy.links.negotiation import CallerRefusedError, EraRefusedError
from meshproxy.upstream.common import Common

log = structlog.get_logger(__name__)

AGAIN: Final = (30.0, 600.0)
"""Seconds for which an upstream that could not be opened with a handshake is bridged until the next attempt, and the most; each doubles them."""
KEEP: Final = 60.0
"""Seconds for which a shared link is kept when the last client that has used it is gone."""


class Mirror:
    """What a modern upstream is found out to be, by opening links to it in the legacy era."""

    def __init__(self, name: str, known: Known) -> None:
        self._name = name
        self._known = known
        self._lock = asyncio.Lock()
        self._pause = 0.0

    async def open(self, connect: Callable[[], Awaitable[Link]]) -> Link:
        """Open a link of the legacy era with `connect`, which fails with `EraRefusedError` if there is no such. One at a time, until that is known.

        Raises:
            UpstreamUnavailable: it could not be opened; `Known.may_have_handshake` says from then on whether another attempt makes sense.
        """
        async with self._lock:
            if self._known.has_handshake is None:
                if not self._known.may_have_handshake:
                    raise UpstreamUnavailable(self._name, "it could not be connected to in the legacy era")
                return await self._attempt(connect)
        return await self._attempt(connect)

    async def _attempt(self, connect: Callable[[], Awaitable[Link]]) -> Link:
        try:
            link = await connect()
        except EraRefusedError as error:
            self._known.has_handshake = False
            log.info(
                "upstream.modern_only",
                upstream=self._name,
                reason=error.reason,
                consequence="legacy clients are bridged",
            )
            raise
        except CallerRefusedError:
            # It is about the client that this link is for, and no other.
            raise
        except UpstreamUnavailable as error:
            if self._known.has_handshake is None:
                first, most = AGAIN
                self._pause = min(most, max(first, 2 * self._pause))
                self._known.again = time.monotonic() + self._pause
                log.warning(
                    "upstream.handshake_failed",
                    upstream=self._name,
                    reason=error.reason,
                    consequence=f"legacy clients are bridged for {self._pause:g} s",
                )
            raise
        self._known.has_handshake = True
        self._known.again = self._pause = 0.0
        return link


class Counterpart:
    """The link of the legacy era that clients of a command share, beside the control link, which is modern.

    It is opened by the first who needs it, in a task of its own, so that nobody's cancellation spoils it for others, and closed some time after the
    last client that has used it is gone. `open_link` opens it, and `make` makes a `Common` of it.
    """

    def __init__(self, name: str, open_link: Callable[[], Awaitable[Link]], make: Callable[..., Common]) -> None:
        self._name = name
        self._open_link = open_link
        self._make = make
        self.common: Common | None = None
        self._opening: asyncio.Task[Common] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None

    def get(self) -> Common | None:
        """What clients share now, if it is open."""
        common = self.common
        return common if common is not None and common.link.is_open else None

    @property
    def link(self) -> Link | None:
        """It, if it is open."""
        common = self.get()
        return common.link if common is not None else None

    async def obtain(self) -> Common:
        """What clients share, opened if need be. Raises `UpstreamUnavailable`."""
        common = self.get()
        if common is not None:
            return common
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.create_task(self._open())
            opening.add_done_callback(self._opened)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and task is not None and not task.cancelling():
                raise UpstreamUnavailable(self._name, "it was closed while it was being opened") from None
            raise

    def discard(self) -> None:
        """Close it in the background."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        common, self.common = self.common, None
        if common is not None:
            common.end()
            task = asyncio.ensure_future(common.link.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def rest(self) -> None:
        """Close it if nobody calls over it."""
        if self.common is not None and not self.common.is_busy:
            self.discard()
            await asyncio.gather(*self._closing)

    async def aclose(self) -> None:
        """Close it and wait for that."""
        opening = self._opening
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
        self.discard()
        await asyncio.gather(*self._closing)

    async def _open(self) -> Common:
        self.discard()
        common = self.common = self._make(await self._open_link(), on_unused=self._on_unused)
        # Whoever wanted it may have left.
        self._on_unused()
        return common

    def _opened(self, opening: asyncio.Task[Common]) -> None:
        self._opening = None
        if not opening.cancelled():
            # Whoever still waits has it too.
            opening.exception()

    def _on_unused(self) -> None:
        if self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(KEEP, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        if self.common is not None and not self.common.is_used:
            self.discard()
