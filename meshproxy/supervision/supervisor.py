"""`Supervisor`: keeps the control link of one upstream, and its catalog.

The control link lists, hears what changes, and carries the calls that need no session of their own. One task opens it, watches it, and opens
it again with growing pauses when it is lost; while it is down, nobody waits for it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Final

import structlog

from meshproxy.catalog.catalog import EMPTY, Catalog
from meshproxy.errors import RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.kinds import KINDS
from meshproxy.links.link import Link
from meshproxy.links.listing import list_catalog
from meshproxy.supervision.pace import Pace

log = structlog.get_logger(__name__)

BACKOFF: Final = (0.5, 30.0)
"""Seconds before the first attempt to connect again, and the most; each attempt doubles them, give or take a fifth."""
IMPATIENCE: Final = 2.0
"""Seconds after a failed attempt from which on somebody's need is reason enough for another."""
STABLE: Final = 5.0
"""Seconds after which a connection counts as one that held."""
RENEWABLE: Final = 1.0
"""Seconds that a session must have lasted, so that those who need it wait for another when it has expired."""
RELIST: Final = (5.0, 300.0)
"""Seconds before what could not be listed is tried again, and the most; each attempt doubles them."""


class State(StrEnum):
    """How an upstream is."""

    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    IDLE = "idle"
    """Not connected because nobody uses it: a lazy one, or one that `timeouts.idle` closed."""
    CLOSED = "closed"


class Supervisor:
    """The control link of one upstream.

    `connect` opens a link; `opened` is called with it once it is listed, and `closing` before it is closed; `in_use` says whether calls run.

    Attributes:
        state: how the upstream is.
        reason: why it is down, or what could not be listed while it is up, in one line; "" otherwise.
        catalog: what it offered when it was listed last; None before.
        link: the control link; None while there is none.
        last_use: when somebody used it last, by the monotonic clock.
        seconds: how long connecting and listing took the last time.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Link]],
        opened: Callable[[Link], Awaitable[None]],
        closing: Callable[[], Awaitable[None]],
        in_use: Callable[[], bool],
        *,
        lazy: bool,
        list_timeout: float | None,
        idle_timeout: float | None,
        cache_ttl: float | None,
        scrub: Callable[[str], str],
    ) -> None:
        self.name = name
        self.state = State.IDLE if lazy else State.STARTING
        self.reason = ""
        self.catalog: Catalog | None = None
        self.link: Link | None = None
        self.seconds = 0.0
        self._connect = connect
        self._opened = opened
        self._closing = closing
        self._in_use = in_use
        self._list_timeout = list_timeout
        self._idle_timeout = idle_timeout
        self._cache_ttl = cache_ttl
        self._scrub = scrub
        self._listeners: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._pace = Pace()
        self._announced_over: Link | None = None
        self._lost = ""
        self._is_renewing = False
        self._opened_at = 0.0
        self._failed_at = 0.0
        self._farewells: set[asyncio.Task[None]] = set()
        self.last_use = self._listed = time.monotonic()
        self._relist = 0.0

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `state` or `catalog` changed. It must not block."""
        self._listeners.append(callback)

    def start(self) -> None:
        """Begin to connect, in the background. Idempotent."""
        if self._task is None and self.state is not State.CLOSED:
            self._task = asyncio.create_task(self._run(), name=f"upstream {self.name}")

    def want(self) -> None:
        """Somebody needs it: an idle one connects, and one that is down tries soon, for whoever comes after."""
        self.last_use = time.monotonic()
        if self.state is State.IDLE:
            self._settled.clear()
            self._set(State.STARTING)
        elif self.state is State.DOWN and time.monotonic() - self._failed_at > IMPATIENCE:
            self._wake.set()
        self._wanted.set()

    async def settled(self) -> None:
        """Wait until the attempt to connect and list that is under way is over, one way or the other."""
        if self.state is State.STARTING or self._is_renewing:
            await self._settled.wait()

    def open_link(self) -> Link | None:
        """The control link if it can be used now."""
        link = self.link
        return link if link is not None and link.is_open else None

    async def obtain_link(self) -> Link:
        """The control link after a start that is under way.

        Raises:
            UpstreamUnavailable: there is none; at once, while the upstream is down.
        """
        self.start()
        self.want()
        await self.settled()
        link = self.open_link()
        if link is None:
            # While it is up, its reason is that of a listing.
            reason = self.reason if self.state is State.DOWN else self._lost
            raise UpstreamUnavailable(self.name, reason or "it is not connected")
        return link

    def list_soon(self, over: Link | None = None) -> None:
        """A listing changed, says the upstream, over the control link or `over` another that clients share: it is read there again, soon (`Pace`)."""
        self._announced_over = over
        if self._pace.due is None:
            self._pace.announced(time.monotonic())
            self._wake.set()

    def lose(self, link: Link, reason: str) -> None:
        """The link ended, or failed a request in a way that makes one doubt it: look, and connect again."""
        if link is self.link and not self._lost:
            self._lost = reason
            # An upstream that says that it has forgotten the session is there: it gets another one at once.
            if link.has_expired and self.state is State.UP and time.monotonic() - self._opened_at > RENEWABLE:
                self._is_renewing = True
                self._settled.clear()
            self._wake.set()

    async def aclose(self) -> None:
        """Close the link, and stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._close()
        await asyncio.gather(*self._farewells)
        self._settle(State.CLOSED)

    async def _run(self) -> None:
        pause = 0.0
        while True:
            if self.state is State.IDLE:
                await self._wanted.wait()
            begun = time.monotonic()
            was_up = False
            try:
                await self._open()
                was_up = True
                self.seconds = time.monotonic() - begun
                self._settle(State.UP, self._missing())
                self._announce_up()
                await self._watch()
            except (UpstreamError, RpcError) as error:
                await self._close()
                self._down(error.reason if isinstance(error, UpstreamError) else error.message)
            except Exception as error:
                # A factory's own, or a defect of ours: it costs this upstream, and is worth another attempt all the same.
                log.exception("upstream.failed", upstream=self.name)
                await self._close()
                self._down(f"{type(error).__name__}: {error}")
            # What held for a while is tried again at once: most losses are restarts.
            if was_up and time.monotonic() - begun > STABLE:
                pause = 0.0
                continue
            if self.state is State.DOWN:
                pause = _longer(pause, BACKOFF)
                self._wake.clear()
                await _wait(self._wake, pause * random.uniform(0.8, 1.2))  # noqa: S311  # spreads reconnections, guards nothing

    async def _open(self) -> None:
        self.link = await self._connect()
        self._opened_at = time.monotonic()
        self._lost = ""
        self._pace.begin()
        catalog = await list_catalog(self.link, self._list_timeout, self.catalog or EMPTY)
        if catalog.failed and catalog.failed.keys() == catalog.definitions.keys():
            raise UpstreamUnavailable(self.name, next(iter(catalog.failed.values())))
        self._take(catalog)
        self._listed = time.monotonic()
        try:
            async with asyncio.timeout(self._list_timeout):
                await self.link.listen()
                await self._opened(self.link)
        except TimeoutError:
            reason = f"did not let itself be listened and subscribed to within {self._list_timeout:g} s"
            raise UpstreamUnavailable(self.name, reason) from None

    async def _watch(self) -> None:
        """Stay up until the link is lost or unused; list again when the upstream says so, or now and then if it never would."""
        while self.link is not None:
            await _wait(self._wake, self._patience())
            self._wake.clear()
            if self._lost or not self.link.is_open:
                reason = self._lost or "the connection was closed"
                if self._is_renewing:
                    log.info("upstream.renewing", upstream=self.name, reason=self._scrub(reason))
                    await self._close()
                else:
                    await self._close()
                    self._down(reason)
            elif self._is_unused():
                self._wanted.clear()
                self._settled.clear()
                self._set(State.IDLE)
                await self._close()
            elif self._until_listing() == 0:
                over, self._announced_over = self._announced_over, None
                await self._list_again(over if over is not None and over.is_open else self.link)

    async def _list_again(self, link: Link) -> None:
        is_asked = self._pace.due is not None
        self._pace.begin()
        self._listed = time.monotonic()
        before = self.catalog
        try:
            catalog = await list_catalog(link, self._list_timeout, before or EMPTY)
        except (UpstreamError, RpcError) as error:
            log.warning("upstream.listing_failed", upstream=self.name, reason=self._scrub(str(error)))
            return
        is_news = catalog != before
        if is_asked:
            was_idle_talk = self._pace.is_idle_talk
            self._pace.ended(time.monotonic(), is_news=is_news)
            if self._pace.is_idle_talk and not was_idle_talk:
                reason = "it says list_changed again and again, and nothing has"
                log.warning("upstream.listed_seldom", upstream=self.name, reason=reason)
        self._take(catalog)
        # That an upstream says that something changed is no news by itself: what clients are shown is.
        if is_news:
            self.reason = self._missing()
            self._changed()

    def _take(self, catalog: Catalog) -> None:
        """From now on this is what it offers. What is missing from it is said once, and tried again."""
        known = self.catalog.failed if self.catalog is not None else {}
        self.catalog = catalog
        self._relist = _longer(self._relist, RELIST) if catalog.failed else 0.0
        if catalog.failed.keys() - known.keys():
            kinds = [KINDS[kind].plural for kind in catalog.failed]
            log.warning("upstream.listing_failed", upstream=self.name, kinds=kinds, reason=self._missing())

    def _missing(self) -> str:
        failed = self.catalog.failed if self.catalog is not None else {}
        return self._scrub("; ".join(f"{KINDS[kind].plural} could not be listed: {failed[kind]}" for kind in failed))

    def _patience(self) -> float | None:
        """Seconds until something is due without being asked for."""
        idle = self._idle_timeout
        if idle is not None and not self._in_use():
            idle = max(0.0, self.last_use + idle - time.monotonic())
        return min((wait for wait in (idle, self._until_listing()) if wait is not None), default=None)

    def _until_listing(self) -> float | None:
        """Seconds until the catalog is too old, or what is missing from it is due, or what the upstream says has changed; None for never."""
        now = time.monotonic()
        ages = [self._relist] if self._relist else []
        if self._cache_ttl is not None and self.link is not None and not _announces(self.link):
            ages.append(self._cache_ttl)
        times = [self._listed + min(ages)] if ages else []
        if self._pace.due is not None:
            times.append(self._pace.due)
        return max(0.0, min(times) - now) if times else None

    def _is_unused(self) -> bool:
        idle = self._idle_timeout
        return idle is not None and not self._in_use() and time.monotonic() - self.last_use >= idle

    async def _close(self) -> None:
        link, self.link = self.link, None
        await self._closing()
        if link is None:
            return
        farewell = asyncio.create_task(link.aclose())
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)
        # What still runs in a session that has expired is about to hear of it, and nobody need wait for that.
        if not link.has_expired:
            await asyncio.shield(farewell)

    def _announce_up(self) -> None:
        counts = self.catalog.counts() if self.catalog is not None else {}
        offered = {KINDS[kind].plural: count for kind, count in counts.items() if count}
        log.info("upstream.up", upstream=self.name, **offered, seconds=round(self.seconds, 3))

    def _down(self, reason: str) -> None:
        reason = self._scrub(reason)
        if (self.state, self.reason) != (State.DOWN, reason):
            log.warning("upstream.down", upstream=self.name, reason=reason)
        self._lost = ""
        self._failed_at = time.monotonic()
        self._settle(State.DOWN, reason)

    def _settle(self, state: State, reason: str = "") -> None:
        self._is_renewing = False
        self._set(state, reason)
        self._settled.set()

    def _set(self, state: State, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason) or state is State.UP:
            self.state, self.reason = state, reason
            self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


def _announces(link: Link) -> bool:
    """Whether an upstream promises to say when any of its listings changes."""
    families = [link.capabilities.get(spec.capability) for spec in KINDS.values()]
    return all(family.get("listChanged") is True for family in families if isinstance(family, Mapping))


def _longer(pause: float, bounds: tuple[float, float]) -> float:
    """The pause after this one."""
    first, most = bounds
    return min(most, max(first, 2 * pause))


async def _wait(event: asyncio.Event, timeout: float | None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        pass
