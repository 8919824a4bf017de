"""`Carrier`: the way of a call through one upstream. Place: upstream, under `provider`.

A call is admitted by the upstream's `Guard`, takes its lease, goes over a link (`LinkChoice` chooses it, `Bridge` crosses the eras), and is counted until it has ended. One that never left is
sent once more, over another link, and one whose answer was lost may be repeated, if the guard says so.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from meshproxy.eras.bridge import Bridge
from meshproxy.errors import AnswerLost, AnswerTooLate, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.guard.guard import Guard
from meshproxy.guard.rest import rest
from meshproxy.guard.rules import Rules
from meshproxy.kinds import Kind
from meshproxy.links.negotiation import RequestRefusedError
from meshproxy.relay.call import PENDING, Call, Lease, Step
from meshproxy.relay.downstream import FAILED, Downstream, Outcome
from meshproxy.relay.elicitations import Elicitations
from meshproxy.supervision.supervisor import Supervisor
from meshproxy.upstream.attribution import Attribution
from meshproxy.upstream.audience import Audience
from meshproxy.upstream.connections import Connections
from meshproxy.upstream.link_choice import LinkChoice
from meshproxy.upstream.uses import use_of
from meshproxy.wire.protocol import Era

__all__ = ["Carrier"]

_monotonic: Final = time.monotonic


class Owner(Protocol):
    """The provider, as the way of its calls sees it."""

    @property
    def name(self) -> str: ...

    def on_elsewhere(self, downstream: Downstream | None, method: str, params: dict[str, Any]) -> None:
        """A notification about a listing, a resource or the like."""
        ...

    def scrubbed(self, error: RpcError | UpstreamError) -> RpcError | UpstreamError:
        """An error without the secrets of the config."""
        ...


class Carrier:
    """The calls of one upstream.

    Attributes:
        running: how many are under way.
        is_shut: no new ones are taken.
        free: set while none is under way.
        elicitations: which client was sent to which page.
    """

    def __init__(
        self,
        owner: Owner,
        rules: Rules,
        choice: LinkChoice,
        bridge: Bridge,
        connections: Connections,
        audience: Audience,
        supervisor: Supervisor,
        attribution: Attribution,
        forward: tuple[str, ...],
        timeout: float | None,
    ) -> None:
        self.running = 0
        self.is_shut = False
        self.free = asyncio.Event()
        self.free.set()
        self._owner = owner
        self._guard = Guard(owner.name, rules, supervisor.open_link)
        self._choice = choice
        self._bridge = bridge
        self.elicitations = Elicitations()
        self._connections = connections
        self._audience = audience
        self._supervisor = supervisor
        self._connected = asyncio.Event()
        supervisor.condition.on_change(self._on_change)
        self._held = attribution.held
        self._elsewhere = owner.on_elsewhere
        self._forward = forward
        self._timeout = timeout
        # A method bound anew for each call costs more than what it does.
        self._leaves: Step = self._left
        self._comes_back: Step = self._came_back

    def carry(self, call: Call) -> None:
        """See `ProxyProvider.carry`."""
        if self.is_shut:
            raise UpstreamUnavailable(self._owner.name, "it was removed from the mesh")
        self.enter()
        call.then(self._leaves)
        is_modern = call.context.downstream.era is Era.MODERN
        if is_modern and "requestState" in call.params and self._bridge.resumes(call):
            return
        if self._guard.is_needed:
            self._guard.admit(call, self._choose)
        else:
            self._choose(call)

    def limit(self, rules: Rules) -> None:
        """See `ProxyProvider.limit`."""
        self._guard.obey(rules, self.running)

    def status(self) -> dict[str, Any]:
        """What there is to say of its calls, for people."""
        return {"calls": self.running, **self._guard.status()}

    def enter(self) -> None:
        """Something is under way that the upstream is not to be closed under."""
        if not self.running:
            self.free.clear()
        self.running += 1

    def leave(self) -> None:
        """It is over."""
        self.running -= 1
        self._supervisor.last_use = _monotonic()
        # Questions of which it was not certain whose they are may be clearer now.
        for event in self._held:
            event.set()
        if not self.running:
            self.free.set()

    def _on_change(self) -> None:
        if self._supervisor.open_link() is None:
            self._connected.clear()
        else:
            self._connected.set()

    def _choose(self, call: Call) -> None:
        if not call.since and (self._guard.tools if call.method == "tools/call" else self._guard.reads):
            call.since = _monotonic()
        if self._forward:
            call.context.downstream.headers = call.context.headers
        use = use_of(call.method, call.params)
        lease = self._choice.at_hand(call.context.downstream, use)
        if lease is None:
            call.wait(self._choice.reach(call.context.downstream, use), self._over)
        else:
            self._over(call, lease)

    def _over(self, call: Call, lease: Lease) -> None:
        """A link is there: what the upstream says meanwhile finds its way back from now on."""
        call.lease = lease
        record = call.record
        if record is not None and not record.sent:
            record.sent = _monotonic()
        # Only a place that is shared is chosen by what was used there before.
        call.use = None if lease.given is None else use_of(call.method, call.params)
        call.timeout = self._timeout
        call.max_result = self._guard.max_result
        call.handlers = self._connections.handlers_of.get(lease.link, self._connections.handlers)
        call.elsewhere = self._elsewhere
        call.elicitations = self.elicitations
        if self._forward:
            call.headers = self._connections.forwarded(call)
        if record is not None and record.span is not None:
            record.span.depart(call)
        call.then(self._comes_back)
        downstream = call.context.downstream
        if downstream.log_level is not None and lease.owner is None and downstream.era is Era.MODERN:
            call.wait(self._audience.tell_level(call), self._cross)
        else:
            self._bridge.carry(call, lease.link)

    def _cross(self, call: Call, _: None) -> None:
        if call.lease is not None:
            self._bridge.carry(call, call.lease.link)

    def _came_back(self, call: Call, outcome: Outcome) -> Any:
        """On the way back: the link is free again. What never left goes over another one, once."""
        lease = call.lease
        if lease is None:
            return outcome
        if not isinstance(outcome, FAILED):
            if lease.given is not None and not call.is_parked:
                lease.give()
            if call.use is not None:
                self._choice.shared.use_ended(call.use)
            return outcome
        lease.give()
        if isinstance(outcome, UpstreamUnavailable) and not isinstance(outcome, RequestRefusedError):
            self._supervisor.lose(lease.link, outcome.reason)
            if not lease.link.is_open and not call.is_repeated:
                call.is_repeated = True
                self._choose(call)
                return PENDING
        elif isinstance(outcome, RpcError):
            self.elicitations.note_error(call.context.downstream, outcome)
        elif isinstance(outcome, AnswerLost):
            # It may be late, and a link that ends says so itself: others use it, and only a look at it tells.
            self._supervisor.doubt(lease.link)
            if isinstance(outcome, AnswerTooLate):
                outcome = outcome.bound_by("timeouts.call")
        if isinstance(outcome, UpstreamError) and call.since:
            seconds = self._guard.again_after(call, outcome, self._definition_of(call))
            if seconds is not None:
                is_lost = isinstance(outcome, UpstreamUnavailable) or not lease.link.is_open
                if is_lost and lease.link is self._supervisor.link:
                    # The supervisor has heard of it, and will act on it in a later step.
                    self._connected.clear()
                call.wait(rest(seconds, self._connected), self._again)
                return PENDING
        return outcome

    def _again(self, call: Call, _: None) -> None:
        self._choose(call)

    def _definition_of(self, call: Call) -> Mapping[str, Any] | None:
        """What the upstream says of the tool that is called; None for what is no tool."""
        catalog, name = self._supervisor.catalog, call.params.get("name")
        if catalog is None or call.method != "tools/call":
            return None
        for definition in catalog[Kind.TOOL]:
            if definition.get("name") == name:
                return definition
        return None

    def _left(self, call: Call, outcome: Outcome) -> Any:
        """On the way back: the call is over."""
        self.leave()
        if self._guard.has_uncounted:
            self._guard.uncounted_left(call)
        # What most calls end with is told from an error by the cheapest look there is.
        if not isinstance(outcome, FAILED) or not isinstance(outcome, (RpcError, UpstreamError)):
            return outcome
        return self._owner.scrubbed(outcome)
