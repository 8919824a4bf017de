"""HTTP of the legacy era: sessions, requests that may ask back, and streams that can be resumed. Place: serving.

Source: 2025-03-26 to 2025-11-25 basic/transports, "Streamable HTTP". A connection that breaks does not cancel its request: what is
still to be said is kept, and a GET with `Last-Event-ID` has it.
"""

import asyncio
from collections.abc import Mapping

from meshproxy.http.stream import EventStream, Receive, Send
from meshproxy.relay.handler import Handler
from meshproxy.relay.principal import Visitor
from meshproxy.serving.events import STANDALONE, parse_event_id
from meshproxy.serving.legacy_exchange import LegacyPosts
from meshproxy.serving.response import UNKNOWN_SESSION, refuse, respond
from meshproxy.serving.session import Session, Sessions
from meshproxy.serving.settings import HttpSettings

__all__ = ["LegacyHttp"]


class LegacyHttp:
    """Serves the legacy era at one endpoint."""

    def __init__(self, handler: Handler, settings: HttpSettings) -> None:
        self._settings = settings
        self.sessions = Sessions(settings)
        self.posts = LegacyPosts(handler, settings, self.sessions)

    async def get(self, visitor: Visitor, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """Open the standalone stream, or resume whichever stream `Last-Event-ID` names."""
        session = await self._session(visitor, headers, send)
        if session is None:
            return
        place: tuple[int, int] | None = None
        if (last := headers.get(b"last-event-id", b"").strip()) != b"":
            place = parse_event_id(last.decode("latin-1"))
            if place is None or not session.events.issued(place[1]):
                await refuse(send, 400, "Unknown Last-Event-ID: this session has said no such event")
                return
        stream = EventStream(send, self._settings.max_buffer, self._settings.keepalive, session.too_slow)
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

    async def delete(self, visitor: Visitor, headers: Mapping[bytes, bytes], send: Send) -> None:
        """End a session because its client says so."""
        session = await self._session(visitor, headers, send)
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

    async def _session(self, visitor: Visitor, headers: Mapping[bytes, bytes], send: Send) -> Session | None:
        key = headers.get(b"mcp-session-id")
        if key is None:
            await refuse(send, 400, "Missing session ID: the Mcp-Session-Id header is required")
            return None
        session = self.sessions.of(visitor, key)
        if session is None:
            await _unknown_session(send)
        return session


async def _watch(stream: EventStream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.abandon()


async def _unknown_session(send: Send) -> None:
    await refuse(send, 404, UNKNOWN_SESSION)
