"""`DuplexLink`: a link over one channel of messages that goes both ways, on which answers find their requests by id.

Standard input and output, the event stream of 2024 and an in-process server are such channels; a subclass for each says how a
message leaves, and calls `_received` with each that arrives, in order. What arrives is sorted synchronously: a notification
has been handed over before the answer behind it wakes anybody.
"""

import asyncio
from abc import abstractmethod
from functools import partial
from typing import Any, Final

import structlog

from meshproxy.config.units import format_size
from meshproxy.errors import AnswerLost, AnswerTooLarge, AnswerTooLate, RpcError, UpstreamUnavailable
from meshproxy.http.deadlines import Deadlines
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.envelope import UNCANCELLABLE, RequestMeta, greeting, probe
from meshproxy.links.faults import Faults
from meshproxy.links.large import KEPT, answered_at_last, answered_at_start
from meshproxy.links.link import Call, Done, GiveUp, Listener
from meshproxy.links.negotiation import negotiate
from meshproxy.links.questions import Questions
from meshproxy.links.receiving import ReceivingLink
from meshproxy.wire.codec import Raw, mapping, opened
from meshproxy.wire.mending import own_id
from meshproxy.wire.messages import Answer, Message, Notification, encode_notification, encode_request, parse_answer
from meshproxy.wire.protocol import META_SUBSCRIPTION, Era

log = structlog.get_logger(__name__)

CLOSED: Final = "the link is closed"
LINGER: Final = 1.0
"""Seconds for a cancellation to reach the upstream, and for what it said before to reach us."""


class DuplexLink(ReceivingLink):
    """See the module. `open` negotiates; until then there is no era, and a lost connection is told to `open` alone."""

    def __init__(
        self, faults: Faults, listener: Listener, client: dict[str, Any], capabilities: dict[str, Any]
    ) -> None:
        self.upstream = upstream = faults.upstream
        self.faults = faults
        self.calls = {}
        self.given_up = {}
        self._listener = listener
        self._client = client
        self._declared = capabilities
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, Done] = {}
        self._unsent: dict[int, tuple[str, dict[str, Any], Call | None]] = {}
        self._deadlines = Deadlines(self._expire)
        self._questions = Questions(upstream, self._send)
        self._stamp: RequestMeta | None = None
        self._last_id = 0
        # Of the last call: what is larger is looked at.
        self._max_result = MAX_MESSAGE
        self._ended: str | None = None
        self._adopted = False
        self._room: asyncio.Future[None] | None = None
        self._is_withdrawing = False

    def __repr__(self) -> str:
        state = "open" if self._ended is None else f"closed: {self._ended}"
        return f"<{type(self).__name__} {self.upstream!r} {state} calls={len(self.calls)}>"

    # For subclasses.

    @abstractmethod
    def _send(self, message: bytes, request_id: int | None = None) -> None:
        """Let a message leave, in order and without waiting; `request_id` says whose failure it is if it cannot."""

    def _received(self, data: bytes, call: Call | None = None) -> None:
        """A message has arrived; it belongs to `call`, where the channel can tell."""
        if len(data) > self._max_result and self._is_too_large(data):
            return
        try:
            message = parse_answer(data, self._is_relayed)
        except RpcError as error:
            try:
                messages = self.faults.messages(data, error)
            except RpcError as hopeless:
                self._on_garbage(data, hopeless)
                return
            for meant in messages:
                self._sort(meant, call)
            return
        self._sort(message, call)

    def _sort(self, message: Message, call: Call | None) -> None:
        if isinstance(message, Answer):
            self._on_answer(message)
        elif isinstance(message, Notification):
            self.on_notification(message, call)
        else:
            self.on_request(message, call)

    # Answers that are larger than their calls allow.

    def _allowed(self, head: bytes) -> int:
        """How many bytes a message may have that begins so; where that does not tell which request it answers, as many as any of them."""
        request_id = answered_at_start(head)
        if request_id is not None:
            return _bound_of(self.calls.get(request_id))
        return max(map(_bound_of, self.calls.values()), default=MAX_MESSAGE)

    def _left_out(self, head: bytes, tail: bytes) -> None:
        """A message that begins and ends so was too large and is not kept: the call that it answers fails, and no other."""
        request_id = answered_at_last(head, tail)
        if request_id is None or request_id not in self._answers:
            reason = "a message that is too large, of which it is not known whose it is"
            log.warning("upstream.garbage", upstream=self.upstream, reason=reason, text=excerpt(head))
            return
        bound = format_size(_bound_of(self.calls.get(request_id)))
        self._ended_with(request_id, AnswerTooLarge.than(self.upstream, bound))

    def _is_too_large(self, data: bytes) -> bool:
        """Whether a message is an answer that is larger than its call allows; then the call has failed."""
        head, tail = data[:KEPT], data[-KEPT:]
        request_id = answered_at_last(head, tail)
        if request_id is None or len(data) <= _bound_of(self.calls.get(request_id)):
            return False
        self._left_out(head, tail)
        return True

    def _is_relayed(self, request_id: int) -> bool:
        return self.calls.get(request_id) is not None

    def _on_garbage(self, data: bytes, error: RpcError) -> None:
        """Something has arrived that is no message: if it looks like the answer to a request, that request fails."""
        named = error.data["id"] if isinstance(error.data, dict) else None
        if type(named) is int and named in self._answers:
            self._ended_with(named, AnswerLost(self.upstream, f"its answer cannot be read: {error.message}"))
            return
        log.warning("upstream.garbage", upstream=self.upstream, reason=error.message, text=excerpt(data))

    def _fail(self, request_id: int | None, error: Exception) -> None:
        """A message could not leave; if it was a request, that is its end."""
        if request_id is not None:
            self._ended_with(request_id, error)

    def _lost(self, reason: str) -> None:
        """The connection has ended by itself. Idempotent."""
        if self._end(reason) and self._adopted:
            self._listener.on_closed(self, reason)

    def _end(self, reason: str) -> bool:
        """No request can be sent or answered any more; false if that was so already."""
        if self._ended is not None:
            return False
        self._ended = reason
        self.is_open = False
        for request_id in list(self._answers):
            kind = UpstreamUnavailable if request_id in self._unsent else AnswerLost
            self._ended_with(request_id, kind(self.upstream, reason))
        self._deadlines.clear()
        self._questions.cancel_all()
        if self.tasks is not None:
            self.tasks.end(reason)
        self._resumed()
        return True

    def _paused(self) -> None:
        """The other side does not read: later requests wait."""
        if self._room is None:
            self._room = self._loop.create_future()

    def _resumed(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        # What is sent may fill the pipe again, which `_paused` tells.
        while self._unsent and not self._is_paused():
            request_id = next(iter(self._unsent))
            self._submit(request_id, *self._unsent.pop(request_id))

    def _is_paused(self) -> bool:
        return self._room is not None

    async def _initialized(self, message: bytes) -> None:
        """Let the end of the handshake leave, ahead of any request."""
        self._send(message)

    # Negotiation.

    async def open(self, remembered: Era | None, wanted: Era | None = None) -> None:
        """Negotiate; see `negotiate` for the arguments. Raises `UpstreamUnavailable`."""
        self.era, self.version, self.server = await negotiate(self.faults, self, remembered, wanted)
        self._stamp = RequestMeta(self.era, self.version, self._client, self._declared)
        if self.era is Era.LEGACY:
            await self._initialized(encode_notification("notifications/initialized"))
        self._adopted = True

    async def discover(self, version: str) -> Raw:
        return await self.request("server/discover", probe(version, self._client, self._declared))

    async def initialize(self) -> Raw:
        return await self.request("initialize", greeting(self._client, self._declared))

    # The link.

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def send(self, method: str, params: dict[str, Any], call: Call | None, done: Done) -> GiveUp:
        request_id = self._last_id = self._last_id + 1
        if self._ended is not None:
            self._loop.call_soon(done, UpstreamUnavailable(self.upstream, self._ended))
            return _nothing
        self._answers[request_id] = done
        if call is not None and call.timeout is not None:
            self._deadlines.add(request_id, call.timeout)
        if self._room is None:
            self._submit(request_id, method, params, call)
        else:
            self._unsent[request_id] = (method, params, call)
        return partial(self._give_up, request_id, method)

    def _submit(self, request_id: int, method: str, params: dict[str, Any], call: Call | None) -> None:
        """Let a request leave."""
        try:
            stamped = params if self._stamp is None else self._stamp.onto(params, call, request_id)
            message = encode_request(request_id, method, stamped)
        except Exception as error:  # noqa: BLE001  # it costs this request, and not whoever sends it
            self._loop.call_soon(self._ended_with, request_id, error)
            return
        self.calls[request_id] = call
        if call is not None:
            self._max_result = call.max_result
        self._send(message, request_id)

    def _ended_with(self, request_id: int, outcome: Raw | BaseException) -> None:
        """A request has ended, unless it had before."""
        done = self._answers.pop(request_id, None)
        if done is not None:
            self.calls.pop(request_id, None)
            self._unsent.pop(request_id, None)
            self._deadlines.discard(request_id)
            done(outcome)

    def _give_up(self, request_id: int, method: str) -> None:
        if request_id in self._answers:
            if method not in UNCANCELLABLE:
                self._send_cancelled(request_id, "the caller gave it up")
            self._ended_with(request_id, asyncio.CancelledError())

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        if self._room is not None:
            await self._room
        if self._ended is None:
            self._send(encode_notification(method, params))

    def _send_cancelled(self, request_id: int, reason: str) -> None:
        """Tell the upstream that nobody waits for a request any more, if it has heard of it."""
        if self._ended is None and request_id in self.calls:
            self._send(encode_notification("notifications/cancelled", {"requestId": request_id, "reason": reason}))
            self.given_up[request_id] = self.calls[request_id]
            self._loop.call_later(LINGER, self.given_up.pop, request_id, None)

    def _expire(self, request_id: int) -> None:
        if (unsent := self._unsent.get(request_id)) is not None:
            reason = f"it has not read its input for {_seconds(unsent[2]):g} s"
            self._ended_with(request_id, UpstreamUnavailable(self.upstream, reason))
            return
        seconds = _seconds(self.calls.get(request_id))
        self._send_cancelled(request_id, "it took too long")
        self._ended_with(request_id, AnswerTooLate(self.upstream, f"no answer within {seconds:g} s"))

    # What arrives.

    def _on_answer(self, answer: Answer) -> None:
        request_id = answer.id
        if type(request_id) is not int:
            request_id = self.faults.answered(answer)
        # It may have been given up meanwhile, or never asked.
        if type(request_id) is not int or request_id not in self._answers:
            return
        if self._is_withdrawing:
            # A client that is being asked within the call is to hear first that it need not answer any more.
            self._loop.call_soon(self._ended_with, request_id, answer.outcome)
        else:
            self._ended_with(request_id, answer.outcome)

    def _on_unowned(self, method: str, params: dict[str, Any]) -> None:
        subscription = self._subscription(params)
        if subscription is None:
            super()._on_unowned(method, params)
        elif (number := own_id(subscription)) is not None and (call := self.calls.get(number)) is not None:
            call.on_notification(method, params)

    def _on_cancelled(self, request_id: Any) -> None:
        """The upstream gives up its question, or, on a modern connection, ends the subscription that we asked for."""
        if self._stamp is not None and self.era is Era.MODERN and type(request_id) is int:
            self._fail(request_id, AnswerLost(self.upstream, "the upstream ended the subscription"))
        elif self._questions.cancel(request_id):
            self._is_withdrawing = True
            self._loop.call_soon(self._withdrawn)

    def _withdrawn(self) -> None:
        self._is_withdrawing = False

    def _subscription(self, params: dict[str, Any]) -> Any:
        """The listen request that a modern notification belongs to; None for none."""
        if self._stamp is None or self.era is Era.LEGACY or "_meta" not in params:
            return None
        meta = mapping(params["_meta"])
        return None if meta is None else opened(meta.get(META_SUBSCRIPTION))


def _nothing() -> None:
    """Give up what has ended already."""


def _bound_of(call: Call | None) -> int:
    """How large the answer to a request may be: the mesh's own are not limited by what a user allows calls."""
    return MAX_MESSAGE if call is None else call.max_result


def _seconds(call: Call | None) -> float:
    """How long a call may take that has a bound."""
    return (call.timeout or 0) if call is not None else 0


def excerpt(data: bytes, limit: int = 200) -> str:
    """The beginning of what somebody sent, fit for one line of a log."""
    text = data[: limit * 4].decode("utf-8", "replace").strip()
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= limit else printable[: limit - 3] + "..."
