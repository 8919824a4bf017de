"""`HttpErrand`: one POST of streamable HTTP without a task, whose answer is mostly plain. Place: upstream, between `exchange` and `streamable`."""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from functools import lru_cache
from typing import Any, Protocol

from meshproxy.errors import AnswerLost, UpstreamUnavailable
from meshproxy.http.client import encode_headers
from meshproxy.http.client_connection import Connection
from meshproxy.http.pool import Pool
from meshproxy.http.response import OnHead, Response
from meshproxy.links.envelope import Stamp
from meshproxy.links.exchange import Exchange, Inbox
from meshproxy.links.headers import carried
from meshproxy.links.link import Call, Done
from meshproxy.links.refusals import message_in, not_mcp
from meshproxy.relay.downstream import GiveUp
from meshproxy.wire.codec import Raw, opened
from meshproxy.wire.headers import METHOD_HEADER, NAME_HEADER, encode_header_value
from meshproxy.wire.messages import encode_request
from meshproxy.wire.protocol import NAMED_BY

__all__ = ["Cancellable", "Errands", "HttpErrand", "routing"]


class Cancellable(Protocol):
    """A request under way, as the link that is closed sees it."""

    def cancel(self) -> object: ...


class Sender(Inbox, Protocol):
    """The link, as its errands see it."""

    session: str | None
    """That of the legacy era, where the upstream has one."""

    @property
    def reason(self) -> str:
        """Why it has ended; "" while it is open."""
        ...

    def answer_to(self, connection: Connection, on_head: OnHead) -> tuple[Response, Awaitable[Response]]:
        """See `HttpClient.answer_to`."""
        ...

    def outcome(self, exchange: Exchange, responding: Awaitable[Response]) -> Coroutine[Any, Any, Raw]:
        """Wait for a response, and for what it does not have of the answer."""
        ...

    def give_up(self, exchange: Exchange, reason: str) -> None:
        """Tell the upstream that nobody waits for an answer."""
        ...


class Errands:
    """The requests of one link, and how those are sent that get no task.

    Attributes:
        link: whose they are.
        calls: those under way, in order of their start.
        waiting: how each is ended from here.
        head: the header lines of the link's requests.
        stamp: what the link adds to their parameters.
        is_modern: whether the modern era was negotiated.
        emptied: set when none is under way any more; None where nobody waits for that.
    """

    __slots__ = (
        "_configured",
        "_last_id",
        "_loop",
        "_pool",
        "calls",
        "emptied",
        "head",
        "is_modern",
        "link",
        "stamp",
        "waiting",
    )

    def __init__(self, link: Sender, pool: Pool, configured: frozenset[str], stamp: Stamp) -> None:
        self.link = link
        self.calls: dict[int, Call | None] = {}
        self.waiting: dict[int, Cancellable] = {}
        self.head = b""
        self.stamp = stamp
        self.is_modern = False
        self.emptied: asyncio.Event | None = None
        self._pool = pool
        self._configured = configured
        self._loop = asyncio.get_running_loop()
        self._last_id = 0

    def begin(self, method: str, params: dict[str, Any], call: Call, done: Done) -> GiveUp | None:
        """See `Link.begin`."""
        try:
            head = self.head_of(method, params, call)
        except UpstreamUnavailable:
            return None
        request_id = self._last_id + 1
        body = encode_request(request_id, method, self.stamp.onto(params, call, request_id))
        has_session = self.link.session is not None
        errand = HttpErrand(self, request_id, call, method, params, head, self.due(call), has_session=has_session)
        errand.done = done
        errand.connection = self._pool.run(head, body, call.timeout, errand)
        if errand.connection is None:
            return None
        self._last_id = request_id
        self.calls[request_id] = call
        self.waiting[request_id] = errand
        return errand.give_up

    def next_id(self) -> int:
        """The id of a request that is sent otherwise."""
        self._last_id += 1
        return self._last_id

    def head_of(self, method: str, params: dict[str, Any], call: Call | None) -> bytes:
        """The header lines of a request. Raises `UpstreamUnavailable` if a header of its caller's cannot be sent."""
        head = self.head
        if self.is_modern:
            head += routing(method, _named(method, params))
        if call is not None and call.headers:
            try:
                head += encode_headers(carried(call.headers, self._configured))
            except ValueError as error:
                raise UpstreamUnavailable(self.link.upstream, str(error)) from None
        return head

    def due(self, call: Call | None) -> float | None:
        """When a request of a call that is sent now is given up, in the loop's time; None for never."""
        if call is None:
            return None
        timeout = call.timeout
        return None if timeout is None else self._loop.time() + timeout

    def has_ended(self, exchange: Exchange) -> None:
        """A request is over. Idempotent."""
        self.calls.pop(exchange.request_id, None)
        self.waiting.pop(exchange.request_id, None)
        if self.emptied is not None and not self.waiting:
            self.emptied.set()
        for question in exchange.questions:
            question.cancel()


def _nobody(_: Raw | BaseException) -> None:
    """Who is told of an end that has been told."""


class HttpErrand(Exchange):
    """A request without a task (`meshproxy.http.client_connection.Errand`). It gets one when its answer is not plain.

    Attributes:
        done: told its end.
        connection: what carries it, as long as nothing has come of it that is not plain.
    """

    __slots__ = ("_errands", "_link", "_response", "_task", "connection", "done")

    done: Done
    connection: Connection | None

    def __init__(
        self,
        errands: Errands,
        request_id: int,
        call: Call,
        method: str,
        params: dict[str, Any],
        head: bytes,
        deadline: float | None,
        *,
        has_session: bool,
    ) -> None:
        super().__init__(errands.link, request_id, call, method, params, head, deadline, has_session=has_session)
        self._link = errands.link
        self._errands = errands
        self._task: asyncio.Task[Raw] | None = None
        self._response: Response | None = None

    def take(self, headers: dict[bytes, bytes], body: bytes) -> None:
        """See `meshproxy.http.client_connection.Errand`."""
        message = message_in(body, self.is_relayed)
        if message is None:
            self._end(AnswerLost(self._link.upstream, not_mcp(200, headers, body)))
        else:
            self._end(message.result if isinstance(message.result, Raw) else message.rpc_error)

    def unroll(self, connection: Connection) -> Response:
        """See `meshproxy.http.client_connection.Errand`."""
        self.connection = None
        self._response, responding = self._link.answer_to(connection, self.on_head)
        self._task = asyncio.get_running_loop().create_task(self._link.outcome(self, responding))
        self._task.add_done_callback(self._on_task_ended)
        return self._response

    def cancel(self) -> None:
        """The link is closed, and nothing of it is waited for."""
        if self._task is not None:
            self._task.cancel()
        elif self.connection is not None:
            self.connection.drop()
            self._end(AnswerLost(self._link.upstream, self._link.reason))

    def give_up(self) -> None:
        """See `meshproxy.relay.downstream.GiveUp`."""
        if self._task is not None:
            self._task.cancel()
        elif self.connection is not None:
            self.connection.drop()
            self._link.give_up(self, "the caller gave it up")
            self._end(asyncio.CancelledError())

    def _on_task_ended(self, task: asyncio.Task[Raw]) -> None:
        if not task.cancelled():
            self._end(task.exception() or task.result())
            return
        if self._response is not None:
            self._response.close()
        # It may have been cancelled before it began.
        is_known = self.request_id in self._errands.waiting
        self._end(asyncio.CancelledError() if is_known else AnswerLost(self._link.upstream, self._link.reason))

    def _end(self, outcome: Raw | BaseException) -> None:
        self.connection = None
        self._errands.has_ended(self)
        # Whoever is told has us, too: a circle for each call would be work for the garbage collector.
        done, self.done = self.done, _nobody
        done(outcome)


@lru_cache(maxsize=2048)
def routing(method: str, name: str | None) -> bytes:
    """The header lines that repeat what a modern request is about (SEP-2243)."""
    lines = f"{METHOD_HEADER}: {encode_header_value(method)}\r\n"
    if name is not None:
        lines += f"{NAME_HEADER}: {encode_header_value(name)}\r\n"
    return lines.encode()


def _named(method: str, params: Mapping[str, Any]) -> str | None:
    """What `Mcp-Name` repeats; None for nothing."""
    key = NAMED_BY.get(method) or ("taskId" if method.startswith("tasks/") else None)
    if key is None or key not in params:
        return None
    name = opened(params[key])
    return name if isinstance(name, str) else None
