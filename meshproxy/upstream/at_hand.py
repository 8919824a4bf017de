"""`AtHand`: the link of a call where nothing must be waited for. Place: upstream, under `link_choice`, which says which link it is and why."""

from mypy_extensions import mypyc_attr

from meshproxy.links.known import Known
from meshproxy.links.link import Link
from meshproxy.relay.call import Lease
from meshproxy.relay.downstream import Downstream
from meshproxy.supervision.supervisor import Supervisor
from meshproxy.upstream.shared import SessionMode, Shared
from meshproxy.wire.protocol import Era

__all__ = ["AtHand"]


@mypyc_attr(allow_interpreted_subclasses=True)
class AtHand:
    """The links of one upstream that are open. `owned` are the leases of the sessions' own, by the keys of their clients.

    Attributes:
        mode: which links clients share, as configured.
        shared: the links that clients share.
    """

    __slots__ = ("_known", "_open", "_owned", "_supervisor", "mode", "shared")

    def __init__(
        self, mode: SessionMode, supervisor: Supervisor, known: Known, owned: dict[str, Lease], shared: Shared
    ) -> None:
        self.shared = shared
        self.mode: SessionMode = mode
        self._supervisor = supervisor
        self._known = known
        self._owned = owned
        self._open: Lease | None = None

    def at_hand(self, downstream: Downstream, use: object) -> Lease | None:
        """The lease of a call if nothing must be waited for; see `LinkChoice.reach`."""
        control = self._supervisor.link
        if control is None or not control.is_open:
            # What a session did on its own link is there, whatever became of the control link.
            return self._own(downstream)
        is_modern = control.era is Era.MODERN
        if downstream.era is Era.LEGACY and self.mode != "shared":
            own = self._owned.get(downstream.key)
            if own is not None and own.link.is_open:
                return own
            if is_modern and control.tells_calls_apart and not self._known.may_have_handshake:
                # Bridged, and there is nothing of a session that could be kept apart.
                return self._anybodys(control)
            common = self.shared.by(downstream, control)
            return None if common is None else common.join(downstream, use)
        if self.mode != "shared" and not is_modern:
            return self.shared.at(control).join(downstream, use) if self.shared.is_tried(downstream) else None
        if self.mode != "shared" and downstream.log_level is not None and not control.tells_calls_apart:
            return self.shared.at(control).alone(downstream)
        lease = self._open
        return lease if lease is not None and lease.link is control else self._anybodys(control)

    def _own(self, downstream: Downstream) -> Lease | None:
        """The open link of a session's own, if there is one."""
        own = self._owned.get(downstream.key)
        return own if own is not None and own.link.is_open else None

    def _anybodys(self, link: Link) -> Lease:
        """The lease of a link of which nothing is one call's own, so that it can be every call's."""
        lease = self._open
        if lease is None or lease.link is not link:
            lease = self._open = Lease(link)
        return lease
