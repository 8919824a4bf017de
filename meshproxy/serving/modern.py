"""HTTP of the modern era: each POST stands alone, and says itself who sends it. Place: serving.

Source: 2026-07-28 basic/transports/streamable-http. Closing the response's stream cancels the request; there is no other way to.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from meshproxy.errors import HEADER_MISMATCH, INVALID_REQUEST, REQUEST_CANCELLED, RpcError
from meshproxy.relay.downstream import Downstream, Handler, no_back_channel
from meshproxy.serving.exchange import HttpExchange, Reply
from meshproxy.serving.http1_request import Request
from meshproxy.serving.response import refuse, refuse_message, refuse_shutdown, respond
from meshproxy.serving.settings import HttpSettings
from meshproxy.serving.stream import EventStream, Send
from meshproxy.upstream.deadlines import Deadlines
from meshproxy.wire.codec import JsonError, opened
from meshproxy.wire.headers import check_agreement, unsupported_version, validate_param_headers
from meshproxy.wire.messages import Id, Message, encode_error, encode_notification, parse
from meshproxy.wire.params import params_of
from meshproxy.wire.protocol import HTTP_STATUS, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_VERSION, Era
from meshproxy.wire.sse import encode_event

__all__ = ["ModernDownstream", "ModernHttp"]

log = structlog.get_logger(__name__)

_keys: Final = itertools.count(1)


class ModernDownstream(Downstream):
    """The caller of one request, as its envelope describes it; gone when the request is answered."""

    __slots__ = ()
    era = Era.MODERN

    def __init__(self, meta: Mapping[str, Any]) -> None:
        """Take the envelope of a request that passed `check_envelope`."""
        super().__init__(f"request-{next(_keys)}")
        self.version = meta[META_VERSION]
        self.capabilities = meta[META_CAPABILITIES]
        client, level = meta.get(META_CLIENT), meta.get(META_LOG_LEVEL)
        if isinstance(client, dict):
            self.client = client
        if isinstance(level, str):
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
                self._reply.send, self._settings.max_buffer, self._settings.keepalive, self._too_slow
            )
            self.stream.start()

    def leave(self) -> None:
        """It is answered, or was never begun."""
        self._running.discard(self)
        self.downstream.close()

    def deliver(self, answer: bytes) -> None:
        self.leave()
        if self.stream is None:
            self._reply.answer(answer, self.status)
        else:
            self.stream.finish(encode_event(answer))

    def disconnected(self) -> None:
        if self.stream is not None:
            self.stream.abandon()
        self.cancel(RpcError(REQUEST_CANCELLED, "the client closed the stream"))

    def _too_slow(self) -> None:
        log.warning(
            "client.too_slow", client=self.downstream.client.get("name"), waiting_bytes=self._settings.max_buffer
        )
        self.cancel(RpcError(REQUEST_CANCELLED, "the client reads too slowly"))


class ModernHttp:
    """Serves the POSTs of the modern era."""

    def __init__(self, handler: Handler, settings: HttpSettings) -> None:
        self._handler = handler
        self._settings = settings
        self.running: set[ModernExchange] = set()
        self._silence: Deadlines[HttpExchange] = Deadlines(lambda exchange: exchange.open_stream())
        self.draining = False

    async def post(
        self,
        headers: Mapping[bytes, bytes],
        duplicated: str | None,
        raw_headers: list[tuple[bytes, bytes]],
        body: bytes,
        reply: Reply,
    ) -> None:
        """Answer one message; `duplicated` is the name of a header that may stand only once and does not."""
        send = reply.send
        version = _text(headers.get(b"mcp-protocol-version"))
        try:
            message = parse(body)
        except RpcError as malformed:
            await refuse_message(send, 400, malformed)
            return
        if message.method is None:
            await refuse(send, 400, "answers are not sent to a server of this protocol version", INVALID_REQUEST)
            return
        if message.id is None:
            await self._notified(version, send)
            return
        if self.draining:
            await refuse_shutdown(send)
            return
        try:
            params = params_of(message)
            if refusal := self._checked(message, params, version, headers, duplicated, raw_headers):
                raise refusal
        except RpcError as refusal:
            await respond(send, HTTP_STATUS.get(refusal.code, 400), encode_error(message.id, refusal))
            return
        exchange = self._exchange(message.id, params, raw_headers, reply)
        try:
            answer = await exchange.carry_out(self._handler, message.method, params)
        finally:
            exchange.leave()
        stream = exchange.stream
        if stream is None:
            await exchange.respond(answer, exchange.status)
        else:
            stream.finish(encode_event(answer))
            await stream.drained()

    def begin(
        self,
        headers: Mapping[bytes, bytes],
        raw_headers: list[tuple[bytes, bytes]],
        body: bytes,
        reply: Request,
    ) -> bool:
        """Take the short way with a request, if it is open; false for everything else, of which nothing has happened."""
        if self.draining:
            return False
        try:
            message = parse(body)
            if message.id is None or message.method is None:
                return False
            params = params_of(message)
            if self._checked(message, params, _text(headers.get(b"mcp-protocol-version")), headers, None, raw_headers):
                return False
        except RpcError:
            return False
        exchange = self._exchange(message.id, params, raw_headers, reply)
        if not exchange.begin(self._handler, message.method, params, self._silence):
            exchange.leave()
            return False
        reply.on_gone = exchange.disconnected
        return True

    def _exchange(
        self, request_id: Id, params: dict[str, Any], raw_headers: list[tuple[bytes, bytes]], reply: Reply
    ) -> ModernExchange:
        downstream = ModernDownstream(params["_meta"])
        return ModernExchange(downstream, request_id, params, raw_headers, reply, self._settings, self.running)

    def close(self) -> None:
        """Cancel every request that still runs."""
        for exchange in list(self.running):
            exchange.cancel(RpcError(REQUEST_CANCELLED, "the server is shutting down"))

    async def _notified(self, version: str | None, send: Send) -> None:
        """Accept a notification and drop it: this era defines none over HTTP, and nothing here could act on one."""
        error = unsupported_version(version or "")
        if error is not None:
            await respond(send, 400, encode_error(None, error))
        else:
            await respond(send, 202)

    def _checked(
        self,
        message: Message,
        params: dict[str, Any],
        version: str | None,
        headers: Mapping[bytes, bytes],
        duplicated: str | None,
        raw_headers: Iterable[tuple[bytes, bytes]],
    ) -> RpcError | None:
        if duplicated is not None:
            return RpcError(HEADER_MISMATCH, f"the {duplicated} header appears more than once")
        method = str(message.method)
        error = check_agreement(
            method, params, version, _text(headers.get(b"mcp-method")), _text(headers.get(b"mcp-name"))
        )
        if error is not None or method != "tools/call" or not isinstance(name := params.get("name"), str):
            return error
        schema = self._handler.annotated_schema(name)
        if schema is None:
            return None
        try:
            arguments = opened(params.get("arguments"))
        except JsonError:
            return None  # the tool's own server says what is wrong with them
        pairs = ((key.decode("latin-1"), value.decode("latin-1").strip()) for key, value in raw_headers)
        return validate_param_headers(schema, arguments, pairs)


def _text(value: bytes | None) -> str | None:
    """A header's value without the blanks around it, which not every parser takes off."""
    return None if value is None else value.decode("latin-1").strip()
