"""`Following`: what becomes of a request by POST whose answer is not plain: an event stream, a refusal, a redirect, no answer. Place: links, under `streamable`."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, Protocol

from meshproxy.errors import AnswerLost, AnswerTooLate, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.http.client import BadResponse, BodyTooLarge, HttpClient, Response, TransportError, encode_headers
from meshproxy.http.credentials import REFUSALS
from meshproxy.http.response import OnHead
from meshproxy.http.sse import SseOverflow
from meshproxy.links.envelope import RequestMeta
from meshproxy.links.exchange import Exchange, is_stream
from meshproxy.links.headers import RESUME_HEADER
from meshproxy.links.redirects import Trail, follow, is_redirect
from meshproxy.links.refusals import EXPIRED, SessionExpiredError, judge
from meshproxy.links.session_stream import pause
from meshproxy.wire.codec import Raw
from meshproxy.wire.messages import Answer, encode_request

__all__ = ["Following"]

MAX_RESUMPTIONS: Final = 5
"""Attempts in a row that brought nothing."""
RUNG: Final = 0.005
"""Seconds by which a deadline may seem to be ahead when a timer has rung for it."""


class Owner(Protocol):
    """The link, as what follows its requests sees it."""

    upstream: str
    http: HttpClient
    is_a_clients: bool
    """Whether a client shows itself by it, and not the mesh."""

    @property
    def url(self) -> str:
        """Where requests are sent."""
        ...

    @property
    def brought(self) -> frozenset[str]:
        """The headers that clients bring themselves."""
        ...

    @property
    def stamp(self) -> RequestMeta:
        """What is added to parameters."""
        ...

    @property
    def stream_head(self) -> bytes:
        """The header lines of a request for an event stream."""
        ...

    @property
    def is_modern(self) -> bool: ...

    @property
    def is_adopted(self) -> bool:
        """Whether it is negotiated."""
        ...

    def arrived(self, trail: Trail, *, is_new: bool) -> None:
        """A request was answered where a redirect led."""
        ...

    def expire(self, reason: str) -> None:
        """The upstream does not know the session any more."""
        ...

    async def is_refused(self, response: Response) -> bool:
        """Whether a response, to what was sent within the session, refuses the session, and whatever is asked in it."""
        ...

    def give_up(self, exchange: Exchange, reason: str) -> None:
        """Tell the upstream that nobody waits for an answer."""
        ...


class Following:
    """Follows the requests of one link."""

    def __init__(self, link: Owner) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()

    async def outcome(self, exchange: Exchange, responding: Awaitable[Response]) -> Raw:
        """Wait for a response, and for what it does not have of the answer. Raises what `Link.send` would tell."""
        link = self._link
        trail = None
        try:
            try:
                response = await responding
                if response.status in REFUSALS:
                    response = await self._again(exchange, response) or response
                if is_redirect(response.status):
                    trail = Trail(link.upstream, link.url)
                    response = await self._follow(exchange, trail, response)
            except TransportError as error:
                answer = exchange.answer or await self._resume(exchange, error)
            else:
                answer = exchange.answer or (
                    await self._resume(exchange, None)
                    if is_stream(response)
                    else await self._judged(exchange, response)
                )
        except UpstreamError as error:
            if trail is None:
                raise
            if not link.is_adopted:
                # What is not negotiated is mostly refused first, and asked otherwise then.
                link.arrived(trail, is_new=True)
            raise trail.told(error) from None
        if trail is not None:
            link.arrived(trail, is_new=not link.is_adopted)
        if isinstance(answer.outcome, RpcError):
            raise answer.outcome
        return answer.outcome

    async def _judged(self, exchange: Exchange, response: Response) -> Answer:
        link = self._link
        try:
            answer = judge(
                link.upstream,
                response,
                exchange.answer_in(response.body),
                exchange.request_id,
                has_session=exchange.has_session,
                brought=link.brought,
                is_a_clients=link.is_a_clients or exchange.is_a_clients,
            )
        except SessionExpiredError as error:
            link.expire(error.reason)
            raise
        except UpstreamError:
            # What a server error has left open stays so.
            if await self._expires(exchange, response) and response.status < 500:
                raise SessionExpiredError(link.upstream, EXPIRED) from None
            raise
        # What it answers to this very request is its answer, whatever becomes of the session.
        await self._expires(exchange, response)
        return answer

    async def _expires(self, exchange: Exchange, response: Response) -> bool:
        """Whether a refusal turns out to be one of the session, which has then expired."""
        if not exchange.has_session or not await self._link.is_refused(response):
            return False
        self._link.expire(EXPIRED)
        return True

    def _again(self, exchange: Exchange, response: Response) -> Coroutine[Any, Any, Response | None]:
        """Send a request again that was refused, if we have other credentials by now. Raises as `HttpClient.again`."""
        link = self._link
        return link.http.again(
            response,
            "POST",
            None,
            exchange.head,
            self._body(exchange),
            deadline=exchange.deadline,
            on_head=exchange.on_head,
        )

    def _body(self, exchange: Exchange) -> bytes:
        """A request as it was sent."""
        params = self._link.stamp.onto(exchange.params, exchange.call, exchange.request_id)
        return encode_request(exchange.request_id, exchange.method, params)

    def _follow(self, exchange: Exchange, trail: Trail, response: Response) -> Coroutine[Any, Any, Response]:
        """Send a request on to where the upstream redirects it to. Raises as `follow`."""
        return follow(
            self._link.http,
            trail,
            response,
            "POST",
            exchange.head,
            self._body(exchange),
            deadline=exchange.deadline,
            on_head=exchange.on_head,
        )

    async def _resume(self, exchange: Exchange, error: TransportError | None) -> Answer:
        """Get the answer after the stream of a request has ended without: by asking for the rest of the stream, where that can be.

        A legacy upstream that numbers its events keeps them for this (2025-11-25 basic/transports, "Resumability and Redelivery"),
        and may end a stream on purpose to be asked later (SEP-1699).
        """
        link = self._link
        if error is not None and not error.sent:
            raise UpstreamUnavailable(link.upstream, str(error))
        if exchange.is_limited and (
            isinstance(error, BodyTooLarge) or isinstance(getattr(error, "__cause__", None), SseOverflow)
        ):
            link.give_up(exchange, "its answer is too large")
            raise exchange.too_large()
        deadline = exchange.deadline
        failures = 0
        while True:
            self._check_time(exchange)
            last = exchange.last_event_id
            hopeless = link.is_modern or isinstance(error, BadResponse | BodyTooLarge) or failures == MAX_RESUMPTIONS
            if last is None or hopeless:
                link.give_up(exchange, "its stream has ended")
                raise AnswerLost(
                    link.upstream, str(error or "the event stream of the answer ended without it")
                ) from None
            if error is None and exchange.call is not None:
                exchange.call.on_stream_ended()
            wait = pause(exchange.retry, failures)
            await asyncio.sleep(wait if deadline is None else min(wait, deadline - self._loop.time()))
            self._check_time(exchange)
            head = link.stream_head + encode_headers({RESUME_HEADER: last})
            remaining = None if deadline is None else max(deadline - self._loop.time(), RUNG)
            try:
                response = await self.get(head, exchange.on_head, timeout=remaining)
            except TransportError as raised:
                error = raised
            except UpstreamError as refused:
                reason = f"the event stream of the answer broke off, and when it was to be resumed, {refused.reason}"
                raise AnswerLost(link.upstream, reason) from None
            else:
                error = None
            if exchange.answer is not None:
                return exchange.answer
            if error is None and not is_stream(response):
                if response.status == 404:
                    link.expire(EXPIRED)
                reason = f"the event stream of the answer broke off, and HTTP {response.status} came when it was to be resumed"
                raise AnswerLost(link.upstream, reason)
            failures = failures + 1 if exchange.last_event_id == last else 0

    async def get(self, head: bytes, on_head: OnHead, *, timeout: float | None = None) -> Response:
        """Ask for an event stream, wherever the upstream redirects to. Raises as `follow`."""
        link = self._link
        trail, deadline = Trail(link.upstream, link.url, "GET"), None
        if timeout is not None:
            deadline = self._loop.time() + timeout
        response = await link.http.request("GET", None, head, timeout=timeout, on_head=on_head)
        return await follow(link.http, trail, response, "GET", head, deadline=deadline, on_head=on_head)

    def _check_time(self, exchange: Exchange) -> None:
        link = self._link
        deadline = exchange.deadline
        if exchange.call is not None and deadline is not None and self._loop.time() >= deadline - RUNG:
            link.give_up(exchange, "it took too long")
            raise AnswerTooLate(link.upstream, f"no answer within {exchange.call.timeout:g} s")
