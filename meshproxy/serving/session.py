"""A client of the legacy era over HTTP, from `initialize` to the end of its session, and the table of all of them. Place: serving."""

import asyncio
import math
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import structlog

from meshproxy.cluster.home import named
from meshproxy.errors import REQUEST_CANCELLED, RpcError
from meshproxy.http.stream import EventStream
from meshproxy.relay.downstream import Downstream, no_back_channel
from meshproxy.relay.principal import Visitor
from meshproxy.relay.strangers import Strangers
from meshproxy.serving.events import STANDALONE, EventLog
from meshproxy.serving.places import gives_way
from meshproxy.serving.questions import Questions
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.messages import Id, encode_notification
from meshproxy.wire.protocol import Era

__all__ = ["Session", "Sessions"]

log = structlog.get_logger(__name__)

_UNSAID: Final = 100
"""How many messages wait for a client that has no standalone stream open; of more, the oldest are dropped."""
_GRACE: Final = 5.0
"""Seconds that a question which belongs to no request waits for a standalone stream: many clients open it right after `initialize`."""
_SWEEP: Final = 60.0
_AGAIN: Final = 1.0
"""Seconds for which a client that was refused a session is refused another one without looking for a place, which takes long where there are many."""
_REMEMBERED: Final = 1024
_MEMORY: Final = 300.0
"""Seconds after which events of the past begin to be forgotten."""


class Running(Protocol):
    """A request of a session that is not answered yet; see `meshproxy.serving.legacy_exchange.LegacyExchange`."""

    @property
    def ending(self) -> "asyncio.Future[None]": ...

    def cancel(self, cause: RpcError) -> None: ...

    def take_over(self, stream: EventStream, after: int) -> None: ...


class Session(Downstream):
    """One session. What is not needed before somebody uses it is not made before: an idle one is a few kilobytes.

    Attributes:
        running: its requests that are not answered yet, by id.
        streams: those of them that have an event stream, by its number.
        standalone: the stream of its GET, while one is open.
        active: how many HTTP requests hold it open.
        holder: whose place it has; see `meshproxy.serving.places`.
        touched: when the last one ended, by the monotonic clock.
        resumable: whether the client knows events without data, which tell it where to resume (2025-11-25, SEP-1699).
        is_new: whether its client has not come back since it was opened.
    """

    __slots__ = (
        "_awaited",
        "_events",
        "_is_told",
        "_numbers",
        "_settings",
        "_unsaid",
        "active",
        "holder",
        "is_new",
        "questions",
        "resumable",
        "running",
        "standalone",
        "streams",
        "touched",
    )

    def __init__(self, settings: HttpSettings, holder: str = "") -> None:
        super().__init__(named(secrets.token_urlsafe(24)), Era.LEGACY)
        self.holder = holder
        self._settings = settings
        self._events: EventLog | None = None
        self._numbers = STANDALONE
        self._unsaid: deque[bytes] | None = None
        self._awaited: asyncio.Event | None = None
        self._is_told = False
        self.questions: Questions | None = None
        self.running: dict[Id, Running] = {}
        self.streams: dict[int, Running] = {}
        self.standalone: EventStream | None = None
        self.active = 0
        self.touched = time.monotonic()
        self.resumable = False
        self.is_new = True

    @property
    def events(self) -> EventLog:
        if self._events is None:
            self._events = EventLog(self._settings.max_buffer, self._settings.max_events)
        return self._events

    @property
    def idle(self) -> bool:
        return self.active <= 0

    def touch(self) -> None:
        """Something came from the client."""
        self.touched = time.monotonic()
        self.is_new = False

    def cancel(self, request_id: Id) -> None:
        """The client gives up a request, which may have been answered meanwhile."""
        running = self.running.get(request_id)
        if running is not None:
            running.cancel(RpcError(REQUEST_CANCELLED, "Request cancelled"))

    def release(self) -> None:
        """One HTTP request less holds the session open."""
        self.active -= 1
        self.touched = time.monotonic()

    def number(self) -> int:
        """The number of a new stream."""
        self._numbers += 1
        return self._numbers

    def prime(self, stream: int) -> bytes:
        """The first event of a stream: its only news is where to resume from, and how soon."""
        return self.events.append(stream, b"", self._settings.retry_ms) if self.resumable else b""

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        self._say(encode_notification(method, params))

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        if self.standalone is None:
            self._awaited = self._awaited or asyncio.Event()
            try:
                await asyncio.wait_for(self._awaited.wait(), _GRACE)
            except TimeoutError:
                raise no_back_channel(method) from None
        return await self.ask(self._say, method, params)

    async def ask(self, say: Callable[[bytes], None], method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Ask the client something over one of its streams."""
        if self._gone:
            raise no_back_channel(method)
        if self.questions is None:
            self.questions = Questions()
        return await self.questions.ask(say, method, params)

    def attach(self, stream: EventStream, after: int | None) -> None:
        """Make `stream` the standalone one, and say on it what came after the event at place `after`, and what waited for it."""
        self.standalone = stream
        self.is_new = False
        if after is None:
            if first := self.prime(STANDALONE):
                stream.write(first)
        else:
            for event in self.events.after(STANDALONE, after):
                stream.write(event)
        waiting, self._unsaid = self._unsaid, None
        for data in waiting or ():
            stream.write(self.events.append(STANDALONE, data))
        if self._awaited is not None:
            self._awaited.set()
            self._awaited = None

    def too_slow(self) -> None:
        """The client does not take what it is sent, and a stream of its was cut off. The log says so once, however often it comes back."""
        if not self._is_told:
            self._is_told = True
            log.warning("client.too_slow", client=self.client.get("name"), waiting_bytes=self._settings.max_buffer)

    def detach(self, stream: EventStream) -> None:
        """The connection of this standalone stream is gone; it may have been replaced already."""
        if self.standalone is stream:
            self.standalone = None

    def age(self) -> None:
        """Forget events of the past that nobody came back for."""
        if self._events is not None:
            self._events.age()

    def close(self) -> None:
        if self._gone:
            return
        super().close()
        for exchange in list(self.running.values()):
            exchange.cancel(RpcError(REQUEST_CANCELLED, "the session has ended"))
        if self.questions is not None:
            self.questions.refuse("the client's session has ended")
        if self.standalone is not None:
            self.standalone.finish()

    def _say(self, data: bytes) -> None:
        if self._gone:
            return
        if self.standalone is not None and not self.standalone.ended:
            self.standalone.write(self.events.append(STANDALONE, data))
            return
        if self._unsaid is None:
            self._unsaid = deque(maxlen=_UNSAID)
        self._unsaid.append(data)
        while len(self._unsaid) > 1 and sum(map(len, self._unsaid)) > self._settings.max_buffer:
            self._unsaid.popleft()


class Sessions:
    """The open sessions by id, and the one timer that ends idle ones.

    Attributes:
        open: by the key that their clients send.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self.open: dict[bytes, Session] = {}
        self._strangers = Strangers()
        self._held: Counter[str] = Counter()
        self._refused: dict[str, float] = {}
        self._told = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._aged = 0.0

    def __len__(self) -> int:
        return len(self.open)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self.open.values()))

    def of(self, visitor: Visitor, key: bytes) -> Session | None:
        """The session of this key, if it is this visitor's; anybody else's is as good as none."""
        session = self.open.get(key) or self.open.get(key.strip())
        if session is None:
            return None
        if not session.visitor.is_same(visitor):
            self._strangers.note("session", session.visitor.principal.identity, visitor.principal.identity)
            return None
        # His credential may be another one by now.
        session.visitor = visitor
        return session

    def have_room(self, holder: str) -> bool:
        """Whether `holder` may open one more. Where all places are taken, another one may give way: see `places.gives_way`."""
        if len(self.open) < self._settings.max_sessions:
            return True
        now = time.monotonic()
        if now < self._refused.get(holder, 0.0):
            return False
        session = gives_way(self.open.values(), self._held, holder, now)
        if session is not None:
            log.info("session.abandoned", client=session.client.get("name"), idle_s=round(now - session.touched, 1))
            session.close()
            return True
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        self._refused[holder] = now + _AGAIN
        if now - self._told >= _SWEEP:
            self._told = now
            log.warning("session.refused", open=len(self.open), hint="server.max_sessions are open, and all are in use")
        return False

    def add(self, session: Session) -> None:
        """Open a session. However it is closed, it leaves the table."""
        key = session.key.encode()
        self.open[key] = session
        self._held[session.holder] += 1
        session.on_close(lambda: self._forget(key))
        if self._timer is None:
            self._aged = time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._sweep)

    def close(self) -> None:
        """End every session."""
        for session in self:
            session.close()

    @property
    def _interval(self) -> float:
        timeout = self._settings.session_idle_timeout
        return _SWEEP if timeout is None else min(_SWEEP, timeout / 4)

    def _forget(self, key: bytes) -> None:
        session = self.open.pop(key, None)
        if session is not None:
            self._held[session.holder] -= 1
            if not self._held[session.holder]:
                del self._held[session.holder]
            self._refused.clear()
        if not self.open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now, timeout = time.monotonic(), self._settings.session_idle_timeout
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._sweep)
        if timeout is not None:
            expired = [session for session in self if session.idle and now - session.touched > timeout]
            for session in expired:
                log.info("session.expired", client=session.client.get("name"), idle_s=round(now - session.touched, 1))
                session.close()
        if now - self._aged > _MEMORY:
            self._aged = now
            for session in self:
                session.age()
