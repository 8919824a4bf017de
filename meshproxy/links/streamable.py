"""Upstreams at a URL: streamable HTTP of both eras (basic/transports, "Streamable HTTP").

A legacy link is a protocol session, with a stream of its own for what belongs to no call; a modern one is nothing but an agreement.
Both send each request as a POST over the connections of their endpoint (`meshproxy.links.post`).
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog

from meshproxy.errors import UpstreamError
from meshproxy.http.client import (
    HttpClient,
    Response,
    TransportError,
    encode_headers,
)
from meshproxy.http.response import OnHead
from meshproxy.links.answered import settle
from meshproxy.links.envelope import UNCANCELLABLE, RequestMeta, greeting, probe
from meshproxy.links.exchange import Exchange
from meshproxy.links.following import Following
from meshproxy.links.headers import SESSION_HEADER
from meshproxy.links.listener import Listener
from meshproxy.links.negotiation import negotiate
from meshproxy.links.post import Posts, routing
from meshproxy.links.questions import Questions
from meshproxy.links.receiving import ReceivingLink
from meshproxy.links.redirects import Trail, follow, shown
from meshproxy.links.refusals import EXPIRED, may_be_of_session
from meshproxy.links.session_check import SessionCheck
from meshproxy.links.session_stream import SessionStream
from meshproxy.links.web import WebEndpoint, WebLink
from meshproxy.wire.codec import Raw
from meshproxy.wire.headers import VERSION_HEADER
from meshproxy.wire.messages import Request, encode_notification, encode_request
from meshproxy.wire.protocol import Era

__all__ = ["HttpEndpoint", "StreamableLink"]

log = structlog.get_logger(__name__)

BACKGROUND: Final = 10.0
"""Seconds for what nobody waits for: notifications and answers to questions."""
FAREWELL: Final = 2.0
"""Seconds for the end of a session."""
MAX_RESUMPTIONS: Final = 5
"""Attempts in a row that brought nothing."""
RUNG: Final = 0.005
"""Seconds by which a deadline may seem to be ahead when a timer has rung for it."""


class HttpEndpoint(WebEndpoint):
    """A URL; see `WebEndpoint`."""

    _is_roundabout = False
    """Whether it has been said that it redirects for the time being."""

    def _link(
        self, listener: Listener, client: dict[str, Any], capabilities: dict[str, Any], shown: bytes
    ) -> "StreamableLink":
        return StreamableLink(self, self.http(), listener, client, capabilities, shown)

    def _doubt(self) -> None:
        super()._doubt()
        self.move_back()

    def arrived(self, trail: Trail, *, is_new: bool) -> None:
        """A request was answered where a redirect led: all go there at once if that is for good, or if the link is new and so knows no other."""
        if not trail.is_redirected or trail.url == self.url:
            return
        if trail.is_permanent or is_new:
            self.move(trail.url)
        elif not self._is_roundabout:
            self._is_roundabout = True
            reason = "each request is sent twice"
            log.warning(
                "upstream.redirects", upstream=self.name, to=shown(trail.url), reason=reason, hint="set that as the url"
            )


class StreamableLink(ReceivingLink, WebLink):
    """A session, or a modern agreement. Made by its endpoint."""

    def __init__(
        self,
        endpoint: HttpEndpoint,
        http: HttpClient,
        listener: Listener,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        shown: bytes,
    ) -> None:
        self.upstream = endpoint.name
        self.faults = endpoint.faults
        self.max_event = endpoint.max_message
        self.given_up = {}
        self.tells_calls_apart = True
        self.version = ""
        self.session: str | None = None
        self._endpoint = endpoint
        self.http = http
        self._listener = listener
        self._client = client
        self._declared = capabilities
        self._loop = asyncio.get_running_loop()
        self._posts = Posts(
            self, http.pool, http.max_body, endpoint.configured, RequestMeta(Era.LEGACY, "", client, capabilities)
        )
        self._posts.head = self._lines()
        self._posts.shown = shown
        self.calls = self._posts.calls
        self.send = self._posts.send
        self._following = Following(self)
        self.is_modern = False
        self._questions = Questions(endpoint.name, self._post_soon)
        self._check = SessionCheck(lambda method: self._sent(encode_request(self.next_id(), method, {})))
        self._background: set[asyncio.Task[None]] = set()
        self._standing: SessionStream | None = None
        self._ended: str | None = None
        self.is_adopted = False

    def __repr__(self) -> str:
        state = "open" if self._ended is None else f"closed: {self._ended}"
        return f"<StreamableLink {self.upstream!r} {state} calls={len(self.calls)}>"

    # Negotiation.

    async def open(self, remembered: Era | None, wanted: Era | None = None) -> None:
        """Negotiate; see `negotiate` for the arguments. Raises `UpstreamUnavailable`."""
        self.era, self.version, self.server = await negotiate(self.faults, self, remembered, wanted)
        self.is_modern = self._posts.is_modern = self.era is Era.MODERN
        self._posts.stamp = RequestMeta(self.era, self.version, self._client, self._declared)
        self._posts.head = self._lines(version=self.version)
        if not self.is_modern:
            await self._post(encode_notification("notifications/initialized"))
        self.is_adopted = True

    async def discover(self, version: str) -> Raw:
        head = self._lines(version=version) + routing("server/discover", None) + self._posts.shown
        return await self._answer("server/discover", probe(version, self._client, self._declared), head)

    async def initialize(self) -> Raw:
        return await self._answer(
            "initialize", greeting(self._client, self._declared), self._lines() + self._posts.shown
        )

    async def _answer(self, method: str, params: dict[str, Any], head: bytes) -> Raw:
        """As `request`, while it is not settled which header lines requests have."""
        answer: asyncio.Future[Raw] = self._loop.create_future()
        post = self._posts.post(method, params, None, partial(settle, answer), head)
        try:
            result = await answer
        except asyncio.CancelledError:
            post.give_up()
            raise
        if method == "initialize":
            self.session = post.session
        return result

    def _lines(self, *, version: str | None = None, accept: str = "application/json, text/event-stream") -> bytes:
        """The header lines of this link's requests, but for those that the endpoint's configuration has."""
        lines = {"accept": accept, "content-type": "application/json"}
        if version is not None:
            lines[VERSION_HEADER] = version
        if self.session is not None:
            lines[SESSION_HEADER] = self.session
        return encode_headers({name: value for name, value in lines.items() if name not in self._endpoint.configured})

    # The link.

    @property
    def url(self) -> str:
        """Where requests are sent."""
        return self._endpoint.url

    @property
    def brought(self) -> frozenset[str]:
        """The headers that clients bring themselves."""
        return self._endpoint.brought

    @property
    def stamp(self) -> RequestMeta:
        """What is added to parameters."""
        return self._posts.stamp

    @property
    def stream_head(self) -> bytes:
        """The header lines of a request for an event stream."""
        return self._lines(version=self.version, accept="text/event-stream") + self._posts.shown

    def arrived(self, trail: Trail, *, is_new: bool) -> None:
        """See `HttpEndpoint.arrived`."""
        self._endpoint.arrived(trail, is_new=is_new)

    def outcome(self, exchange: Exchange, responding: Awaitable[Response]) -> Coroutine[Any, Any, Raw]:
        """See `Following.outcome`."""
        return self._following.outcome(exchange, responding)

    @property
    def repeats_parameters(self) -> bool:
        return self.is_modern

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        # The modern era has no notifications from client to server over HTTP.
        if self._ended is None and not self.is_modern:
            await self._post(encode_notification(method, params))

    async def listen(self) -> None:
        # As the SDK does: where there is no session, nothing can be known that would be told outside of calls.
        if self.is_modern or self.session is None or self._ended is not None:
            return
        if self._standing is None:
            stream = Exchange(self, 0, None)
            self._standing = SessionStream(self._following.get, lambda: self.stream_head, stream, self._on_stream_lost)
        await self._standing.open()

    def next_id(self) -> int:
        return self._posts.next_id()

    def identify(self, headers: Mapping[str, str]) -> None:
        self._posts.shown = self._endpoint.shown(headers)

    async def aclose(self) -> None:
        if self._ended is None and self.tasks is not None:
            await self.tasks.aclose(FAREWELL)
        self._end("the link is closed")
        if (self.has_expired or self.is_shut_out) and self._posts.waiting:
            # To each the upstream says so itself, and then it is certain that it was not carried out.
            self._posts.emptied = emptied = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(emptied.wait(), FAREWELL)
        ending: list[asyncio.Task[Any]] = list(self._background)
        for task in ending:
            task.cancel()
        abandoned = [post.abandon() for post in list(self._posts.waiting.values())]
        ending += [task for task in abandoned if task is not None]
        session = None
        if self.session is not None:
            session = self._lines(version=self.version or None, accept="*/*") + self._posts.shown
        self.session = None
        self._endpoint.forget(self)
        self._questions.cancel_all()
        if self._standing is not None:
            await self._standing.aclose()
        await self._questions.aclose()
        await self._check.aclose()
        if ending:
            await asyncio.wait(ending, timeout=FAREWELL)
        if session is not None:
            try:
                await self.http.request("DELETE", None, session, timeout=FAREWELL)
            except (TransportError, UpstreamError) as error:
                log.debug("upstream.farewell_failed", upstream=self.upstream, reason=str(error))

    # Requests.

    def dial(self, head: bytes, body: bytes, timeout: float | None, on_head: OnHead) -> Awaitable[Response]:
        """Send a request over a connection that has to be opened first."""
        return self.http.request("POST", None, head, body, timeout=timeout, on_head=on_head)

    def give_up(self, exchange: Exchange, reason: str) -> None:
        """Tell the upstream that nobody waits for an answer. In the modern era the end of the stream has said so."""
        if not self.is_modern and exchange.method not in UNCANCELLABLE:
            params = {"requestId": exchange.request_id, "reason": reason}
            self._post_soon(encode_notification("notifications/cancelled", params))

    # What nobody waits for.

    def _post_soon(self, body: bytes, _: int | None = None) -> None:
        if self._ended is None:
            task = asyncio.create_task(self._post(body))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _post(self, body: bytes) -> None:
        """Send a message that has no answer. That it fails is a matter for the log: nobody could do anything about it."""
        try:
            response = await self._sent(body)
        except (TransportError, UpstreamError) as error:
            log.debug("upstream.message_lost", upstream=self.upstream, reason=str(error))
            return
        response.release()
        if self.session is not None and (response.status == 404 or await self.is_refused(response)):
            self.expire(EXPIRED)
        elif response.status >= 300:
            log.debug("upstream.message_refused", upstream=self.upstream, status=response.status)

    async def _sent(self, body: bytes) -> Response:
        """Send a message of our own. Raises as `follow`."""
        deadline = self._loop.time() + BACKGROUND
        trail, head = Trail(self.upstream, self._endpoint.url), self._posts.head + self._posts.shown
        response = await self.http.request("POST", None, head, body, timeout=BACKGROUND)
        return await follow(self.http, trail, response, "POST", head, body, deadline=deadline)

    async def is_refused(self, response: Response) -> bool:
        """Whether a response, to what was sent within the session, refuses the session, and whatever is asked in it."""
        return may_be_of_session(response) and (self.has_expired or await self._check.is_refused(self.capabilities))

    def _on_stream_lost(self, reason: str | None) -> None:
        if reason is None:
            self.expire(EXPIRED)
        else:
            self.lose(reason)

    def expire(self, reason: str) -> None:
        """The upstream does not know our session any more."""
        self.session = None
        self.has_expired = True
        self.lose(reason)

    def lose(self, reason: str) -> None:
        """It is of no use any more: whoever has it is told, and opens another."""
        if self._end(reason) and self.is_adopted:
            self._listener.on_closed(self, reason)

    def _end(self, reason: str) -> bool:
        """No request can be sent any more; false if that was so already."""
        if self._ended is not None:
            return False
        self._ended = self._posts.ended = reason
        self.is_open = False
        if self.tasks is not None:
            self.tasks.end(reason)
        if self.on_end is not None:
            self.on_end()
        return True

    # For the exchanges.

    def on_question(self, message: Request, exchange: Exchange) -> None:
        """See `meshproxy.links.exchange.Inbox`."""
        task = self.on_request(message, exchange.call)
        # What nobody's stream asked outlives that stream.
        if task is not None and exchange.request_id:
            exchange.questions += (task,)

    def _on_cancelled(self, request_id: Any) -> None:
        self._questions.cancel(request_id)
