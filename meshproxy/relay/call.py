"""`Call`: one request of a client, from its arrival to its last byte. It is what every room on the way is given.

A transport makes it when it has read a request, and hands it to its handler. A room does its step, adds with `then` what it has to do on the way
back, and hands the call on, in the same step of the event loop. Whoever has an outcome calls `end`, and the way back is run: last added, first
done. Where something must be waited for first, `wait` makes a task, the only kind there is, and the call goes on when it is done.

Messages that an upstream sends meanwhile come here too. The call was made for one request of one downstream, so it need not look for one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, TypeAlias

from meshproxy.catalog.catalog import Mount
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links import call as links
from meshproxy.links.call import GiveUp
from meshproxy.links.link import Link
from meshproxy.observe.record import Record
from meshproxy.relay.asking import ask
from meshproxy.relay.downstream import Downstream, Outcome, RequestContext, Result, bridged
from meshproxy.relay.elicitations import Elicitations
from meshproxy.relay.handlers import Handlers
from meshproxy.wire.protocol import Era

__all__ = ["DEFAULT_LEVEL", "PENDING", "Call", "Lease", "Step", "Ticket", "ended"]

DEFAULT_LEVEL: Final = "info"
PENDING: Final = object()
"""What a step returns that has not done with the call: it will be ended again."""
_NOBODY: Final[Mapping[str, str]] = {}
_NOWHERE: Final = Mount("")
_DEFAULT: Final = Handlers()

Step: TypeAlias = "Callable[[Call, Outcome], Any]"
"""One step on the way back: given the outcome so far, it returns the outcome from here on, or `PENDING`. It may raise that as well."""
GoOn: TypeAlias = "Callable[[Call, Any], None]"
"""How a call goes on with what was waited for."""


class Lease:
    """A link, for one call.

    Attributes:
        link: what carries the call.
        owner: the downstream whose own link it is; None where others may use it.
        given: to be called when the upstream has answered; None where nobody needs to know, or it has been.
        on_asked: to be called when the upstream asks something within the call; None where nobody needs to know.
    """

    __slots__ = ("given", "link", "on_asked", "owner")

    def __init__(self, link: Link, owner: Downstream | None = None, given: Callable[[], None] | None = None) -> None:
        self.link = link
        self.owner = owner
        self.on_asked: Callable[[], None] | None = None
        self.given = given

    def give(self) -> None:
        """The upstream has answered: the call needs the link no longer. Idempotent."""
        given, self.given = self.given, None
        self.on_asked = None
        if given is not None:
            given()


class Ticket(Protocol):
    """A place among the calls that an upstream may have in flight."""

    def free(self) -> None:
        """The upstream is done with the call. Idempotent."""
        ...


class Call(links.Call):
    """See the module.

    Attributes:
        context: who asks, and the way back to it.
        method: what is asked.
        params: a shallow dictionary, in the names of the room that the call is in: a client's at first, an upstream's at last. The call's own to change.
        mount: the place of the upstream that it is routed to.
        lease: the link that it is lent; None before, or once it is given back.
        era: that of the link.
        handlers: who puts the upstream's questions and notifications to the client.
        elsewhere: takes notifications that came on the call's stream and are about something else, with the owner of the lease.
        elicitations: remembers which pages the client was sent to.
        timeout: seconds until the upstream's answer is given up; None for never.
        headers: what an upstream at a URL is sent besides its own (lower-case names).
        owner: what tells its client from the others.
        wants_progress: whether to ask the upstream for progress.
        use: what of the upstream it uses, as the choice of a link goes by it.
        is_repeated: it was sent again because it never left.
        is_heard: its client was asked or told something by the upstream, so that doing it again would show.
        repeats: how often it was sent again because its answer was lost.
        since: when it was sent first, by the monotonic clock; 0 where nobody needs to know.
        max_result: bytes that its answer may have.
        ticket: its place among the calls in flight, where these are counted.
        record: what is noted of it for those who watch; None where nobody does.
        is_parked: the upstream's answer will come after this request's own, and what is under way keeps the lease.
    """

    __slots__ = (
        "_back",
        "_give_up",
        "_go_on",
        "context",
        "elicitations",
        "elsewhere",
        "era",
        "handlers",
        "is_heard",
        "is_parked",
        "is_repeated",
        "lease",
        "method",
        "mount",
        "params",
        "record",
        "repeats",
        "since",
        "ticket",
        "use",
    )

    def __init__(self, context: RequestContext, method: str, params: dict[str, Any]) -> None:
        self.context = context
        self.method = method
        self.params = params
        self.mount = _NOWHERE
        self.lease: Lease | None = None
        self.era = Era.LEGACY
        self.handlers = _DEFAULT
        self.elsewhere: Callable[[Downstream | None, str, dict[str, Any]], None] | None = None
        self.elicitations: Elicitations | None = None
        self.timeout = None
        self.headers = _NOBODY
        self.owner = context.downstream.key
        self.wants_progress = context.progress_token is not None
        self.is_repeated = False
        self.is_heard = False
        self.repeats = 0
        self.since = 0.0
        self.max_result = MAX_MESSAGE
        self.ticket: Ticket | None = None
        self.is_parked = False
        self.use: object = None
        self.record: Record | None = None
        self._back: list[Step] = []
        self._give_up: GiveUp | None = None
        self._go_on: GoOn | None = None

    def parked(self, attended: RequestContext) -> "Call":
        """The upstream's side of this call, which may outlast it: `attended` is whichever request of the client's attends to it."""
        other = Call(attended, self.method, self.params)
        other.mount, other.lease, other.era, other.handlers = self.mount, self.lease, self.era, self.handlers
        other.elsewhere, other.elicitations = self.elsewhere, self.elicitations
        other.timeout, other.headers, other.owner = self.timeout, self.headers, self.owner
        other.max_result, other.ticket = self.max_result, self.ticket
        other.wants_progress = True
        return other

    # --- its way

    def go(self, start: "Callable[[Call], None]") -> None:
        """Hand the call to `start`; what that raises ends it."""
        record = self.record
        try:
            if record is None or record.span is None:
                start(self)
            else:
                record.span.run(start, self)
        except Exception as error:  # noqa: BLE001  # whatever a room finds, its client gets an answer
            self.end(error)

    def then(self, step: Step) -> None:
        """Do this on the way back, before what was added earlier. A bound method or a function: a closure that knew the call would be a circle."""
        self._back.append(step)

    def wait(self, coroutine: Coroutine[Any, Any, Any], go_on: GoOn) -> None:
        """Wait for something in a task, and go on with what it gives; what it raises ends the call."""
        self._go_on = go_on
        task: asyncio.Future[Any] = asyncio.ensure_future(coroutine)
        self._give_up = task.cancel  # type: ignore[assignment]  # whether it could be is of no interest
        task.add_done_callback(self._waited)

    def under_way(self, give_up: GiveUp) -> None:
        """It was sent somewhere, and `give_up` gives that up: then it ends with a `CancelledError`."""
        self._give_up = give_up

    def end(self, outcome: Outcome) -> None:
        """Run the way back. Whoever has the call tells its end once."""
        self._give_up = None
        back = self._back
        told: Any = outcome
        while back:
            step = back.pop()
            try:
                told = step(self, told)
            except Exception as error:  # noqa: BLE001  # whatever a step finds, its client gets an answer
                told = error
            if told is PENDING:
                return

    def cancel(self) -> None:
        """Give up what is under way: the call ends with a `CancelledError`, at once or soon, unless it has ended already."""
        give_up = self._give_up
        if give_up is not None:
            give_up()

    def _waited(self, task: "asyncio.Future[Any]") -> None:
        self._give_up = None
        go_on, self._go_on = self._go_on, None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self.end(error)
        elif go_on is not None:
            try:
                go_on(self, task.result())
            except Exception as raised:  # noqa: BLE001  # as in `end`
                self.end(raised)

    # --- what the upstream says meanwhile (see `meshproxy.links.call.Call`)

    @property
    def capabilities(self) -> dict[str, Any]:
        """What its caller can do, as far as the mesh can carry it."""
        return bridged(self.context.downstream)

    @property
    def log_level(self) -> str | None:
        """A legacy client that never set a level is not silent: it leaves the choice to the server, and this is ours."""
        downstream = self.context.downstream
        return downstream.log_level or (DEFAULT_LEVEL if downstream.era is Era.LEGACY else None)

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        """A notification that belongs to this call, in order and before its answer."""
        if method == "notifications/progress":
            self.is_heard = True
            self.handlers.progress(self.context, params)
        elif method == "notifications/message":
            self.handlers.log(self.context, params)
        elif method == "notifications/elicitation/complete" and self._was_asked(params):
            self.context.notify(method, params)
        elif self.elsewhere is not None:
            self.elsewhere(None if self.lease is None else self.lease.owner, method, params)

    def on_request(self, method: str, params: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        """A question that belongs to this call."""
        self.is_heard = True
        return ask(self, method, params)

    def on_stream_ended(self) -> None:
        # A server that does so wants no connections that are held open for long: the client's was one, too, and it may come back likewise.
        self.context.close_stream()

    def _was_asked(self, params: Mapping[str, Any]) -> bool:
        """Whether a page that is done with is one that this call's client was sent to."""
        return self.elicitations is not None and self.elicitations.owner(params) is self.context.downstream


def ended(call: Call, result: Result) -> None:
    """End a call with what was waited for; see `Call.wait`."""
    call.end(result)
