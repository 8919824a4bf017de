"""HTTP of the modern era: each POST stands alone, and says itself who sends it. Place: serving.

Source: 2026-07-28 basic/transports/streamable-http. Closing the response's stream cancels the request; there is no other way to.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import structlog

from meshproxy.errors import HEADER_MISMATCH, INVALID_REQUEST, REQUEST_CANCELLED, RpcError
from meshproxy.http.deadlines import Deadlines
from meshproxy.http.sse import encode_event
from meshproxy.http.stream import EventStream
from meshproxy.relay.downstream import Downstream, no_back_channel
from meshproxy.relay.handler import Handler
from meshproxy.relay.principal import Visitor
from meshproxy.serving.exchange import HttpExchange, speak
from meshproxy.serving.reply import Reply
from meshproxy.serving.response import SHUTDOWN, encode_malformed
from meshproxy.serving.seen import Seen
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.codec import opened
from meshproxy.wire.headers import check_agreement, unsupported_version, validate_param_headers
from meshproxy.wire.messages import (
    Answer,
    Id,
    Notification,
    Request,
    encode_error,
    encode_notification,
    params_of,
    parse,
)
from meshproxy.wire.protocol import (
    HTTP_STATUS,
    LOG_LEVELS,
    META_CAPABILITIES,
    META_CLIENT,
    META_LOG_LEVEL,
    META_VERSION,
    Era,
)

__all__ = ["ModernDownstream", "ModernExchange", "ModernPosts"]

log = structlog.get_logger(__name__)

_next_key: Final = itertools.count(1).__next__
_MODERN: Final = Era.MODERN


class ModernDownstream(Downstream):
    """The caller of one request, as its envelope describes it; gone when the request is answered."""

    __slots__ = ()

    def __init__(self, visitor: Visitor, meta: dict[str, Any]) -> None:
        """Take the envelope of a request that passed `check_envelope`."""
        super().__init__(f"request-{_next_key()}", _MODERN)
        self.visitor = visitor
        self.version = meta[META_VERSION]
        self.capabilities = meta[META_CAPABILITIES]
        client, level = meta.get(META_CLIENT), meta.get(META_LOG_LEVEL)
        if isinstance(client, dict):
            self.client = client
        if level is not None and level in LOG_LEVELS:
            self.log_level = level

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Drop it: this era has no stream but a request's own, and a listener is a request."""

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        raise no_back_channel(method)


class ModernExchange(HttpExchange):
    """One request of the modern era. `running` holds it until it is answered."""

    __slots__ = ("_running",)

    def __init__(
        self,
        downstream: Downstream,
        request_id: Id,
        params: dict[str, Any],
        raw_headers: list[tuple[bytes, bytes]],
        reply: Reply,
        settings: HttpSettings,
        running: "set[ModernExchange]",
    ) -> None:
        super().__init__(downstream, request_id, params, raw_headers, reply, settings)
        self._running = running
        running.add(self)

    @property
    def can_send_request(self) -> bool:
        return False

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        raise no_back_channel(method)

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        if self.answered:
            return
        if self.stream is None:
            self.open_stream()
        self.stream.write(encode_event(encode_notification(method, params)))  # type: ignore[union-attr]  # opened just now

    def open_stream(self) -> None:
        if self.stream is None:
            self.stream = EventStream(
                self.reply.send, self.settings.max_buffer, self.settings.keepalive, self._too_slow
            )
            self.stream.start()

    def deliver(self, answer: list[Any]) -> None:
        self._running.discard(self)
        self.downstream.close()
        if self.stream is None:
            self.reply.splice(self.status, answer)
        else:
            self.stream.finish(encode_event(b"".join(answer)))

    def disconnected(self) -> None:
        if self.stream is not None:
            self.stream.abandon()
        self.cancel(RpcError(REQUEST_CANCELLED, "the client closed the stream"))

    def _too_slow(self) -> None:
        log.warning(
            "client.too_slow", client=self.downstream.client.get("name"), waiting_bytes=self.settings.max_buffer
        )
        self.cancel(RpcError(REQUEST_CANCELLED, "the client reads too slowly"))


class ModernPosts:
    """What clients of the modern era post.

    Attributes:
        running: what is not answered yet.
        is_shut: no new request is taken.
    """

    def __init__(self, handler: Handler, settings: HttpSettings) -> None:
        self.running: set[ModernExchange] = set()
        self.is_shut = False
        self._handler = handler
        self._settings = settings
        self._silence: Deadlines[HttpExchange] = Deadlines(speak)

    def post(self, seen: Seen, body: bytes, reply: Reply) -> HttpExchange | None:
        """Take one message of a client. The request, if a handler answers it."""
        try:
            message = parse(body)
        except RpcError as malformed:
            reply.answer(400, encode_malformed(malformed))
            return None
        if not isinstance(message, Request):
            self._not_asked(message, seen, reply)
            return None
        request_id, method = message.id, message.method
        if self.is_shut:
            reply.answer(503, *SHUTDOWN)
            return None
        try:
            params = params_of(message)
            refusal = checked(self._handler, message, params, seen)
        except RpcError as error:
            refusal = error
            params = {}
        if refusal is not None:
            reply.answer(HTTP_STATUS.get(refusal.code, 400), encode_error(request_id, refusal))
            return None
        downstream = ModernDownstream(seen.visitor, params["_meta"])
        exchange = ModernExchange(downstream, request_id, params, seen.raw, reply, self._settings, self.running)
        exchange.start(self._handler, method, params, self._silence)
        return exchange

    def _not_asked(self, message: Notification | Answer, seen: Seen, reply: Reply) -> None:
        """Answer what is no request: this era defines no notification over HTTP, and nothing here could act on one."""
        if isinstance(message, Answer):
            refusal: RpcError | None = RpcError(
                INVALID_REQUEST, "answers are not sent to a server of this protocol version"
            )
        else:
            refusal = unsupported_version(seen.version or "")
        reply.answer(202) if refusal is None else reply.answer(400, encode_error(None, refusal))

    def close(self) -> None:
        """Cancel every request that still runs."""
        for exchange in list(self.running):
            exchange.cancel(RpcError(REQUEST_CANCELLED, "the server is shutting down"))


def checked(handler: Handler, message: Request, params: dict[str, Any], seen: Seen) -> RpcError | None:
    """What is wrong with a request: its envelope, or its headers, which repeat what is in its body."""
    if seen.duplicated is not None:
        return RpcError(HEADER_MISMATCH, f"the {seen.duplicated} header appears more than once")
    method = message.method
    error = check_agreement(method, params, seen.version, seen.method, seen.name)
    if error is not None or method != "tools/call" or not isinstance(name := params.get("name"), str):
        return error
    schema = handler.annotated_schema(seen.visitor, name)
    if schema is None:
        return None
    given = params.get("arguments")
    arguments = opened(given)
    if arguments is None and given is not None:
        return None  # they cannot be read, which is said where they are sent on
    pairs = [(key.decode("latin-1"), value.decode("latin-1").strip()) for key, value in seen.raw]
    return validate_param_headers(schema, arguments, pairs)
