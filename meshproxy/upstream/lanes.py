"""`Lanes`: all the links of one upstream, and which of them carries a call.

    caller    upstream   `session`                           lane
    any       modern     any                                 the control link (`Supervisor`): answers and questions know their call
    any       legacy     shared                              the control link
    legacy    legacy     isolated; auto at a URL             the session's own (`Sessions`)
    modern    legacy     isolated                            a link that the call has to itself (`Exclusive`)
    any       legacy     auto, otherwise                     the control link, until the upstream talks; then as isolated

A session that has a link of its own keeps it: what it did there is known there alone.

An upstream *talks* when it asks or logs where the link cannot tell whose call it is about. Nobody knows that beforehand, and fifty first
calls of an asking tool on one process would be fifty questions none of which has a certain owner. So one client at a time uses what nobody
used before: its question finds its owner as soon as the calls that run beside it have ended, which do not ask, and from then on everybody
goes elsewhere. A use that ended without a question is not waited for again; nor is one that asked where the link could tell whose call it is
about, as streamable HTTP can if the server uses it so. Many servers do not: they ask on the session's own stream.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal

from meshproxy.links.link import Link
from meshproxy.relay.capabilities import may_be_asked
from meshproxy.relay.downstream import Downstream
from meshproxy.relay.lease import Lease
from meshproxy.upstream.exclusive import Exclusive
from meshproxy.upstream.sessions import Sessions
from meshproxy.upstream.supervisor import Supervisor
from meshproxy.wire.protocol import Era

SessionMode = Literal["auto", "isolated", "shared"]

CAUTION: Final = 1.0
"""Seconds that the first use of something waits for the first uses of others; then it gets a link of its own, if it may be asked."""
LITTLE_CAUTION: Final = 0.1
"""The same where the link can tell calls apart and the upstream need only do so."""


class Lanes:
    """The links of one upstream.

    `is_dear` says whether each connection is a process. `open_session` makes the link of a downstream,
    `close_session` closes it, and `open_exclusive` makes one for a call at a time.

    Attributes:
        sessions: the links of downstream sessions.
        talks: whether the upstream talks to its callers.
    """

    def __init__(
        self,
        name: str,
        mode: SessionMode,
        supervisor: Supervisor,
        open_session: Callable[[Downstream], Awaitable[Link]],
        close_session: Callable[[Link], Awaitable[None]],
        open_exclusive: Callable[[], Awaitable[Link]],
        is_dear: Callable[[], bool],
        patience: float | None,
    ) -> None:
        self.sessions = Sessions(name, open_session, close_session)
        self.talks = False
        self._mode = mode
        self._supervisor = supervisor
        self._exclusive = Exclusive(name, open_exclusive, patience)
        self._is_dear = is_dear
        self._open: Lease | None = None
        self._known: set[object] = set()
        self._crowd: dict[Lease, tuple[str, bool]] = {}
        self._waiting: set[asyncio.Event] = set()

    async def control(self) -> Link:
        """The control link. Raises `UpstreamUnavailable`."""
        return self._supervisor.open_link() or await self._supervisor.obtain_link()

    async def own(self, downstream: Downstream) -> Link | None:
        """The link of a downstream's own for what is not a call, opened if need be; None if it shares the control link.

        Raises:
            UpstreamUnavailable: there is none and none can be had.
        """
        if downstream.era is Era.MODERN or (await self.control()).era is Era.MODERN:
            return None
        if not self._isolates:
            return self.sessions.get(downstream.key)
        return self.sessions.get(downstream.key) or await self.sessions.obtain(downstream)

    async def reach(self, downstream: Downstream, use: object) -> Lease:
        """The lane of a call; `use` tells what is called from what else can be. Waits for nothing where a link is open and free.

        Raises:
            UpstreamUnavailable: there is no link and none can be had.
        """
        lane = self.at_hand(downstream, use)
        if lane is not None:
            return lane
        control = await self.control()
        if control.era is Era.MODERN or self._mode == "shared":
            return Lease(control)
        is_legacy = downstream.era is Era.LEGACY
        if self._is_tried(downstream):
            joined = self._join(control, downstream, use) or await self._join_later(control, downstream, use)
            if joined is not None:
                return joined
        if is_legacy:
            return Lease(await self.sessions.obtain(downstream), downstream)
        lent = await self._exclusive.take(self._free_control)
        return Lease(lent, given=lambda: self._exclusive.give(lent, self._supervisor.link))

    def at_hand(self, downstream: Downstream, use: object) -> Lease | None:
        """The lane of a call if nothing must be waited for; see `reach`."""
        control = self._supervisor.open_link()
        if control is None:
            return None
        if control.era is Era.MODERN or self._mode == "shared":
            lane = self._open
            if lane is None or lane.link is not control:
                # Nothing about it is one call's own, so it can be every call's.
                lane = self._open = Lease(control)
            return lane
        if downstream.era is Era.LEGACY and (own := self.sessions.get(downstream.key)) is not None:
            return Lease(own, downstream)
        return self._join(control, downstream, use) if self._is_tried(downstream) else None

    def use_ended(self, use: object) -> None:
        """A use of something ended, and nothing was asked."""
        if not self.talks:
            self._known.add(use)

    def on_talk(self) -> bool:
        """The upstream talks to its callers. Says whether that is news."""
        if self.talks:
            return False
        self.talks = True
        self._known.clear()
        self._changed()
        return True

    async def rest(self) -> None:
        """The control link closes: close what nobody uses. What is lent stays with its borrower."""
        self._open = None
        await self._exclusive.trim()

    async def aclose(self) -> None:
        """Close every link but the control link."""
        await asyncio.gather(self.sessions.aclose(), self._exclusive.aclose())

    @property
    def _isolates(self) -> bool:
        """Whether a legacy downstream has a link of its own at a legacy upstream."""
        return self._mode == "isolated" or (self._mode == "auto" and (self.talks or not self._is_dear()))

    def _is_tried(self, downstream: Downstream) -> bool:
        """Whether a call without a link of its own may go over the control link, to see whether the upstream talks."""
        return self._mode == "auto" and not self.talks and (downstream.era is Era.MODERN or self._is_dear())

    def _join(self, control: Link, downstream: Downstream, use: object) -> Lease | None:
        """A place on the control link, unless two clients there would use something for the first time."""
        is_first = use not in self._known
        if self.talks:
            return None
        if is_first and any(first and key != downstream.key for key, first in self._crowd.values()):
            return None
        return self._seat(control, downstream, use, is_first=is_first)

    def _seat(self, control: Link, downstream: Downstream, use: object, *, is_first: bool) -> Lease:
        lane = Lease(control)
        lane.given = partial(self._leave, lane)
        if is_first:
            lane.on_asked = partial(self._told_apart, lane, use)
        self._crowd[lane] = (downstream.key, is_first)
        return lane

    def _told_apart(self, lane: Lease, use: object) -> None:
        """The upstream asked something, and it was certain at once whose call it is about."""
        if not self.talks and lane in self._crowd:
            self._known.add(use)
            self._crowd[lane] = (self._crowd[lane][0], False)
            self._changed()

    async def _join_later(self, control: Link, downstream: Downstream, use: object) -> Lease | None:
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(LITTLE_CAUTION if control.tells_calls_apart else CAUTION):
                lane = None
                while lane is None and not self.talks:
                    await changed.wait()
                    changed.clear()
                    control = await self.control()
                    lane = self._join(control, downstream, use)
        except TimeoutError:
            # A client that cannot be asked waits for nobody: what the upstream asks it is refused.
            control = await self.control()
            is_welcome = not self.talks and not may_be_asked(downstream)
            lane = self._seat(control, downstream, use, is_first=False) if is_welcome else None
        finally:
            self._waiting.discard(changed)
        return lane

    def _leave(self, lane: Lease) -> None:
        del self._crowd[lane]
        self._changed()

    def _changed(self) -> None:
        for waiting in self._waiting:
            waiting.set()

    def _free_control(self) -> Link | None:
        """The control link, if nobody calls on it."""
        control = self._supervisor.open_link()
        is_used = (
            control is None or self._crowd or any(call and call.owner is not None for call in control.calls.values())
        )
        return None if is_used else control
