"""Upstreams of the HTTP+SSE transport of 2024-11-05: one event stream down, and a POST for each message up.

Everything comes on the one stream, so what belongs to which call is as unknown as on standard input and output.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from meshproxy.errors import AnswerLost, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.http.client import HttpClient, Response, TransportError, encode_headers, target_of
from meshproxy.http.sse import SseEvent, SseParser
from meshproxy.links.duplex import CLOSED, DuplexLink
from meshproxy.links.exchange import is_stream
from meshproxy.links.headers import carried
from meshproxy.links.listener import Listener
from meshproxy.links.redirects import Trail, follow, origin_of, resolved, shown
from meshproxy.links.refusals import EXPIRED, SessionExpiredError, answer_in, judge, may_be_of_session
from meshproxy.links.session_check import SessionCheck
from meshproxy.links.web import WebEndpoint, WebLink
from meshproxy.wire.messages import encode_request
from meshproxy.wire.protocol import Era

__all__ = ["SseEndpoint", "SseLink"]

SENDING: Final = 60.0
"""Seconds for a POST to be accepted. Its answer comes on the stream."""
SHUTDOWN: Final = 2.0


class SseEndpoint(WebEndpoint):
    """A URL whose GET is the event stream; see `WebEndpoint`."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(name, url, headers, **options)
        # The transport is older than the modern era, which is tried only if the handshake is refused.
        self.known.era = Era.LEGACY

    def _link(
        self, listener: Listener, client: dict[str, Any], capabilities: dict[str, Any], shown: bytes
    ) -> "SseLink":
        return SseLink(self, self.http(), listener, client, capabilities, shown)

    def _doubt(self) -> None:
        """Doubt nothing: the transport says what it speaks."""


class SseLink(DuplexLink, WebLink):
    """One event stream. Made by its endpoint."""

    def __init__(
        self,
        endpoint: SseEndpoint,
        http: HttpClient,
        listener: Listener,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        shown: bytes,
    ) -> None:
        super().__init__(endpoint.faults, listener, client, capabilities)
        self._endpoint = endpoint
        self._http = http
        self._parser = SseParser(endpoint.max_message)
        self._trail = Trail(endpoint.name, endpoint.url, "GET")
        self._url = ""
        self._target: asyncio.Future[str] = self._loop.create_future()
        self._stream: asyncio.Task[None] | None = None
        self._refused_with: UpstreamError | None = None
        self._posts: set[asyncio.Task[None]] = set()
        self._shown = shown
        self._get = self._lines({"accept": "text/event-stream"}) + shown
        self._post_head = self._lines({"accept": "*/*", "content-type": "application/json"})
        self._check = SessionCheck(
            lambda method: self._sent(self._post_head + self._shown, encode_request(self.next_id(), method, {}))
        )

    async def open(self, remembered: Era | None, wanted: Era | None = None) -> None:
        """Open the stream, learn where to send, and negotiate."""
        await self._start()
        await super().open(remembered, wanted)

    async def _start(self) -> None:
        self._stream = asyncio.create_task(self._read())
        ends: list[asyncio.Future[Any]] = [self._target, self._stream]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not self._target.done():
            raise self._refused_with or UpstreamUnavailable(
                self.upstream, self._requests.ended or "the event stream ended at once"
            )

    def identify(self, headers: Mapping[str, str]) -> None:
        self._shown = self._endpoint.shown(headers)

    async def aclose(self) -> None:
        self._end(CLOSED)
        tasks = [*self._posts, *([self._stream] if self._stream is not None else [])]
        for task in tasks:
            task.cancel()
        await self._check.aclose()
        self._endpoint.forget(self)
        await self._questions.aclose()
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN)

    def _lines(self, lines: dict[str, str]) -> bytes:
        return encode_headers({name: value for name, value in lines.items() if name not in self._endpoint.configured})

    # Down: the stream.

    async def _read(self) -> None:
        """Hold the stream until it ends."""
        trail = self._trail
        try:
            response: Response = await self._http.request("GET", None, self._get, on_head=self._on_head)
            response = await follow(self._http, trail, response, "GET", self._get, on_head=self._on_head)
        except UpstreamError as error:
            self._refused_with = error
            self._lost(error.reason)
            return
        except TransportError as error:
            self._lost(str(error))
            return
        if not is_stream(response):
            self._refused_with = self._refusal(response)
        self._lost("the event stream ended" if self._refused_with is None else self._refused_with.reason)

    def _on_head(self, response: Response) -> None:
        if is_stream(response):
            response.on_data(self._on_data, lambda _: None)

    def _on_data(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            if event.event == "message":
                self._requests.received(event.data)
            elif event.event == "endpoint" and not self._target.done():
                self._on_endpoint(event)

    def _on_endpoint(self, event: SseEvent) -> None:
        """Where to send: at the same origin, since our headers are for that one alone."""
        base, named = self._trail.url, event.data.decode("utf-8", "replace").strip()
        url = resolved(base, named)
        if url is None or origin_of(url) != origin_of(base):
            reason = f"it wants messages to be sent to another origin: {shown(named)}"
            self._lost(reason)
            raise ValueError(reason)  # which closes the stream
        self._url = url
        self._target.set_result(target_of(url))

    def _refusal(self, response: Response) -> UpstreamUnavailable:
        if response.status in (400, 404, 405, 406):
            reason = (
                f"it answered HTTP {response.status}: there is no event stream at this URL; "
                "if it is a newer server, set `transport: streamable-http`"
            )
            return UpstreamUnavailable(self.upstream, reason, is_lasting=True)
        try:
            judge(
                self.upstream,
                response,
                answer_in(response.body),
                0,
                has_session=False,
                brought=self._endpoint.brought,
                is_a_clients=self.is_a_clients,
            )
        except (UpstreamUnavailable, AnswerLost) as error:
            return UpstreamUnavailable(
                self.upstream, error.reason, is_lasting=error.is_lasting, retry_after=error.retry_after
            )
        return UpstreamUnavailable(self.upstream, f"it answered HTTP {response.status} instead of an event stream")

    # Up: a POST for each message.

    async def _initialized(self, message: bytes) -> None:
        # Posts run beside each other, and this one is not to be overtaken.
        await self._post(message, None)

    def write(self, message: bytes, request_id: int | None = None) -> None:
        task = asyncio.create_task(self._post(message, request_id))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post(self, message: bytes, request_id: int | None) -> None:
        head = self._post_head
        call = self.calls.get(request_id) if request_id is not None else None
        is_a_clients = call is not None and call.owner is not None
        if not is_a_clients:
            head += self._shown
        try:
            if call is not None and call.headers:
                head += encode_headers(carried(call.headers, self._endpoint.configured))
            response = await self._sent(head, message)
        except UpstreamError as error:
            self._fail(request_id, error)
        except TransportError as error:
            kind = AnswerLost if error.sent else UpstreamUnavailable
            self._fail(request_id, kind(self.upstream, str(error)))
        except ValueError as error:
            self._fail(request_id, UpstreamUnavailable(self.upstream, str(error)))
        else:
            response.release()
            if response.status >= 300:
                refusal = self._refused(response, request_id, is_a_clients=is_a_clients)
                if await self._expires(response):
                    self.has_expired, self.is_open = True, False
                    answer = answer_in(response.body)
                    # What answers this very request is its answer, and what a server error has left open stays so.
                    if response.status < 500 and (answer is None or answer.id != request_id):
                        refusal = SessionExpiredError(self.upstream, EXPIRED)
                self._fail(request_id, refusal)
                if self.has_expired:
                    self._lost(EXPIRED)

    async def _sent(self, head: bytes, message: bytes) -> Response:
        """Send a message. Raises as `follow`."""
        trail, target = Trail(self.upstream, self._url), self._target.result()
        deadline = self._loop.time() + SENDING
        response = await self._http.request("POST", target, head, message, timeout=SENDING)
        return await follow(self._http, trail, response, "POST", head, message, deadline=deadline)

    async def _expires(self, response: Response) -> bool:
        """Whether a refusal turns out to be one of the session, which here is the stream, and of whatever is sent in it."""
        return self._adopted and may_be_of_session(response) and await self._check.is_refused(self.capabilities)

    def _refused(self, response: Response, request_id: int | None, *, is_a_clients: bool) -> Exception:
        answer, brought = answer_in(response.body), self._endpoint.brought
        try:
            outcome = judge(
                self.upstream,
                response,
                answer,
                request_id or 0,
                has_session=False,
                brought=brought,
                is_a_clients=is_a_clients or self.is_a_clients,
            ).outcome
        except (UpstreamUnavailable, AnswerLost) as error:
            return error
        if isinstance(outcome, RpcError):
            return outcome
        return AnswerLost(self.upstream, f"it answered HTTP {response.status} with a result")
