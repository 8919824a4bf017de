"""`HttpErrand`: one POST of streamable HTTP without a task, whose answer is mostly plain. Place: upstream, between `exchange` and `streamable`."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol

from meshproxy.errors import AnswerLost
from meshproxy.upstream.connection import Connection
from meshproxy.upstream.exchange import Exchange, Inbox
from meshproxy.upstream.link import Call, Done
from meshproxy.upstream.refusals import message_in, not_mcp
from meshproxy.upstream.response import OnHead, Response
from meshproxy.wire.codec import Raw

__all__ = ["Cancellable", "HttpErrand"]


class Cancellable(Protocol):
    """A request under way, as the link that is closed sees it."""

    def cancel(self) -> object: ...


class Sender(Inbox, Protocol):
    """The link, as its errands see it."""

    waiting: dict[int, Cancellable]
    """The requests under way."""

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

    def has_ended(self, exchange: Exchange) -> None:
        """A request is over."""
        ...


def _nobody(_: Raw | BaseException) -> None:
    """Who is told of an end that has been told."""


class HttpErrand(Exchange):
    """A request without a task (`meshproxy.upstream.connection.Errand`). It gets one when its answer is not plain.

    Attributes:
        done: told its end.
        connection: what carries it, as long as nothing has come of it that is not plain.
    """

    __slots__ = ("_link", "_response", "_task", "connection", "done")

    done: Done
    connection: Connection | None

    def __init__(
        self,
        link: Sender,
        request_id: int,
        call: Call,
        method: str,
        deadline: float | None,
        *,
        has_session: bool,
    ) -> None:
        super().__init__(link, request_id, call, method, deadline, has_session=has_session)
        self._link = link
        self._task: asyncio.Task[Raw] | None = None
        self._response: Response | None = None

    def take(self, headers: dict[bytes, bytes], body: bytes) -> None:
        """See `meshproxy.upstream.connection.Errand`."""
        message = message_in(body, self.is_relayed)
        if message is None:
            self._end(AnswerLost(self._link.upstream, not_mcp(200, headers, body)))
        else:
            self._end(message.result if isinstance(message.result, Raw) else message.rpc_error)

    def unroll(self, connection: Connection) -> Response:
        """See `meshproxy.upstream.connection.Errand`."""
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
        is_known = self.request_id in self._link.waiting
        self._end(asyncio.CancelledError() if is_known else AnswerLost(self._link.upstream, self._link.reason))

    def _end(self, outcome: Raw | BaseException) -> None:
        self.connection = None
        self._link.has_ended(self)
        # Whoever is told has us, too: a circle for each call would be work for the garbage collector.
        done, self.done = self.done, _nobody
        done(outcome)
