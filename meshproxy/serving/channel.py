"""MCP over one channel of messages to one client, both eras: standard input and output, or memory. Place: serving.

The first request decides the era of the channel, as the SDK's servers do it: one with an envelope opens a modern one, any other a
legacy one, and what then comes from the other era is refused.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import structlog

from meshproxy.errors import INVALID_REQUEST, UNSUPPORTED_VERSION, RpcError
from meshproxy.limits import MAX_IN_FLIGHT
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, Outcome, RequestContext, no_back_channel
from meshproxy.relay.handler import Handler
from meshproxy.relay.principal import LOCAL, Visitor
from meshproxy.serving.exchange import progress_token_of, rpc_error_of
from meshproxy.serving.legacy_exchange import record_client, record_version
from meshproxy.serving.modern import ModernDownstream
from meshproxy.serving.notifications import take
from meshproxy.serving.questions import Questions
from meshproxy.serving.response import encode_malformed, too_many_in_flight
from meshproxy.wire.codec import on_one_line
from meshproxy.wire.headers import check_envelope
from meshproxy.wire.mending import answer_meant
from meshproxy.wire.messages import (
    Id,
    Notification,
    Request,
    encode_error,
    encode_notification,
    encode_result,
    params_of,
    parse,
)
from meshproxy.wire.protocol import META_VERSION, MODERN_VERSIONS, Era

__all__ = ["Channel"]

log = structlog.get_logger(__name__)

_NO_HEADERS: Final[Mapping[str, str]] = {}
_LISTEN: Final = "subscriptions/listen"
_PROGRESS: Final = "notifications/progress"
_APART: Final = 0.005
"""Seconds from a request's last progress to its answer: the TypeScript SDK drops progress that it reads in one piece with the answer."""


class Channel:
    """Serves `handler` to the client at the other end.

    Whoever made it calls `received` with each message and `aclose` when no more come; `send` takes each message to be sent, without
    a line end in it, and must not block. `say`, if there is one, takes what the client did not ask for: of that there may be too
    much.
    """

    def __init__(
        self, handler: Handler, send: Callable[[bytes], None], say: Callable[[bytes], None] | None = None
    ) -> None:
        self._handler = handler
        self._send = send
        self._say = say or send
        self._loop = asyncio.get_running_loop()
        self._era: Era | None = None
        self._visitor = Visitor(LOCAL.principal)
        self._client: _ChannelDownstream | None = None
        self._running: dict[Id, Call] = {}
        self._emptied: asyncio.Event | None = None
        self._held: list[bytes] | None = None
        self._closed = False

    def received(self, data: bytes) -> None:
        """Take one message: start what it asks for, or answer what is wrong with it. Never blocks."""
        if self._closed or not data.strip():
            return
        if self._held is not None:
            self._held.append(data)
            return
        try:
            message = parse(data)
        except RpcError as error:
            meant = answer_meant(data, error)
            if meant is None:
                self.send(encode_malformed(error))
                return
            message = meant
        if isinstance(message, Request):
            self._request(message)
        elif isinstance(message, Notification):
            take(message, self._handler, self._client, self._cancel)
        elif self._client is not None:
            self._client.questions.answer(message)

    def send(self, data: bytes) -> None:
        """Send an answer."""
        if not self._closed:
            self._send(on_one_line(data))

    def say(self, data: bytes) -> None:
        """Send a notification or a question."""
        if not self._closed:
            self._say(on_one_line(data))

    async def aclose(self, grace: float = 0.0) -> None:
        """Give running requests `grace` seconds to be answered, cancel the rest, and say that the client is gone."""
        self._emptied = asyncio.Event()
        if grace > 0 and self._is_busy():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), grace)
        self._closed = True
        for call in list(self._running.values()):
            call.cancel()
        if self._client is not None:
            self._client.questions.refuse("the client has left")
            self._client.close()
        while self._running:
            self._emptied.clear()
            await self._emptied.wait()

    def _is_busy(self) -> bool:
        """Whether anything runs that ends by itself."""
        return any(call.method != _LISTEN for call in self._running.values())

    def _cancel(self, request_id: Id) -> None:
        call = self._running.get(request_id)
        if call is not None and call.method != "initialize":
            call.cancel()

    def _request(self, message: Request) -> None:
        request_id, method = message.id, message.method
        try:
            params = params_of(message)
            downstream = self._admitted(request_id, method, params)
        except RpcError as error:
            self.send(encode_error(request_id, error))
            return
        context = _ChannelContext(self, downstream, request_id, params)
        call = self._running[request_id] = Call(context, method, params)
        call.then(context.ended)
        self._handler.answer(call)

    def told(self, call: Call, outcome: Outcome) -> None:
        """A request has ended: answer it. A cancelled one is not answered (basic/utilities/cancellation)."""
        request_id, downstream = call.context.request_id, call.context.downstream
        del self._running[request_id]
        if not isinstance(outcome, BaseException):
            self._answer(call.method, downstream, encode_result(request_id, outcome))
        elif not isinstance(outcome, asyncio.CancelledError):
            self._answer(call.method, downstream, encode_error(request_id, rpc_error_of(outcome, call.method)))
        if downstream.era is Era.MODERN:
            downstream.close()
        if self._emptied is not None and not self._is_busy():
            self._emptied.set()

    def _answer(self, method: str, downstream: Downstream, answer: bytes) -> None:
        if method == "initialize" and not record_version(downstream, answer):
            self._client = None
        self.send(answer)
        if method == "initialize":
            held, self._held = self._held or [], None
            for data in held:
                self.received(data)

    def _admitted(self, request_id: Id, method: str, params: dict[str, Any]) -> Downstream:
        """Who asks, if it may.

        Raises:
            RpcError: it may not: the wrong era, the wrong order, an id that is in use, or an envelope that is incomplete.
        """
        if request_id in self._running:
            raise RpcError(INVALID_REQUEST, "Invalid request: this id is in use")
        if len(self._running) >= MAX_IN_FLIGHT:
            raise too_many_in_flight()
        meta = params.get("_meta")
        enveloped = method != "initialize" and bool(meta) and META_VERSION in meta  # type: ignore[operator]  # params_of sees to it
        if self._era is None:
            self._era = Era.MODERN if enveloped else Era.LEGACY
        if self._era is Era.MODERN:
            if method == "initialize":
                data = {"supported": list(MODERN_VERSIONS), "requested": params.get("protocolVersion")}
                raise RpcError(UNSUPPORTED_VERSION, "this connection is served without initialize", data)
            if (error := check_envelope(meta)) is not None:
                raise error
            return ModernDownstream(self._visitor, meta or {})
        if enveloped:
            raise RpcError(INVALID_REQUEST, "this connection began with a request of the handshake era; it stays in it")
        if method == "initialize":
            if self._client is not None:
                raise RpcError(INVALID_REQUEST, "Invalid request: this connection is initialized already")
            client = _ChannelDownstream(self, self._visitor)
            record_client(client, params)
            # What comes before its answer is kept until then: what it may do depends on what is negotiated.
            self._client = client
            self._held = []
            return client
        if self._client is None:
            if method == "ping":
                return _ChannelDownstream(self, self._visitor)
            raise RpcError(INVALID_REQUEST, "Invalid request: send initialize first")
        return self._client


class _ChannelDownstream(Downstream):
    """The client of a legacy channel; the channel is its standalone stream too."""

    __slots__ = ("_channel", "questions")

    def __init__(self, channel: Channel, visitor: Visitor) -> None:
        super().__init__(f"channel-{id(channel)}", Era.LEGACY)
        self.visitor = visitor
        self._channel = channel
        self.questions = Questions()

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        self._channel.say(encode_notification(method, params))

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        if self._gone:
            raise no_back_channel(method)
        return await self.questions.ask(self._channel.say, method, params)


class _ChannelContext(RequestContext):
    """One request of a channel."""

    __slots__ = ("_channel", "answered", "progressed")

    def __init__(self, channel: Channel, downstream: Downstream, request_id: Id, params: dict[str, Any]) -> None:
        self._channel = channel
        self.downstream = downstream
        self.request_id = request_id
        self.progress_token = progress_token_of(params)
        self.headers = _NO_HEADERS
        self.answered = False
        self.progressed = 0.0

    def ended(self, call: Call, outcome: Outcome) -> None:
        """On the way back, last: the answer leaves, but not in one piece with the last progress."""
        loop = asyncio.get_running_loop()
        apart = self.progressed + _APART - loop.time() if self.progressed else 0.0
        if apart > 0 and not isinstance(outcome, asyncio.CancelledError):
            loop.call_later(apart, self.ended, call, outcome)
            return
        self.answered = True
        self._channel.told(call, outcome)

    @property
    def can_send_request(self) -> bool:
        return self.downstream.era is Era.LEGACY and not self.answered

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        if not self.answered:
            if method == _PROGRESS:
                self.progressed = asyncio.get_running_loop().time()
            self._channel.say(encode_notification(method, params))

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        if not self.can_send_request:
            raise no_back_channel(method)
        return await self.downstream.send_raw_request(method, params)
