"""`Shared`: the links of one upstream that clients share, and which clients do: the control link, and its counterpart of the legacy era."""

from collections.abc import Callable
from typing import Literal, Protocol

from meshproxy.links.known import Known
from meshproxy.links.link import Link
from meshproxy.relay.downstream import Downstream
from meshproxy.upstream.common import Common
from meshproxy.upstream.exclusive import Shown
from meshproxy.upstream.mirror import Counterpart
from meshproxy.upstream.uses import Uses
from meshproxy.wire.protocol import Era

SessionMode = Literal["auto", "isolated", "shared"]


class Opener(Protocol):
    """Makes links; see `meshproxy.upstream.connections`.

    Attributes:
        known: what was found out about the upstream.
        is_dear: whether each connection is a process.
    """

    known: Known
    is_dear: bool

    async def open_session(self, downstream: Downstream, era: Era | None) -> Link:
        """The link of a session's own, in the one era that is wanted, or else in the upstream's."""
        ...

    async def close_session(self, link: Link) -> None:
        """Close such a one."""
        ...

    async def open_counterpart(self) -> Link:
        """A link of the legacy era, for several sessions."""
        ...

    async def open_exclusive(self, shown: Shown) -> Link:
        """A link for one call at a time, of whoever is `shown` by these headers."""
        ...

    def shown_by(self, downstream: Downstream) -> Shown:
        """The headers by which a client shows itself to the upstream; None if there are none that clients bring."""
        ...


class Shared:
    """The links of one upstream that clients share, by its `session` mode; `opener` makes the counterpart.

    Attributes:
        mode: how the upstream is shared.
        counterpart: the link of the legacy era that sessions share beside a modern control link.
    """

    def __init__(self, name: str, mode: SessionMode, opener: Opener) -> None:
        self.mode: SessionMode = mode
        self.counterpart = Counterpart(name, opener.open_counterpart, self._made)
        self._known = opener.known
        self._opener = opener
        self._control: Common | None = None
        self._tried = Uses()

    # --- which

    def at(self, control: Link) -> Common:
        """Who uses the control link."""
        common = self._control
        if common is None or common.link is not control:
            if common is not None:
                common.end()
            common = self._control = Common(control, self._known, self._tried)
        return common

    def by(self, downstream: Downstream, control: Link) -> Common | None:
        """The link that a session shares, as far as it is open; one that was bridged stays where it was."""
        if self.mode != "auto" or not self._opener.is_dear:
            return None
        common = self.at(control)
        if not self.is_mirrored(control) or common.is_of(downstream):
            return common
        other: Common | None = self.counterpart.common
        return other if other is not None and other.link.is_open else None

    def is_mirrored(self, control: Link) -> bool:
        """Whether legacy clients get links of their own era beside a modern control link."""
        return control.era is Era.MODERN and self._known.may_have_handshake

    def is_tried(self, downstream: Downstream) -> bool:
        """Whether a call without a link of its own may go over a shared one, to see whether the upstream talks."""
        if self.mode != "auto" or self._known.talks:
            return False
        return self._opener.is_dear or (downstream.era is Era.MODERN and self._opener.shown_by(downstream) is None)

    def sole_resident(self, link: Link) -> Downstream | None:
        """The one session that a link which could be shared has ever been used by."""
        for common in (self._control, self.counterpart.get()):
            if common is not None and common.link is link:
                return common.sole_resident
        return None

    # --- what happens

    def use_ended(self, use: object) -> None:
        """A use of something ended, and nothing was asked."""
        if not self._known.talks:
            self._tried.remember(use)

    def on_talk(self) -> bool:
        """The upstream talks to its callers. Says whether that is news."""
        if self._known.talks:
            return False
        self._known.talks = True
        self._tried.clear()
        for common in (self._control, self.counterpart.get()):
            if common is not None:
                common.changed()
        return True

    def on_closed(self, link: Link) -> None:
        """A link that is no session's own has ended by itself."""
        if self._control is not None and self._control.link is link:
            self.leave_control()
        common = self.counterpart.get()
        if common is None or common.link is link:
            self.counterpart.discard()

    def leave_control(self) -> None:
        """The control link ends, and what clients did there with it."""
        common, self._control = self._control, None
        if common is not None:
            common.end()

    def _made(self, link: Link, on_unused: Callable[[], None]) -> Common:
        return Common(link, self._known, self._tried, on_unused)
