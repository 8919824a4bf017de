"""HTTP of the modern era: each POST stands alone, and says itself who sends it. Place: serving.

Source: 2026-07-28 basic/transports/streamable-http. Closing the response's stream cancels the request; there is no other way to.
"""

from collections.abc import Mapping

import structlog

from meshproxy.errors import INVALID_REQUEST, REQUEST_CANCELLED, RpcError
from meshproxy.http.sse import encode_event
from meshproxy.http.stream import Send
from meshproxy.relay.downstream import Handler
from meshproxy.serving.carrying import carry_out
from meshproxy.serving.exchange import Reply
from meshproxy.serving.modern_exchange import ModernEntry, checked, text_of
from meshproxy.serving.response import refuse, refuse_message, refuse_shutdown, respond
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.headers import unsupported_version
from meshproxy.wire.messages import encode_error, parse
from meshproxy.wire.params import params_of
from meshproxy.wire.protocol import HTTP_STATUS

__all__ = ["ModernHttp"]

log = structlog.get_logger(__name__)


class ModernHttp:
    """Serves the POSTs of the modern era."""

    def __init__(self, handler: Handler, settings: HttpSettings) -> None:
        self._handler = handler
        self.entry = ModernEntry(handler, settings)
        self.running = self.entry.running

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
        version = text_of(headers.get(b"mcp-protocol-version"))
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
        if self.entry.is_shut:
            await refuse_shutdown(send)
            return
        try:
            params = params_of(message)
            if refusal := checked(self._handler, message, params, headers, duplicated, raw_headers):
                raise refusal
        except RpcError as refusal:
            await respond(send, HTTP_STATUS.get(refusal.code, 400), encode_error(message.id, refusal))
            return
        exchange = self.entry.exchange(message.id, params, raw_headers, reply)
        try:
            answer = await carry_out(exchange, self._handler, message.method, params)
        finally:
            exchange.leave()
        stream = exchange.stream
        if stream is None:
            await respond(reply.send, exchange.status, answer)
        else:
            stream.finish(encode_event(answer))
            await stream.drained()

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
