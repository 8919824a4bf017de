"""`LinkChoice`: all the links of one upstream, and which of them carries a call.

An upstream that speaks both eras is spoken to in the era of each client. Its control link (`Supervisor`) is modern.

    caller    upstream              `session`                     lease
    any       any                   shared                        the control link
    modern    modern, or both       any                           the control link; a link that the call has to itself (`Exclusive`) for a command
                                                                  while another call, too, wants log lines
    modern    legacy                isolated                      a link that the call has to itself
    modern    legacy                auto                          the control link, until the upstream talks; then as isolated
    legacy    legacy, or both       isolated; auto at a URL       the session's own (`Sessions`), opened with the handshake
    legacy    legacy, or both       auto for a command            a link that sessions share until the upstream talks, and then a session's own: the
                                                                  control link if that is legacy, else its `Counterpart`
    legacy    modern, at a URL      any                           the control link: there is nothing of a session that could be kept apart
    legacy    modern, a command     isolated, auto                as for a legacy one

Where clients bring headers of their own (`forward_headers`), a session of an upstream is opened with those of the one client that it is for, and is
nobody else's: a modern client's call at a legacy upstream goes as if isolated. See docs/decisions/callers-headers.md.

A session that has a link of its own keeps it, and one that has used a link which it shares keeps that: what it did there is known there alone. See
docs/decisions/upstream-links.md and exclusive-links.md.

An upstream *talks* when it asks or logs where the link cannot tell whose call it is about. Nobody knows that beforehand, and fifty first
calls of an asking tool on one process would be fifty questions none of which has a certain owner. So one client at a time uses what nobody
used before: its question finds its owner as soon as the calls that run beside it have ended, which do not ask, and from then on whoever has not
used the link goes elsewhere. A use that ended without a question is not waited for again; nor is one that asked where the link could tell whose
call it is about, as streamable HTTP can if the server uses it so. Many servers do not: they ask on the session's own stream.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from meshproxy.errors import UpstreamUnavailable
from meshproxy.links.link import Link
from meshproxy.relay.call import Lease
from meshproxy.relay.downstream import Downstream
from meshproxy.supervision.supervisor import Supervisor
from meshproxy.upstream.at_hand import AtHand
from meshproxy.upstream.common import Common
from meshproxy.upstream.exclusive import Exclusive
from meshproxy.upstream.sessions import Sessions
from meshproxy.upstream.shared import Opener, SessionMode, Shared
from meshproxy.upstream.waiting import join_later, turn, when_certain
from meshproxy.wire.protocol import Era

__all__ = ["LinkChoice", "Place", "SessionMode"]


class _TurnError(UpstreamUnavailable):
    """Another client has the process that is to be shared with it."""

    is_fault = False


class Place(NamedTuple):
    """Where an upstream is told what a client wants to hear of: over which link, and who else is told there."""

    link: Link
    is_own: bool = False
    is_counterpart: bool = False


class LinkChoice(AtHand):
    """The links of one upstream.

    `opener` makes the links. A call that waits for its turn on a link does so for `turn` seconds, and one for a free link for `patience`.

    Attributes:
        sessions: the links of downstream sessions.
    """

    def __init__(
        self,
        name: str,
        mode: SessionMode,
        supervisor: Supervisor,
        opener: Opener,
        *,
        patience: float | None,
        turn: float | None,
    ) -> None:
        self.sessions = Sessions(name, self._open_session, opener.close_session)
        super().__init__(mode, supervisor, opener.known, self.sessions.leases, Shared(name, mode, opener))
        self._name = name
        self._opener = opener
        self._turn = turn
        self._exclusive = Exclusive(name, opener.open_exclusive, patience)

    # --- for a call

    async def reach(self, downstream: Downstream, use: object) -> Lease:
        """The lease of a call; `use` tells what is called from what else can be. Waits for nothing where a link is open and free.

        Raises:
            UpstreamUnavailable: there is no link and none can be had.
        """
        while True:
            lease = self.at_hand(downstream, use)
            control = self._supervisor.open_link()
            if lease is None and control is None:
                await self.control()
            elif lease is None and control is not None:
                way = self._of_session if downstream.era is Era.LEGACY else self._of_caller
                lease = await way(control, downstream, use)
            if lease is not None:
                return lease

    # --- for what is no call

    def open_control(self) -> Link | None:
        """The control link if it can be used now."""
        return self._supervisor.open_link()

    async def control(self) -> Link:
        """The control link. Raises `UpstreamUnavailable`."""
        return self._supervisor.open_link() or await self._supervisor.obtain_link()

    async def place(self, downstream: Downstream) -> Place:
        """Where to subscribe for a client: where its calls go, or will go.

        Raises:
            UpstreamUnavailable: there is no link and none can be had.
        """
        control = await self.control()
        if downstream.era is Era.MODERN or self.mode == "shared":
            if control.era is Era.LEGACY:
                # What its calls do is to be heard of there.
                self.shared.at(control).admit(downstream)
            return Place(control)
        while True:
            own = self.sessions.get(downstream.key)
            if own is not None:
                # A modern link has no subscriptions, but streams, of which there is one.
                return Place(own, is_own=True) if own.era is Era.LEGACY else Place(control)
            is_mirrored = self.shared.is_mirrored(control)
            if control.era is Era.MODERN and not is_mirrored:
                return Place(control)
            try:
                common = self.shared.by(downstream, control)
                if common is None and self.shared.is_tried(downstream):
                    common = await self.shared.counterpart.obtain()
                if common is not None and (self.shared.is_tried(downstream) or common.is_of(downstream)):
                    return Place(common.link, is_counterpart=common.link is not control)
                await self.sessions.obtain(downstream)
            except UpstreamUnavailable:
                if not self._is_bridged_now(control, was_mirrored=is_mirrored):
                    raise

    def present(self, downstream: Downstream) -> Link | None:
        """The open link that a session's calls go over, or would; None if there is none yet."""
        own = self.sessions.get(downstream.key)
        control = self._supervisor.open_link()
        if own is not None or control is None or self.mode == "shared":
            return own or control
        common = self.shared.by(downstream, control)
        return common.link if common is not None else None

    # --- what happens

    def isolate(self) -> None:
        """From now on each downstream session has a link of its own, whatever the mode was."""
        self.mode = self.shared.mode = "isolated"

    def mirrored(self) -> int:
        """How many links are open in the era that the control link does not speak."""
        control = self._supervisor.open_link()
        if control is None or control.era is Era.LEGACY:
            return 0
        return sum(link.era is Era.LEGACY for _, link in self.sessions) + (self.shared.counterpart.get() is not None)

    def status(self) -> dict[str, Any]:
        """What there is to say of them, for people."""
        return {"sessions": len(self.sessions), "mirrored": self.mirrored()}

    async def rest(self, *, is_idle: bool) -> None:
        """The control link closes: close what nobody uses, and, if that is so because nobody used it, what sessions share.

        What is lent stays with its borrower.
        """
        self._open = None
        self.shared.leave_control()
        await self._exclusive.trim()
        if is_idle:
            await self.shared.counterpart.rest()

    async def aclose(self) -> None:
        """Close every link but the control link."""
        await asyncio.gather(self.sessions.aclose(), self._exclusive.aclose(), self.shared.counterpart.aclose())

    # --- which

    async def _of_session(self, control: Link, downstream: Downstream, use: object) -> Lease | None:
        """The lease of a legacy client's call; None if it is to be looked for again, by what is known now."""
        is_mirrored = self.shared.is_mirrored(control)
        common = self.shared.by(downstream, control)
        try:
            if common is not None and common.is_of(downstream) and self._known.talks:
                return await self._in_turn(common, downstream, use)
            if self.shared.is_tried(downstream):
                if common is None:
                    await self.shared.counterpart.obtain()
                    return None
                lease = await join_later(common, downstream, use)
                if lease is not None or self._known.talks or not common.link.is_open:
                    return lease
            await self.sessions.obtain(downstream)
            return self._own(downstream)
        except UpstreamUnavailable:
            if not self._is_bridged_now(control, was_mirrored=is_mirrored):
                raise
            return None

    async def _of_caller(self, control: Link, downstream: Downstream, use: object) -> Lease | None:
        """The lease of a modern client's call; None likewise."""
        common = self.shared.at(control)
        if control.era is Era.MODERN:
            lease = await when_certain(common, downstream)
            return lease or await self._lend(downstream, lambda: None)
        if self.shared.is_tried(downstream):
            lease = await join_later(common, downstream, use)
            if lease is not None:
                return lease
        return await self._lend(downstream, partial(self._free_control, downstream))

    async def _lend(self, downstream: Downstream, free_control: Callable[[], Link | None]) -> Lease:
        lent = await self._exclusive.take(free_control, self._opener.shown_by(downstream))
        # No step lies between: it is as free as it was.
        seat = self.shared.at(lent).alone(downstream) if lent is self._supervisor.link else None
        return Lease(lent, given=partial(self._give_back, lent, seat))

    def _give_back(self, lent: Link, seat: Lease | None) -> None:
        if seat is not None:
            seat.give()
        self._exclusive.give(lent, self._supervisor.link)

    def _free_control(self, downstream: Downstream) -> Link | None:
        """The control link, if nobody calls on it, nor has left there what he may come back for."""
        control = self._supervisor.open_link()
        # By what the mesh shows itself, and not by what such a client does.
        if control is None or self._opener.shown_by(downstream) is not None:
            return None
        return control if self.shared.at(control).is_free_for(downstream) else None

    async def _in_turn(self, common: Common, downstream: Downstream, use: object) -> Lease | None:
        try:
            async with asyncio.timeout(self._turn):
                return await turn(common, downstream, use)
        except TimeoutError:
            raise _TurnError(
                self._name,
                f"another client's call has taken longer than {self._turn:g} s in the process that this client shares with it; "
                "set 'session: isolated' to keep them apart from the start",
            ) from None

    async def _open_session(self, downstream: Downstream) -> Link:
        is_mirrored = self.shared.is_mirrored(await self.control())
        return await self._opener.open_session(downstream, Era.LEGACY if is_mirrored else None)

    def _is_bridged_now(self, control: Link, *, was_mirrored: bool) -> bool:
        """Whether a link that could not be had in a client's era was the last attempt at one, so that its call is bridged."""
        return was_mirrored and not self._known.may_have_handshake and control.is_open
