"""HTTP of the legacy era: sessions, requests that may ask back, and streams that can be resumed. Place: serving.

Source: 2025-03-26 to 2025-11-25 basic/transports, "Streamable HTTP". A connection that breaks does not cancel its request: what is
still to be said is kept, and a GET with `Last-Event-ID` has it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog

from meshproxy.errors import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, REQUEST_CANCELLED, RpcError
from meshproxy.http.stream import EventStream, Receive, Send
from meshproxy.relay.downstream import Handler
from meshproxy.serving.carrying import carry_out
from meshproxy.serving.events import STANDALONE, parse_event_id
from meshproxy.serving.exchange import Reply
from meshproxy.serving.legacy_exchange import InitializeExchange, LegacyEntry, LegacyExchange, prefers_stream
from meshproxy.serving.response import refuse, refuse_message, refuse_shutdown, respond
from meshproxy.serving.session import Session, Sessions
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.codec import loads
from meshproxy.wire.messages import Message, encode_error, parse
from meshproxy.wire.params import params_of

__all__ = ["LegacyHttp", "record_client", "record_version"]

log = structlog.get_logger(__name__)

_CANCELLED: Final = "notifications/cancelled"


class LegacyHttp:
    """Serves the legacy era at one endpoint."""

    def __init__(self, handler: Handler, settings: HttpSettings) -> None:
        self._handler = handler
        self._settings = settings
        self.sessions = Sessions(settings)
        self.entry = LegacyEntry(handler, settings, self.sessions)

    async def post(
        self,
        headers: Mapping[bytes, bytes],
        raw_headers: list[tuple[bytes, bytes]],
        body: bytes,
        reply: Reply,
    ) -> None:
        """Take one message of a client: a request, a notification or an answer."""
        send = reply.send
        try:
            message = parse(body)
        except RpcError as error:
            await refuse_message(send, 400, error)
            return
        if self.entry.is_shut and message.is_request:
            await refuse_shutdown(send)
            return
        key = headers.get(b"mcp-session-id")
        if key is None:
            if message.method == "initialize" and message.id is not None:
                await self._initialize(message, raw_headers, reply)
            else:
                await refuse(send, 400, "Missing session ID: the Mcp-Session-Id header is required after initialize")
            return
        session = self.sessions.get(key) or self.sessions.get(key.strip())
        if session is None:
            await _unknown_session(send)
        elif message.method is None:
            if session.questions is not None:
                session.questions.answer(message)
            session.touch()
            await respond(send, 202)
        elif message.id is None:
            self._notified(session, message)
            session.touch()
            await respond(send, 202)
        else:
            await self._request(session, message, headers, raw_headers, reply)

    async def _request(
        self,
        session: Session,
        message: Message,
        headers: Mapping[bytes, bytes],
        raw_headers: list[tuple[bytes, bytes]],
        reply: Reply,
    ) -> None:
        request_id, method = message.id, message.method
        assert request_id is not None  # noqa: S101  # for the type checker: the caller has looked
        assert method is not None  # noqa: S101
        try:
            params = params_of(message)
        except RpcError as error:
            await respond(reply.send, 200, encode_error(request_id, error))
            return
        if request_id in session.running or method == "initialize":
            reason = "this session is initialized already" if method == "initialize" else "this id is in use"
            await respond(
                reply.send, 400, encode_error(request_id, RpcError(INVALID_REQUEST, f"Invalid request: {reason}"))
            )
            return
        exchange = LegacyExchange(session, request_id, params, raw_headers, reply, self._settings)
        session.running[request_id] = exchange
        if session.resumable and prefers_stream(headers):
            exchange.open_stream()
        try:
            try:
                answer = await carry_out(exchange, self._handler, method, params)
            finally:
                del session.running[request_id]
            await _send(exchange, answer)
        finally:
            exchange.release()

    async def _initialize(self, message: Message, raw_headers: list[tuple[bytes, bytes]], reply: Reply) -> None:
        send = reply.send
        request_id = message.id
        assert request_id is not None  # noqa: S101  # for the type checker: the caller has looked
        if self.sessions.full:
            log.warning("session.refused", open=len(self.sessions))
            await refuse(send, 503, "Too many open sessions: try again later", INTERNAL_ERROR)
            return
        session = Session(self._settings)
        try:
            params = params_of(message)
            record_client(session, params)
        except RpcError as error:
            await respond(send, 200, encode_error(request_id, error))
            return
        exchange = InitializeExchange(session, request_id, params, raw_headers, reply, self._settings)
        try:
            answer = await carry_out(exchange, self._handler, "initialize", params)
            if record_version(session, answer):
                self.sessions.add(session)
                await respond(send, 200, answer, extra=((b"mcp-session-id", session.key.encode()),))
            else:
                session.close()
                await respond(send, 200, answer)
        finally:
            exchange.release()

    def _notified(self, session: Session, message: Message) -> None:
        try:
            params = params_of(message)
        except RpcError as error:
            log.debug("notification.malformed", method=message.method, reason=error.message)
            return
        if message.method == _CANCELLED:
            cancelled = params.get("requestId")
            if isinstance(cancelled, int | str) and (running := session.running.get(cancelled)) is not None:
                running.cancel(RpcError(REQUEST_CANCELLED, "Request cancelled"))
            return
        try:
            self._handler.on_notification(session, str(message.method), params)
        except Exception as error:  # a notification has no answer, so there is nobody else to tell
            log.error("notification.failed", method=message.method, exc_info=error)

    async def get(self, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """Open the standalone stream, or resume whichever stream `Last-Event-ID` names."""
        session = await self._session(headers, send)
        if session is None:
            return
        place: tuple[int, int] | None = None
        if (last := headers.get(b"last-event-id", b"").strip()) != b"":
            place = parse_event_id(last.decode("latin-1"))
            if place is None or not session.events.issued(place[1]):
                await refuse(send, 400, "Unknown Last-Event-ID: this session has said no such event")
                return
        stream = EventStream(send, self._settings.max_buffer, self._settings.keepalive, lambda: None)
        if place is None or place[0] == STANDALONE:
            if session.standalone is not None and not session.standalone.ended:
                if place is None:
                    await refuse(send, 409, "Conflict: this session has a stream open already")
                    return
                session.standalone.cut()
            stream.start()
            session.attach(stream, place[1] if place else None)
        elif (exchange := session.streams.get(place[0])) is not None:
            stream.start()
            exchange.take_over(stream, place[1])
        else:
            rest = session.events.after(*place)
            if not rest:
                await refuse(send, 400, "Nothing is left of the stream that Last-Event-ID names")
                return
            stream.start()
            stream.finish(b"".join(rest))
        await self._hold(session, stream, receive)

    async def delete(self, headers: Mapping[bytes, bytes], send: Send) -> None:
        """End a session because its client says so."""
        session = await self._session(headers, send)
        if session is not None:
            session.close()
            await respond(send, 200)

    async def _hold(self, session: Session, stream: EventStream, receive: Receive) -> None:
        """Keep a GET's stream until either side ends it."""
        session.active += 1
        watcher = asyncio.get_running_loop().create_task(_watch(stream, receive))
        try:
            await stream.drained()
        finally:
            watcher.cancel()
            session.detach(stream)
            session.release()

    async def _session(self, headers: Mapping[bytes, bytes], send: Send) -> Session | None:
        key = headers.get(b"mcp-session-id")
        if key is None:
            await refuse(send, 400, "Missing session ID: the Mcp-Session-Id header is required")
            return None
        session = self.sessions.get(key.strip())
        if session is None:
            await _unknown_session(send)
        return session


async def _send(exchange: LegacyExchange, answer: bytes) -> None:
    """Send an answer on whatever there is by now."""
    if not exchange.number:
        await respond(exchange.reply.send, 200, answer)
    elif (stream := exchange.finish(answer)) is not None:
        await stream.drained()


def record_client(session: Any, params: Mapping[str, Any]) -> None:
    """Note on a legacy downstream what `initialize` says of the client.

    Raises:
        RpcError: -32602, a member that it must have is missing or of the wrong type.
    """
    shapes = {"protocolVersion": str, "capabilities": dict, "clientInfo": dict}
    for key, shape in shapes.items():
        if not isinstance(params.get(key), shape):
            kind = "a string" if shape is str else "an object"
            raise RpcError(INVALID_PARAMS, f"initialize: params.{key} must be {kind}")
    session.capabilities = params["capabilities"]
    session.client = params["clientInfo"]


def record_version(session: Any, answer: bytes) -> bool:
    """Note the version that the encoded answer to `initialize` names; False if it is an error."""
    result = loads(answer).get("result")
    version = result.get("protocolVersion") if isinstance(result, dict) else None
    if not isinstance(version, str):
        return False
    session.version = version
    return True


async def _watch(stream: EventStream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.abandon()


async def _unknown_session(send: Send) -> None:
    await refuse(send, 404, "Session not found: it has ended or never was; initialize a new one")
