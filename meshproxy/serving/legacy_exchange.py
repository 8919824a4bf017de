"""One request of a legacy session over HTTP. Place: serving."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

from meshproxy.errors import RpcError
from meshproxy.http.deadlines import Deadlines
from meshproxy.http.server_request import Request
from meshproxy.http.stream import EventStream
from meshproxy.relay.downstream import Handler
from meshproxy.serving.exchange import HttpExchange, Reply, speak
from meshproxy.serving.session import Session, Sessions
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.messages import Id, encode_notification, parse
from meshproxy.wire.params import params_of

__all__ = ["InitializeExchange", "LegacyEntry", "LegacyExchange", "prefers_stream"]

log = structlog.get_logger(__name__)


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
            self.reply.send, self.settings.max_buffer, self.settings.keepalive, self._too_slow
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
            self._session.release()

    def deliver(self, answer: bytes) -> None:
        # What was never entered has an answer before it was begun.
        self._session.running.pop(self.request_id, None)
        if not self.number:
            self.reply.answer(answer, 200)
            self.release()
            return
        stream = self.finish(answer)
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

    def _too_slow(self) -> None:
        log.warning("client.too_slow", client=self._session.client.get("name"), waiting_bytes=self.settings.max_buffer)


class InitializeExchange(LegacyExchange):
    """The request that opens a session: it says nothing before its answer, because the answer's head names the session."""

    __slots__ = ()

    @property
    def can_send_request(self) -> bool:
        return False

    def open_stream(self) -> None:
        """Wait in silence."""

    def _say(self, data: bytes) -> None:
        """Drop it."""


class LegacyEntry:
    """The short way of requests.

    Attributes:
        is_shut: it takes no new request.
    """

    def __init__(self, handler: Handler, settings: HttpSettings, sessions: Sessions) -> None:
        self.is_shut = False
        self._handler = handler
        self._settings = settings
        self._sessions = sessions
        self._silence: Deadlines[HttpExchange] = Deadlines(speak)

    def begin(
        self,
        headers: Mapping[bytes, bytes],
        raw_headers: list[tuple[bytes, bytes]],
        body: bytes,
        reply: Request,
    ) -> bool:
        """Take the short way with a request of a session, if it is open; false for everything else, of which nothing has happened."""
        session = self._sessions.get(headers.get(b"mcp-session-id", b""))
        if session is None or self.is_shut or (session.resumable and prefers_stream(headers)):
            return False
        try:
            message = parse(body)
            request_id, method = message.id, message.method
            if request_id is None or method is None or request_id in session.running:
                return False
            params = params_of(message)
        except RpcError:
            return False
        exchange = LegacyExchange(session, request_id, params, raw_headers, reply, self._settings)
        session.running[request_id] = exchange
        if not exchange.begin(self._handler, method, params, self._silence):
            del session.running[request_id]
            exchange.release()
            return False
        reply.on_gone = exchange.disconnected
        return True


def prefers_stream(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a client names streams first: then it wants one, and can resume it from the first moment on (SEP-1699)."""
    return headers.get(b"accept", b"").lstrip().startswith(b"text/event-stream")
