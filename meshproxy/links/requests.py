"""`Requests`: those of one duplex link, and their answers, which are found by id. Place: links, under `duplex`.

A request leaves in the step that sends it, unless the other side does not read: then it waits for room. An answer ends it in the step that reads it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from meshproxy.errors import AnswerLost, AnswerTooLate, RpcError, UpstreamUnavailable
from meshproxy.http.deadlines import Deadlines
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call, Done, GiveUp
from meshproxy.links.envelope import UNCANCELLABLE, RequestMeta
from meshproxy.links.faults import Faults
from meshproxy.wire.codec import Raw
from meshproxy.wire.messages import (
    Answer,
    Notification,
    Request,
    encode_notification,
    encode_request,
    parse,
    unread_result,
)

__all__ = ["Requests"]

LINGER: Final = 1.0
"""Seconds for a cancellation to reach the upstream, and for what it said before to reach us."""


class Channel(Protocol):
    """The link, as its requests see it."""

    upstream: str
    faults: Faults

    def write(self, message: bytes, request_id: int | None = None) -> None:
        """Let a message leave, in order and without waiting; `request_id` says whose failure it is if it cannot."""
        ...

    def is_too_large(self, data: bytes) -> bool:
        """Whether a message is an answer that is larger than its call allows; then the call has failed."""
        ...

    def unreadable(self, data: bytes, error: RpcError, call: Call | None) -> None:
        """Something has arrived that is no message as it stands."""
        ...

    def unasked(self, message: Request | Notification, call: Call | None) -> None:
        """A question or a notification has arrived."""
        ...


class Requests:
    """The requests of one link.

    Attributes:
        calls: whose each of them is that has left, by id and in order of their start; None for the mesh's own.
        given_up: those that nobody waits for any more, as long as the upstream may not know it yet.
        write: lets a message leave, in order and without waiting; with the id of the request that has failed if it cannot.
        stamp: what the link adds to their parameters; None before it is negotiated.
        ended: why the link has ended; "" while it is open.
        is_held: the other side does not read, and later requests wait.
        is_withdrawing: the upstream has just given up a question, whose client is to hear that before the answer.
    """

    __slots__ = (
        "_answers",
        "_channel",
        "_deadlines",
        "_last_id",
        "_loop",
        "_max_result",
        "_unsent",
        "calls",
        "ended",
        "given_up",
        "is_held",
        "is_withdrawing",
        "stamp",
        "write",
    )

    def __init__(self, channel: Channel) -> None:
        self.calls: dict[int, Call | None] = {}
        self.given_up: dict[int, Call | None] = {}
        self.stamp: RequestMeta | None = None
        self.ended = ""
        self.is_held = False
        self.is_withdrawing = False
        self.write: Callable[[bytes, int | None], None] = channel.write
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, Done] = {}
        self._unsent: dict[int, tuple[str, dict[str, Any], Call | None]] = {}
        self._deadlines: Deadlines[int] = Deadlines(self._expire)
        self._last_id = 0
        # Of the last call: what is larger is looked at.
        self._max_result = MAX_MESSAGE

    # --- what is asked

    def next_id(self) -> int:
        """See `Link.next_id`."""
        self._last_id += 1
        return self._last_id

    def send(self, method: str, params: dict[str, Any], call: Call | None, done: Done) -> GiveUp:
        """See `Link.send`."""
        request_id = self._last_id = self._last_id + 1
        if self.ended:
            self._loop.call_soon(done, UpstreamUnavailable(self._channel.upstream, self.ended))
            return _nothing
        self._answers[request_id] = done
        if call is not None and call.timeout is not None:
            self._deadlines.add(request_id, call.timeout)
        if self.is_held:
            self._unsent[request_id] = (method, params, call)
        else:
            self._submit(request_id, method, params, call)
        return partial(self._give_up, request_id, method)

    def send_held(self) -> None:
        """The other side reads again: send what waits, as far as it is taken."""
        while self._unsent and not self.is_held:
            request_id = next(iter(self._unsent))
            method, params, call = self._unsent.pop(request_id)
            self._submit(request_id, method, params, call)

    def _submit(self, request_id: int, method: str, params: dict[str, Any], call: Call | None) -> None:
        """Let a request leave."""
        stamp = self.stamp
        try:
            stamped = params if stamp is None else stamp.onto(params, call, request_id)
            message = encode_request(request_id, method, stamped)
        except Exception as error:  # noqa: BLE001  # it costs this request, and not whoever sends it
            self._loop.call_soon(self.end_with, request_id, error)
            return
        self.calls[request_id] = call
        if call is not None:
            self._max_result = call.max_result
        self.write(message, request_id)

    # --- how it ends

    def received(self, data: bytes, call: Call | None = None) -> None:
        """A message has arrived; it belongs to `call`, where the channel can tell."""
        if len(data) > self._max_result and self._channel.is_too_large(data):
            return
        found = unread_result(data)
        if found is not None and self.calls.get(found[0]) is not None:
            self._answered_with(found[0], found[1])
            return
        try:
            message = parse(data)
        except RpcError as error:
            self._channel.unreadable(data, error, call)
            return
        if isinstance(message, Answer):
            self.answered(message)
        else:
            self._channel.unasked(message, call)

    def answered(self, answer: Answer) -> None:
        """An answer has arrived."""
        request_id: object = answer.id
        if type(request_id) is not int:
            request_id = self._channel.faults.answered(answer)
        # It may have been given up meanwhile, or never asked.
        if isinstance(request_id, int) and request_id in self._answers:
            self._answered_with(request_id, answer.outcome)

    def _answered_with(self, request_id: int, outcome: Raw | RpcError) -> None:
        if self.is_withdrawing:
            # A client that is being asked within the call is to hear first that it need not answer any more.
            self._loop.call_soon(self.end_with, request_id, outcome)
        else:
            self.end_with(request_id, outcome)

    def is_waited_for(self, request_id: int) -> bool:
        """Whether a request is under way."""
        return request_id in self._answers

    def end_with(self, request_id: int, outcome: Raw | BaseException) -> None:
        """A request has ended, unless it had before."""
        done = self._answers.pop(request_id, None)
        if done is not None:
            self.calls.pop(request_id, None)
            self._unsent.pop(request_id, None)
            self._deadlines.discard(request_id)
            done(outcome)

    def end(self, reason: str) -> None:
        """The link has ended, and all requests with it: no later one can be sent."""
        self.ended = reason
        for request_id in list(self._answers):
            if request_id in self._unsent:
                self.end_with(request_id, UpstreamUnavailable(self._channel.upstream, reason))
            else:
                self.end_with(request_id, AnswerLost(self._channel.upstream, reason))
        self._deadlines.clear()

    def _give_up(self, request_id: int, method: str) -> None:
        if request_id in self._answers:
            if method not in UNCANCELLABLE:
                self._send_cancelled(request_id, "the caller gave it up")
            self.end_with(request_id, asyncio.CancelledError())

    def _send_cancelled(self, request_id: int, reason: str) -> None:
        """Tell the upstream that nobody waits for a request any more, if it has heard of it."""
        if not self.ended and request_id in self.calls:
            told = {"requestId": request_id, "reason": reason}
            self.write(encode_notification("notifications/cancelled", told), None)
            self.given_up[request_id] = self.calls[request_id]
            self._loop.call_later(LINGER, self._forget, request_id)

    def _forget(self, request_id: int) -> None:
        self.given_up.pop(request_id, None)

    def _expire(self, request_id: int) -> None:
        unsent = self._unsent.get(request_id)
        if unsent is not None:
            reason = f"it has not read its input for {_seconds(unsent[2]):g} s"
            self.end_with(request_id, UpstreamUnavailable(self._channel.upstream, reason))
            return
        seconds = _seconds(self.calls.get(request_id))
        self._send_cancelled(request_id, "it took too long")
        self.end_with(request_id, AnswerTooLate(self._channel.upstream, f"no answer within {seconds:g} s"))


def _nothing() -> None:
    """Give up what has ended already."""


def _seconds(call: Call | None) -> float:
    """How long a call may take that has a bound."""
    return (call.timeout or 0.0) if call is not None else 0.0
