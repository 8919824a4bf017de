"""`Guard`: asked before each call of one upstream whether it may go, and told what became of it. Place: guard, over the pure modules.

    admit     the breaker, a slot or a place in the queue, the rate; beyond them the call ends at once, with `UpstreamBusy`
    start     at once, or when a slot is free: it is handed on, in a step of the loop of its own
    on the way back: the slot is given back, unless the call is parked; the breaker hears of it

Where no rule is set that could hold a call back, `is_needed` is false and nobody asks. See docs/decisions/limits.md.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from meshproxy.config.units import format_rate
from meshproxy.errors import RpcError, UpstreamBusy, UpstreamError
from meshproxy.guard.breaker import Breaker, State
from meshproxy.guard.bucket import Bucket
from meshproxy.guard.lender import Lender
from meshproxy.guard.repeating import is_safe, is_worth_repeating, pause, repeats
from meshproxy.guard.rules import Rules
from meshproxy.guard.slots import Slots
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Outcome

__all__ = ["Guard"]

log = structlog.get_logger(__name__)

GoOn = Callable[[Call], None]
_WEIGHT: Final = 0.1
"""How much the last call counts in how long calls take."""


class Guard:
    """The guard of one upstream.

    `is_reachable` gives something while the upstream is connected: what fails while it is not is known already, and dealt with elsewhere.

    Attributes:
        is_needed: whether a call has to be admitted.
        has_uncounted: whether calls are in flight that began before there was a bound, each of which is to be said when it ends (`uncounted_left`).
        max_result: bytes of an answer.
        reads: whether calls other than those of tools may be repeated.
        tools: whether those may be.
    """

    __slots__ = (
        "_asking",
        "_breaker",
        "_bucket",
        "_is_reachable",
        "_lender",
        "_queue_wait",
        "_rules",
        "_seconds",
        "_slots",
        "_upstream",
        "has_uncounted",
        "is_needed",
        "max_result",
        "reads",
        "tools",
    )

    def __init__(self, upstream: str, rules: Rules, is_reachable: Callable[[], object]) -> None:
        self._upstream = upstream
        self._is_reachable = is_reachable
        self._slots = Slots(None, rules.queue)
        self._bucket: Bucket | None = None
        self._breaker: Breaker | None = None
        self._lender: Lender | None = None
        self._asking = 0
        self._seconds = 0.0
        self._rules = Rules()
        self._queue_wait = rules.queue_wait
        self.is_needed = False
        self.has_uncounted = False
        self.max_result = rules.result
        self.reads = True
        self.tools = False
        self.obey(rules, 0)

    def obey(self, rules: Rules, in_flight: int) -> None:
        """Go by other rules from now on; `in_flight` calls are under way. Those keep their slots, and those who wait their places and their time."""
        before, self._rules = self._rules, rules
        slots = self._slots
        if before.concurrency is None and rules.concurrency is not None:
            slots.others = max(0, in_flight - slots.running - slots.waiting - self._asking)
            self.has_uncounted = slots.others > 0
        slots.most, slots.queue = rules.concurrency, rules.queue
        if rules.rate != before.rate:
            self._bucket = None if rules.rate is None else Bucket(rules.rate, time.monotonic())
        if rules.failures is None:
            self._breaker = None
        elif self._breaker is None:
            self._breaker = Breaker(rules.failures, rules.pause)
        else:
            self._breaker.obey(rules.failures, rules.pause)
        self._queue_wait = rules.queue_wait
        self.max_result = rules.result
        self.reads, self.tools = rules.reads > 0, rules.idempotent_tools > 0
        self.is_needed = rules.concurrency is not None or rules.rate is not None or rules.failures is not None
        self._borrow(rules)
        self._serve_next()

    def _borrow(self, rules: Rules) -> None:
        """Have lent what the rules allow, where they hold over several processes."""
        lending, lender = rules.lending, self._lender
        if lending is None or (lender is None and rules.concurrency is None and rules.rate is None):
            return
        if lender is None:
            lender = self._lender = lending.lender(rules.limits, self, self._slots)
        times, seconds = rules.rate or (0, 1.0)
        lender.obey(rules.concurrency, self._bucket, times, seconds)
        if rules.concurrency is not None:
            self._slots.most = lender.slots

    def lent(self) -> None:
        """See `meshproxy.guard.lender.Borrower`."""
        lender = self._lender
        if lender is not None and self._rules.concurrency is not None:
            self._slots.most = lender.slots
            self._serve_next()

    def status(self) -> Mapping[str, Any]:
        """What there is to say of it, for people."""
        status: dict[str, Any] = {}
        if self._rules.concurrency is not None:
            status["queued"] = self._slots.waiting
        if self._breaker is not None:
            status["breaker"] = str(self._breaker.state)
        return status

    # --- on the way of a call

    def admit(self, call: Call, go_on: GoOn) -> None:
        """Hand a call on to `go_on`, now or when it is its turn.

        Raises:
            UpstreamBusy: it is beyond a limit.
        """
        breaker, lender = self._breaker, self._lender
        call.ticket = ticket = _Ticket(self)
        if breaker is not None:
            self._check(breaker)
        if lender is not None:
            lender.used()
            if self._may_be_lent(lender):
                self._asking += 1
                ticket.keep(go_on)
                call.then(self._asked_no_more)
                call.wait(lender.more(), ticket.lent)
                return
        self.enter(call, ticket, go_on)

    def enter(self, call: Call, ticket: "_Ticket", go_on: GoOn) -> None:
        """Count a call that comes, and hand it on or let it wait. As `admit`."""
        bucket, slots = self._bucket, self._slots
        if slots.is_full:
            raise self._full()
        if bucket is not None:
            rest = bucket.take(time.monotonic())
            if rest > 0:
                reason = f"it takes {format_rate(self._rules.rate)} calls and has had them"
                raise UpstreamBusy(self._upstream, reason, "limits.rate", rest)
        call.then(self._came)
        if slots.most is not None:
            ticket.party = call.context.downstream.party
            ticket.is_counted = True
            if not slots.take(ticket.party):
                slots.wait(ticket.party, ticket)
                ticket.queue(call, go_on, self._queue_wait)
                if self._lender is not None:
                    self._lender.lacks()
                return
            ticket.take()
        self.start(call, ticket, go_on)

    def asked(self) -> None:
        """A call does not wait any more until more is lent."""
        self._asking -= 1

    def _asked_no_more(self, call: Call, outcome: Outcome) -> Outcome:
        """On the way back: it may have been given up while it waited."""
        ticket = call.ticket
        if isinstance(ticket, _Ticket):
            ticket.forget()
        return outcome

    def _may_be_lent(self, lender: Lender) -> bool:
        """Whether a call that would be refused might not be, if more were lent."""
        bucket = self._bucket
        # Who comes later does not take what is on its way for those who wait.
        if bucket is not None and (bucket.may_be_lent(time.monotonic()) or (bucket.is_lent and self._asking > 0)):
            return True
        return self._slots.is_full and lender.may_lend()

    def start(self, call: Call, ticket: "_Ticket", go_on: GoOn) -> None:
        """It is a call's turn. Raises `UpstreamBusy`, if meanwhile others have failed too often."""
        breaker = self._breaker
        if breaker is not None:
            self._check(breaker)
            ticket.is_probe = breaker.enter()
        go_on(call)

    def uncounted_left(self, call: Call) -> None:
        """A call has ended, which may be one that began before there was a bound."""
        ticket = call.ticket
        if isinstance(ticket, _Ticket) and ticket.is_counted:
            return
        slots = self._slots
        slots.others -= 1
        self.has_uncounted = slots.others > 0
        self._serve_next()

    def _check(self, breaker: Breaker) -> None:
        rest = breaker.rest(time.monotonic())
        if rest is not None:
            reason = f"its calls failed, and it is left in peace for a while; the last one: {breaker.reason}"
            raise UpstreamBusy(self._upstream, reason, "breaker", rest)

    def _full(self) -> UpstreamBusy:
        slots = self._slots
        reason = f"{slots.running + slots.others} calls are in flight, and {slots.waiting} wait"
        return UpstreamBusy(self._upstream, reason, "limits.concurrency, limits.queue", self._rest())

    def waited_too_long(self, seconds: float) -> UpstreamBusy:
        """How a call ends whose turn has not come in time."""
        reason = f"{self._slots.running + self._slots.others} calls are in flight, and the turn of this one has not come within {seconds:g} s"
        return UpstreamBusy(self._upstream, reason, "limits.concurrency, limits.queue_wait", self._rest())

    def _rest(self) -> float:
        """Seconds until a place is likely to become free: by how long calls have taken lately."""
        return self._seconds / (self._slots.most or 1)

    def _came(self, call: Call, outcome: Outcome) -> Outcome:
        """On the way back: what the outcome says of the upstream, and the slot."""
        ticket = call.ticket
        if isinstance(ticket, _Ticket):
            if self._breaker is not None:
                self._weigh(self._breaker, call, outcome, is_probe=ticket.is_probe)
            if not call.is_parked or isinstance(outcome, BaseException):
                ticket.free()
        return outcome

    def _weigh(self, breaker: Breaker, call: Call, outcome: Outcome, *, is_probe: bool) -> None:
        before = breaker.state
        if isinstance(outcome, UpstreamError):
            # That the upstream is not connected is known, and dealt with elsewhere.
            if outcome.is_fault and (call.lease is not None or self._is_reachable() is not None):
                breaker.failed(time.monotonic(), outcome.reason, is_probe=is_probe)
            else:
                breaker.given_up(is_probe=is_probe)
        elif isinstance(outcome, RpcError) or not isinstance(outcome, BaseException):
            breaker.went_well(is_probe=is_probe)
        else:
            breaker.given_up(is_probe=is_probe)
        after = breaker.state
        if after is State.OPEN and before is State.CLOSED:
            seconds = self._rules.pause
            log.warning("upstream.left_in_peace", upstream=self._upstream, reason=breaker.reason, seconds=seconds)
        elif after is State.CLOSED and before is not State.CLOSED:
            log.info("upstream.called_again", upstream=self._upstream)

    def freed(self, party: object, seconds: float) -> None:
        """A slot of the party is given back, which was held for so long."""
        self._seconds += (seconds - self._seconds) * (_WEIGHT if self._seconds else 1.0)
        self._slots.free(party)
        self._serve_next()

    def leave(self, ticket: "_Ticket") -> None:
        """A place in the queue is given up."""
        self._slots.leave(ticket.party, ticket)

    def _serve_next(self) -> None:
        while True:
            ticket = self._slots.next()
            if not isinstance(ticket, _Ticket):
                return
            ticket.serve()

    # --- repeating

    def again_after(self, call: Call, error: UpstreamError, definition: Mapping[str, Any] | None) -> float | None:
        """Seconds after which to repeat a call that failed so; None if it is not to be repeated. `definition` is that of its tool."""
        rules, number = self._rules, call.repeats + 1
        if number > repeats(call.method, rules) or not is_worth_repeating(error) or call.is_heard or call.is_parked:
            return None
        if call.method == "tools/call" and not is_safe(definition):
            return None
        breaker, bucket = self._breaker, self._bucket
        if breaker is not None and breaker.state is not State.CLOSED:
            return None
        seconds = pause(number, random.random())  # noqa: S311  # spreads those who failed together, guards nothing
        if call.timeout is not None and call.since + call.timeout <= time.monotonic() + seconds:
            return None
        if bucket is not None and bucket.take(time.monotonic()) > 0:
            return None
        call.repeats = number
        return seconds


class _Ticket:
    """A call's place: in the queue, then among those in flight (`meshproxy.relay.call.Ticket`).

    Attributes:
        party: whose it is.
        is_counted: whether it waits for a slot, has one or had one.
        is_probe: whether the breaker goes by what becomes of it.
    """

    __slots__ = (
        "_call",
        "_go_on",
        "_guard",
        "_handle",
        "_has_slot",
        "_is_asking",
        "_patience",
        "_since",
        "is_counted",
        "is_probe",
        "party",
    )

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        # Only while it waits: a call and its ticket would hold each other.
        self._call: Call | None = None
        self._go_on: GoOn | None = None
        self._handle: asyncio.Handle | None = None
        self._has_slot = False
        self._is_asking = False
        self._patience = 0.0
        self._since = 0.0
        self.party: object = None
        self.is_counted = False
        self.is_probe = False

    def take(self) -> None:
        """It has a slot."""
        self._has_slot = True
        self._since = time.monotonic()

    def keep(self, go_on: GoOn) -> None:
        """Keep what is done when it was asked for more (`lent`)."""
        self._go_on = go_on
        self._is_asking = True

    def lent(self, call: Call, _: None) -> None:
        """It was asked for more: the call comes now."""
        self.forget()
        go_on, self._go_on = self._go_on, None
        if go_on is not None:
            self._guard.enter(call, self, go_on)

    def forget(self) -> None:
        """Wait no more until more is lent. Idempotent."""
        if self._is_asking:
            self._is_asking = False
            self._guard.asked()

    def queue(self, call: Call, go_on: GoOn, seconds: float) -> None:
        """Wait for a slot, so many seconds at most."""
        self._call, self._go_on, self._patience = call, go_on, seconds
        call.under_way(self._give_up)
        self._handle = asyncio.get_running_loop().call_later(seconds, self._expire)

    def serve(self) -> None:
        """It has a slot from now on, and goes in a step of its own: whoever has given it back is in the middle of something."""
        self.take()
        self._stop()
        self._handle = asyncio.get_running_loop().call_soon(self._go)

    def free(self) -> None:
        """See `meshproxy.relay.call.Ticket`."""
        if self._has_slot:
            self._has_slot = False
            self._guard.freed(self.party, time.monotonic() - self._since)

    def _go(self) -> None:
        self._handle = None
        call, self._call = self._call, None
        if call is not None:
            call.go(self._start)

    def _start(self, call: Call) -> None:
        go_on, self._go_on = self._go_on, None
        if go_on is not None:
            self._guard.start(call, self, go_on)

    def _expire(self) -> None:
        self._end(self._guard.waited_too_long(self._patience))

    def _give_up(self) -> None:
        self._end(asyncio.CancelledError())

    def _end(self, outcome: BaseException) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._stop()
            self._go_on = None
            if not self._has_slot:
                self._guard.leave(self)
            call.end(outcome)

    def _stop(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()
