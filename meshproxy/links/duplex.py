"""`DuplexLink`: a link over one channel of messages that goes both ways, on which answers find their requests by id.

Standard input and output, the event stream of 2024 and an in-process server are such channels; a subclass for each says how a
message leaves, and calls `Requests.received` with each that arrives, in order. What arrives is sorted synchronously: a notification
has been handed over before the answer behind it wakes anybody.
"""

import asyncio
from abc import abstractmethod
from typing import Any, Final

import structlog

from meshproxy.config.units import format_size
from meshproxy.errors import AnswerLost, AnswerTooLarge, RpcError
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call
from meshproxy.links.envelope import RequestMeta, greeting, probe
from meshproxy.links.faults import Faults
from meshproxy.links.large import KEPT, answered_at_last, answered_at_start
from meshproxy.links.listener import Listener
from meshproxy.links.negotiation import negotiate
from meshproxy.links.questions import Questions
from meshproxy.links.receiving import ReceivingLink
from meshproxy.links.requests import Requests
from meshproxy.observe.spelling import one_line
from meshproxy.wire.codec import Raw, mapping, opened
from meshproxy.wire.mending import own_id
from meshproxy.wire.messages import Answer, Notification, Request, encode_notification
from meshproxy.wire.protocol import META_SUBSCRIPTION, Era

log = structlog.get_logger(__name__)

CLOSED: Final = "the link is closed"


class DuplexLink(ReceivingLink):
    """See the module. `open` negotiates; until then there is no era, and a lost connection is told to `open` alone."""

    def __init__(
        self, faults: Faults, listener: Listener, client: dict[str, Any], capabilities: dict[str, Any]
    ) -> None:
        self.upstream = upstream = faults.upstream
        self.faults = faults
        self._requests = requests = Requests(self)
        self.calls, self.given_up = requests.calls, requests.given_up
        self.send = requests.send
        self._listener = listener
        self._client = client
        self._declared = capabilities
        self._loop = asyncio.get_running_loop()
        self._questions = Questions(upstream, self.write)
        self._adopted = False
        self._room: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = f"closed: {self._requests.ended}" if self._requests.ended else "open"
        return f"<{type(self).__name__} {self.upstream!r} {state} calls={len(self.calls)}>"

    # For subclasses.

    @abstractmethod
    def write(self, message: bytes, request_id: int | None = None) -> None:
        """Let a message leave, in order and without waiting; `request_id` says whose failure it is if it cannot."""

    def unreadable(self, data: bytes, error: RpcError, call: Call | None) -> None:
        """Something has arrived that is no message as it stands."""
        try:
            messages = self.faults.messages(data, error)
        except RpcError as hopeless:
            self._on_garbage(data, hopeless)
            return
        for meant in messages:
            if isinstance(meant, Answer):
                self._requests.answered(meant)
            else:
                self.unasked(meant, call)

    def unasked(self, message: Request | Notification, call: Call | None) -> None:
        """A question or a notification has arrived; it belongs to `call`, where the channel can tell."""
        if isinstance(message, Notification):
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
        if request_id is None or not self._requests.is_waited_for(request_id):
            reason = "a message that is too large, of which it is not known whose it is"
            log.warning("upstream.garbage", upstream=self.upstream, reason=reason, text=excerpt(head))
            return
        bound = format_size(_bound_of(self.calls.get(request_id)))
        self._requests.end_with(request_id, AnswerTooLarge.than(self.upstream, bound))

    def is_too_large(self, data: bytes) -> bool:
        """Whether a message is an answer that is larger than its call allows; then the call has failed."""
        head, tail = data[:KEPT], data[-KEPT:]
        request_id = answered_at_last(head, tail)
        if request_id is None or len(data) <= _bound_of(self.calls.get(request_id)):
            return False
        self._left_out(head, tail)
        return True

    def _on_garbage(self, data: bytes, error: RpcError) -> None:
        """Something has arrived that is no message: if it looks like the answer to a request, that request fails."""
        named = error.data["id"] if isinstance(error.data, dict) else None
        if type(named) is int and self._requests.is_waited_for(named):
            self._requests.end_with(named, AnswerLost(self.upstream, f"its answer cannot be read: {error.message}"))
            return
        log.warning("upstream.garbage", upstream=self.upstream, reason=error.message, text=excerpt(data))

    def _fail(self, request_id: int | None, error: Exception) -> None:
        """A message could not leave; if it was a request, that is its end."""
        if request_id is not None:
            self._requests.end_with(request_id, error)

    def _lost(self, reason: str) -> None:
        """The connection has ended by itself. Idempotent."""
        if self._end(reason) and self._adopted:
            self._listener.on_closed(self, reason)

    def _end(self, reason: str) -> bool:
        """No request can be sent or answered any more; false if that was so already."""
        if self._requests.ended:
            return False
        self.is_open = False
        self._requests.end(reason)
        self._questions.cancel_all()
        if self.tasks is not None:
            self.tasks.end(reason)
        self._resumed()
        if self.on_end is not None:
            self.on_end()
        return True

    def _paused(self) -> None:
        """The other side does not read: later requests wait."""
        self._requests.is_held = True
        if self._room is None:
            self._room = self._loop.create_future()

    def _resumed(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
        self._requests.is_held = False
        # What is sent may fill the pipe again, which `_paused` tells.
        self._requests.send_held()

    async def _initialized(self, message: bytes) -> None:
        """Let the end of the handshake leave, ahead of any request."""
        self.write(message)

    # Negotiation.

    async def open(self, remembered: Era | None, wanted: Era | None = None) -> None:
        """Negotiate; see `negotiate` for the arguments. Raises `UpstreamUnavailable`."""
        self.era, self.version, self.server = await negotiate(self.faults, self, remembered, wanted)
        self._requests.stamp = RequestMeta(self.era, self.version, self._client, self._declared)
        if self.era is Era.LEGACY:
            await self._initialized(encode_notification("notifications/initialized"))
        self._adopted = True

    async def discover(self, version: str) -> Raw:
        return await self.request("server/discover", probe(version, self._client, self._declared))

    async def initialize(self) -> Raw:
        return await self.request("initialize", greeting(self._client, self._declared))

    # The link.

    def next_id(self) -> int:
        return self._requests.next_id()

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        if self._room is not None:
            await self._room
        if not self._requests.ended:
            self.write(encode_notification(method, params))

    # What arrives.

    def _on_unowned(self, method: str, params: dict[str, Any]) -> None:
        subscription = self._subscription(params)
        if subscription is None:
            super()._on_unowned(method, params)
        elif (number := own_id(subscription)) is not None and (call := self.calls.get(number)) is not None:
            call.on_notification(method, params)

    def _on_cancelled(self, request_id: Any) -> None:
        """The upstream gives up its question, or, on a modern connection, ends the subscription that we asked for."""
        if self._requests.stamp is not None and self.era is Era.MODERN and type(request_id) is int:
            self._fail(request_id, AnswerLost(self.upstream, "the upstream ended the subscription"))
        elif self._questions.cancel(request_id):
            self._requests.is_withdrawing = True
            self._loop.call_soon(self._withdrawn)

    def _withdrawn(self) -> None:
        self._requests.is_withdrawing = False

    def _subscription(self, params: dict[str, Any]) -> Any:
        """The listen request that a modern notification belongs to; None for none."""
        if self._requests.stamp is None or self.era is Era.LEGACY or "_meta" not in params:
            return None
        meta = mapping(params["_meta"])
        return None if meta is None else opened(meta.get(META_SUBSCRIPTION))


def _bound_of(call: Call | None) -> int:
    """How large the answer to a request may be: the mesh's own are not limited by what a user allows calls."""
    return MAX_MESSAGE if call is None else call.max_result


def excerpt(data: bytes, limit: int = 200) -> str:
    """The beginning of what somebody sent, fit for one line of a log."""
    return one_line(data[: limit * 4].decode("utf-8", "replace").strip(), limit)
