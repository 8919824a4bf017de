"""`Supervisor`: keeps the control link of one upstream, and its catalog.

The control link lists, hears what changes, and carries the calls that need no session of their own. One task opens it, watches it, and opens
it again with growing pauses when it is lost; while it is down, nobody waits for it. `meshproxy.supervision.states` has the table of what it goes through.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from meshproxy.catalog.catalog import Catalog
from meshproxy.errors import LoginNeeded, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.links.link import Link
from meshproxy.supervision.attempts import Attempts, wait, woken
from meshproxy.supervision.condition import Condition
from meshproxy.supervision.farewells import Farewells
from meshproxy.supervision.health import answers_pings
from meshproxy.supervision.listings import Listings
from meshproxy.supervision.starts import Place, Starts, Urgency
from meshproxy.supervision.states import DOWN, Event, State

__all__ = ["Supervisor"]

log = structlog.get_logger(__name__)

RENEWABLE: Final = 1.0
"""Seconds that a session must have lasted, so that those who need it wait for another when it has expired."""


class Supervisor:
    """The control link of one upstream.

    `connect` opens a link; `opened` is called with it before it is listed, and `closing` before it is closed; `in_use` says whether calls run.
    Each start waits for its turn at its `place` among those of other upstreams. `own` is this mesh's name in a trail (`meshproxy.links.trail`).

    Attributes:
        condition, listings: how the upstream is, and why; what it offers.
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
        place: Place | None = None,
        own: Callable[[], str] = str,
    ) -> None:
        self.name = name
        self.condition = Condition(name, State.IDLE if lazy else State.STARTING, scrub)
        self.link: Link | None = None
        self.seconds = 0.0
        self._connect = connect
        self._opened = opened
        self._closing = closing
        self._in_use = in_use
        self._list_timeout = list_timeout
        self._idle_timeout = idle_timeout
        self._scrub = scrub
        self._place = place or Starts().place(is_program=False)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self.last_use = time.monotonic()
        self.listings = Listings(name, list_timeout, cache_ttl, scrub, own)
        self._attempts = Attempts()
        self._lost = ""
        self._is_renewing = False
        self._is_shut_out = False
        self._opened_at = 0.0
        self._farewells = Farewells()

    @property
    def catalog(self) -> Catalog | None:
        """What it offered when it was listed last; None before."""
        return self.listings.catalog

    @property
    def is_remembered(self) -> bool:
        """Whether that was in an earlier run of the mesh."""
        return self.listings.is_remembered

    def recall(self, catalog: Catalog) -> None:
        """Before its start: this is what it offered in an earlier run."""
        self.listings.recall(catalog)

    @property
    def state(self) -> State:
        """How the upstream is."""
        return self.condition.state

    def status(self) -> dict[str, Any]:
        """How it is, for people: with how often it failed in a row, and when it is tried again, if that is not now; what it speaks and offers."""
        status = self.condition.status() | self._attempts.status()
        if self.link is not None:
            status |= {"era": str(self.link.era), "protocol": self.link.version}
        return status | self.listings.status() | {"seconds": round(self.seconds, 3)}

    def start(self, urgency: Urgency = Urgency.USUAL) -> None:
        """Begin to connect, in the background. Idempotent."""
        self._place.urgency = min(self._place.urgency, urgency)
        if self._task is None and self.state is not State.STOPPED:
            self._task = asyncio.create_task(self._run(), name=f"upstream {self.name}")

    def want(self) -> None:
        """Somebody needs it: an idle one connects, and one that is down tries soon, for whoever comes after."""
        self.last_use = time.monotonic()
        if self.state is State.IDLE:
            self._settled.clear()
            self.condition.take(Event.WANTED)
        elif self.state is State.BACKING_OFF and self._attempts.may_hurry(self.last_use):
            self._wake.set()
        self._place.hurry()
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
            reason = self.condition.reason if self.state in DOWN else self._lost
            kind = LoginNeeded if self.state is State.NEEDS_LOGIN else UpstreamUnavailable
            raise kind(self.name, reason or "it is not connected")
        return link

    def list_soon(self, over: Link | None = None) -> None:
        """A listing changed, says the upstream, over the control link or `over` another that clients share: it is read there again, soon (`Pace`)."""
        if self.link is not None:
            self.listings.announced(over)
            self._wake.set()

    def doubt(self, link: Link) -> None:
        """A request over a link has got no answer: see whether it still answers any, if it is the control link."""
        if link is self.link:
            self.listings.agenda.doubt(time.monotonic())
            self._wake.set()

    def lose(self, link: Link, reason: str) -> None:
        """The link ended, or failed a request in a way that makes one doubt it: look, and connect again."""
        if link is self.link and not self._lost:
            self._lost = reason
            # An upstream that says that it has forgotten the session is there: it gets another one at once.
            if link.has_expired and self._is_connected and time.monotonic() - self._opened_at > RENEWABLE:
                self._is_renewing = True
                self._settled.clear()
            self._wake.set()

    def on_login(self, needed: LoginNeeded | None) -> None:
        """There are credentials for it, or none until somebody logs in: it is connected to if it waited for that, or closed."""
        if needed is not None and self._is_connected:
            self._lost, self._is_shut_out = needed.reason, True
        elif needed is None and self.state is State.NEEDS_LOGIN:
            self._settled.clear()
            self.condition.take(Event.LOGGED_IN)
        else:
            return
        self._wake.set()

    def retire(self) -> None:
        """From now on what runs is let end, and nothing is opened any more."""
        self.condition.take(Event.RETIRED)

    async def aclose(self) -> None:
        """Close the link, and stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._close()
        await self._farewells.ended()
        self._settle(Event.CLOSED)

    @property
    def _is_connected(self) -> bool:
        return self.state in (State.UP, State.DEGRADED)

    async def _run(self) -> None:
        while self.state is not State.DRAINING:
            if self.state is State.IDLE:
                await self._wanted.wait()
            try:
                async with self._place.turn():
                    await self._open()
                self._came_up()
                await self._watch()
            except (UpstreamError, RpcError) as error:
                await self._close()
                self._failed(error)
            except Exception as error:
                # A factory's own, or a defect of ours: it costs this upstream, and is worth another attempt all the same.
                log.exception("upstream.failed", upstream=self.name)
                await self._close()
                self._failed(UpstreamUnavailable(self.name, f"{type(error).__name__}: {error}"))
            while self.state is State.NEEDS_LOGIN:
                await woken(self._wake)
            await self._attempts.rest(self._wake)

    async def _open(self) -> None:
        begun = time.monotonic()
        self.link = await self._connect()
        self._opened_at = time.monotonic()
        self._lost = ""
        try:
            async with asyncio.timeout(self._list_timeout):
                await self.link.listen()  # before it is listed: of what changes in between nobody would hear
                await self._opened(self.link)
        except TimeoutError:
            reason = f"did not let itself be listened and subscribed to within {self._list_timeout:g} s"
            raise UpstreamUnavailable(self.name, reason) from None
        await self.listings.read(self.link)
        self.seconds = time.monotonic() - begun

    async def _watch(self) -> None:
        """Stay up until the link is unused or expired; list again when the upstream says so, or now and then if it never would.

        Raises:
            UpstreamUnavailable: the link is lost.
        """
        while self.link is not None:
            await wait(self._wake, self._patience())
            self._wake.clear()
            if self._lost or not self.link.is_open:
                reason = self._lost or "the connection was closed"
                if self._is_shut_out:
                    raise LoginNeeded(self.name, reason)
                if not self._is_renewing:
                    raise UpstreamUnavailable(self.name, reason)
                log.info("upstream.renewing", upstream=self.name, reason=self._scrub(reason))
                await self._close()
            elif self._is_unused():
                self._wanted.clear()
                self._settled.clear()
                self.condition.take(Event.UNUSED)
                await self._close()
            elif self.listings.is_due(self.link) or not await self.listings.check(self.link):
                await self._read_again(self.link)

    async def _read_again(self, link: Link) -> None:
        if not link.is_open:
            return
        is_news = await self.listings.read_again(link)
        if self.listings.is_hopeless:
            await self._look_closer(link, is_news=is_news)
        # That an upstream says that something changed is no news by itself: what clients are shown is.
        elif is_news:
            self._listed()

    async def _look_closer(self, link: Link, *, is_news: bool) -> None:
        """Nothing of it can be listed any more: if it answers nothing else either, and owes nobody an answer, it is opened anew."""
        if await answers_pings(link):
            self._listed("it answers, and lists nothing: ", is_news=is_news)
        elif self._in_use():
            self._listed("it answers nothing, and calls are under way: ", is_news=is_news)
        else:
            raise UpstreamUnavailable(self.name, f"it answers neither lists nor pings: {self.listings.missing}")

    def _listed(self, preface: str = "", *, is_news: bool = True, **facts: Any) -> None:
        """It is connected, and this is what is listed of it; whoever listens hears of it if that is news, or its state is."""
        missing = self.listings.missing
        event = Event.IMPAIRED if missing else Event.WELL
        reason = preface + missing if missing else ""
        if not self.condition.take(event, reason, **self.listings.counts(), **facts) and is_news:
            self.condition.changed()

    def _came_up(self) -> None:
        self._attempts.succeeded(self._opened_at)
        self._listed(seconds=round(self.seconds, 3))
        self._settle()

    def _failed(self, error: UpstreamError | RpcError) -> None:
        """An attempt failed, or the link was lost: it is tried again later, or when somebody has logged in."""
        self._lost, self._is_shut_out = "", False
        if isinstance(error, LoginNeeded):
            self._settle(Event.REFUSED, error.reason)
            return
        reason, pause = self._attempts.failed(error)
        self._settle(Event.FAILED, reason, again_in=round(pause, 1))

    def _settle(self, event: Event | None = None, reason: str = "", **facts: Any) -> None:
        self._is_renewing = False
        if event is not None:
            self.condition.take(event, reason, **facts)
        self._settled.set()

    def _patience(self) -> float:
        """Seconds until something is due without being asked for."""
        now = time.monotonic()
        times = [] if self.link is None else [self.listings.due(self.link)]
        if self._idle_timeout is not None:
            times.append(now + self._idle_timeout if self._in_use() else self.last_use + self._idle_timeout)
        return max(0.0, min(times, default=now) - now)

    def _is_unused(self) -> bool:
        idle = self._idle_timeout
        return idle is not None and not self._in_use() and time.monotonic() - self.last_use >= idle

    async def _close(self) -> None:
        link, self.link = self.link, None
        await self._closing()
        if link is not None:
            await self._farewells.say(link, is_shut_out=self._is_shut_out)
