"""The requests of legacy sessions over HTTP, and everything else that such a client posts. Place: serving, under `legacy`."""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import structlog

from meshproxy.errors import INVALID_PARAMS, INVALID_REQUEST, RpcError
from meshproxy.http.deadlines import Deadlines
from meshproxy.http.stream import EventStream
from meshproxy.limits import MAX_IN_FLIGHT, MAX_KEPT, MAX_LABEL
from meshproxy.relay.downstream import kept_of
from meshproxy.relay.handler import Handler
from meshproxy.serving.exchange import HttpExchange, speak
from meshproxy.serving.notifications import take
from meshproxy.serving.places import holder_of
from meshproxy.serving.reply import Reply
from meshproxy.serving.response import (
    SHUTDOWN,
    TOO_MANY_SESSIONS,
    UNKNOWN_SESSION,
    encode_malformed,
    too_many_in_flight,
)
from meshproxy.serving.seen import Seen
from meshproxy.serving.session import Session, Sessions
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.codec import dumps, mapping, opened
from meshproxy.wire.mending import answer_meant
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

__all__ = ["LegacyExchange", "LegacyPosts", "record_client", "record_version"]

log = structlog.get_logger(__name__)

_LABELS: Final = ("name", "title", "version")
"""What is kept of `clientInfo`: icons and the like would be kept as long as the session, and nobody looks at them."""


class LegacyExchange(HttpExchange):
    """One request of a session.

    Attributes:
        number: of its stream, by which a later connection can take it over; 0 while there is none.
    """

    __slots__ = ("_held", "_own", "_session", "number")

    def __init__(
        self,
        session: Session,
        request_id: Id,
        params: dict[str, Any],
        raw_headers: list[tuple[bytes, bytes]],
        reply: Reply,
        settings: HttpSettings,
    ) -> None:
        super().__init__(session, request_id, params, raw_headers, reply, settings)
        self._session = session
        self.number = 0
        self._own: EventStream | None = None
        self._held = True
        session.active += 1

        session.running[request_id] = self

    @property
    def can_send_request(self) -> bool:
        return not self.answered

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        if not self.answered:
            self._say(encode_notification(method, params))

    def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> Coroutine[Any, Any, dict[str, Any]]:
        return self._session.ask(self._say, method, params)

    def close_stream(self) -> None:
        if self._session.resumable and not self.answered:
            self.open_stream()
            if self.stream is not None:
                self.stream.finish()

    def open_stream(self) -> None:
        if self.number:
            return
        self.number = self._session.number()
        self._session.streams[self.number] = self
        self.stream = self._own = EventStream(
            self.reply.send, self.settings.max_buffer, self.settings.keepalive, self._session.too_slow
        )
        self.stream.start()
        if first := self._session.prime(self.number):
            self.stream.write(first)

    def take_over(self, stream: EventStream, after: int) -> None:
        """Go on over another connection, from the event at place `after` on."""
        if self.stream is not None:
            self.stream.cut()
        self.stream = stream
        for event in self._session.events.after(self.number, after):
            stream.write(event)

    def disconnected(self) -> None:
        if self._own is not None:
            self._own.abandon()
        self.release()

    def release(self) -> None:
        """No connection holds the session open for this request any more."""
        if self._held:
            self._held = False
            self._session.active -= 1
            self._session.touched = time.monotonic()

    def deliver(self, answer: list[Any]) -> None:
        del self._session.running[self.request_id]
        if not self.number:
            self.reply.splice(200, answer)
            self.release()
            return
        stream = self.finish(b"".join(answer))
        if stream is None or stream.task is None:
            self.release()
        else:
            stream.task.add_done_callback(self._on_told)

    def _on_told(self, _: "asyncio.Task[None]") -> None:
        """The answer is out, or its connection is gone."""
        self.release()

    def finish(self, answer: bytes) -> EventStream | None:
        """Say the answer on the stream of the request; the stream, if a connection has it."""
        del self._session.streams[self.number]
        event = self._session.events.append(self.number, answer)
        if self.stream is not None:
            self.stream.finish(event)
        return self.stream

    def _say(self, data: bytes) -> None:
        if self.number == 0:
            if self.answered:
                return
            self.open_stream()
        event = self._session.events.append(self.number, data)
        if self.stream is not None:
            self.stream.write(event)


class InitializeExchange(LegacyExchange):
    """The request that opens a session: it says nothing before its answer, because the answer's head names the session.

    Attributes:
        sessions: where the session is kept once it is open; set by whoever makes this.
    """

    __slots__ = ("sessions",)

    sessions: Sessions

    @property
    def can_send_request(self) -> bool:
        return False

    def open_stream(self) -> None:
        """Wait in silence."""

    def deliver(self, answer: list[Any]) -> None:
        session = self._session
        del session.running[self.request_id]
        if record_version(session, b"".join(answer)):
            session.resumable = session.version >= "2025-11-25"
            self.sessions.add(session)
            self.reply.splice(200, answer, b"mcp-session-id: %b\r\n" % session.key.encode())
        else:
            session.close()
            self.reply.splice(200, answer)
        self.release()

    def _say(self, data: bytes) -> None:
        """Drop it."""


class LegacyPosts:
    """What clients of the legacy era post.

    Attributes:
        is_shut: no new request is taken.
        has_heirs: others go on, with whom a client may begin anew.
    """

    def __init__(self, handler: Handler, settings: HttpSettings, sessions: Sessions) -> None:
        self.is_shut = False
        self.has_heirs = False
        self._handler = handler
        self._settings = settings
        self._sessions = sessions
        self._silence: Deadlines[HttpExchange] = Deadlines(speak)

    def post(self, seen: Seen, body: bytes, reply: Reply) -> HttpExchange | None:
        """Take one message of a client: a request, a notification or an answer. The request, if it is one that a handler answers."""
        try:
            message = parse(body)
        except RpcError as error:
            meant = answer_meant(body, error)
            if meant is None:
                reply.answer(400, encode_malformed(error))
                return None
            message = meant
        if isinstance(message, Request):
            return self._request(seen, message, reply)
        session = self._session_of(seen, reply)
        if session is None:
            return None
        if isinstance(message, Notification):
            take(message, self._handler, session, session.cancel)
        elif session.questions is not None:
            session.questions.answer(message)
        session.touch()
        reply.answer(202)
        return None

    def _session_of(self, seen: Seen, reply: Reply) -> Session | None:
        """The session that a message is sent in; None if there is no such, which has been answered then."""
        key, visitor = seen.session, seen.visitor
        if key is None:
            reason = "Missing session ID: the Mcp-Session-Id header is required after initialize"
            reply.answer(400, encode_error(None, RpcError(INVALID_REQUEST, reason)))
            return None
        session = self._sessions.open.get(key)
        if session is None or session.visitor is not visitor:
            session = self._sessions.of(visitor, key)
        if session is None:
            reply.answer(404, encode_error(None, RpcError(INVALID_REQUEST, UNKNOWN_SESSION)))
        return session

    def _request(self, seen: Seen, message: Request, reply: Reply) -> HttpExchange | None:
        request_id, method = message.id, message.method
        if self.is_shut:
            if self.has_heirs and seen.session is not None:
                reply.answer(404, encode_error(None, RpcError(INVALID_REQUEST, UNKNOWN_SESSION)))
            else:
                reply.answer(503, *SHUTDOWN)
            return None
        if method == "initialize" and seen.session is None:
            return self._initialize(seen, message, reply)
        session = self._session_of(seen, reply)
        if session is None:
            return None
        try:
            params = params_of(message)
        except RpcError as error:
            reply.answer(200, encode_error(request_id, error))
            return None
        if request_id in session.running or method == "initialize":
            reason = "this session is initialized already" if method == "initialize" else "this id is in use"
            reply.answer(400, encode_error(request_id, RpcError(INVALID_REQUEST, f"Invalid request: {reason}")))
            return None
        session.is_new = False
        if len(session.running) >= MAX_IN_FLIGHT:
            reply.answer(200, encode_error(request_id, too_many_in_flight()))
            return None
        exchange = LegacyExchange(session, request_id, params, seen.raw, reply, self._settings)
        if session.resumable and seen.prefers_stream:
            exchange.open_stream()
        exchange.start(self._handler, method, params, self._silence)
        return exchange

    def _initialize(self, seen: Seen, message: Request, reply: Reply) -> HttpExchange | None:
        holder = holder_of(seen.visitor.principal, reply.address)
        if not self._sessions.have_room(holder):
            reply.answer(503, *TOO_MANY_SESSIONS)
            return None
        session = Session(self._settings, holder)
        session.visitor = seen.visitor
        try:
            params = params_of(message)
            record_client(session, params)
        except RpcError as error:
            reply.answer(200, encode_error(message.id, error))
            return None
        exchange = InitializeExchange(session, message.id, params, seen.raw, reply, self._settings)
        exchange.sessions = self._sessions
        exchange.start(self._handler, "initialize", params, self._silence)
        return exchange


def record_client(session: Any, params: Mapping[str, Any]) -> None:
    """Note on a legacy downstream what `initialize` says of the client.

    Raises:
        RpcError: -32602, a member that it must have is missing or of the wrong type, or there is too much of it.
    """
    shapes = {"protocolVersion": str, "capabilities": dict, "clientInfo": dict}
    for key, shape in shapes.items():
        if not isinstance(params.get(key), shape):
            kind = "a string" if shape is str else "an object"
            raise RpcError(INVALID_PARAMS, f"initialize: params.{key} must be {kind}")
    session.capabilities = kept_of(params["capabilities"])
    if len(dumps(session.capabilities)) > MAX_KEPT:
        raise RpcError(INVALID_PARAMS, f"initialize: params.capabilities are larger than {MAX_KEPT} bytes")
    labels = params["clientInfo"]
    session.client = {key: labels[key][:MAX_LABEL] for key in _LABELS if isinstance(labels.get(key), str)}


def record_version(session: Any, answer: bytes) -> bool:
    """Note the version that the encoded answer to `initialize` names; False if it is an error."""
    told = parse(answer)
    result = mapping(told.outcome) if isinstance(told, Answer) else None
    version = None if result is None else opened(result.get("protocolVersion"))
    if not isinstance(version, str):
        return False
    session.version = version
    return True
