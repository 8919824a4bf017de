"""`Post`: one request of streamable HTTP and what becomes of it; `Posts`: all those of one link. Place: links, under `streamable`.

A request leaves in the step that sends it, over a connection that is at hand. An answer that is plain, one JSON body whose head came
before, ends it in the step that reads it, and so does one that comes by an event stream. Everything else needs a task: no connection is at hand, the
answer is another body, a redirect or a refusal, or the event stream ends without it.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, Protocol

from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.http.client import encode_headers
from meshproxy.http.client_connection import Connection
from meshproxy.http.pool import Pool
from meshproxy.http.response import OnHead, Response
from meshproxy.http.transport_errors import TransportError
from meshproxy.links.call import Call, Done, GiveUp
from meshproxy.links.envelope import RequestMeta
from meshproxy.links.exchange import Exchange, Inbox
from meshproxy.links.headers import SESSION_HEADER, carried
from meshproxy.links.negotiation import RequestRefusedError
from meshproxy.links.refusals import not_mcp
from meshproxy.wire.codec import Raw, opened
from meshproxy.wire.headers import METHOD_HEADER, NAME_HEADER, encode_header_value
from meshproxy.wire.memo import remember
from meshproxy.wire.messages import encode_request, unread_result
from meshproxy.wire.protocol import NAMED_BY

__all__ = ["Post", "Posts", "routing"]


class Sender(Inbox, Protocol):
    """The link, as its requests see it."""

    session: str | None
    """That of the legacy era, where the upstream has one."""

    def dial(self, head: bytes, body: bytes, timeout: float | None, on_head: OnHead) -> Awaitable[Response]:
        """Send a request over a connection that has to be opened first."""
        ...

    def outcome(self, post: Exchange, responding: Awaitable[Response]) -> Coroutine[Any, Any, Raw]:
        """Wait for a response, and for what it does not have of the answer."""
        ...

    def give_up(self, post: Exchange, reason: str) -> None:
        """Tell the upstream that nobody waits for an answer."""
        ...


class Posts:
    """The requests of one link.

    Attributes:
        link: whose they are.
        max_body: bytes of an answer; None for no bound but its caller's.
        calls: whose each of them is that is under way, by id and in order of their start.
        waiting: those under way.
        head: the header lines of the link's requests.
        shown: those by which the link's owner shows himself in what is no client's call, which brings its own.
        stamp: what the link adds to their parameters.
        is_modern: whether the modern era was negotiated.
        ended: why the link has ended; "" while it is open.
        emptied: set when none is under way any more; None where nobody waits for that.
    """

    __slots__ = (
        "_configured",
        "_last_id",
        "_loop",
        "_pool",
        "calls",
        "emptied",
        "ended",
        "head",
        "is_modern",
        "link",
        "max_body",
        "shown",
        "stamp",
        "waiting",
    )

    def __init__(
        self, link: Sender, pool: Pool, max_body: int | None, configured: frozenset[str], stamp: RequestMeta
    ) -> None:
        self.link = link
        self.max_body = max_body
        self.calls: dict[int, Call | None] = {}
        self.waiting: dict[int, Post] = {}
        self.head = b""
        self.shown = b""
        self.stamp = stamp
        self.is_modern = False
        self.ended = ""
        self.emptied: asyncio.Event | None = None
        self._pool = pool
        self._configured = configured
        self._loop = asyncio.get_running_loop()
        self._last_id = 0

    def send(self, method: str, params: dict[str, Any], call: Call | None, done: Done) -> GiveUp:
        """See `Link.send`."""
        return self.post(method, params, call, done).give_up

    def post(
        self, method: str, params: dict[str, Any], call: Call | None, done: Done, head: bytes | None = None
    ) -> "Post":
        """The same. `head` are the header lines if they are not those of `head_of`."""
        self._last_id = request_id = self._last_id + 1
        timeout = None if call is None else call.timeout
        deadline = None if timeout is None else self._loop.time() + timeout
        # Whether there is a session as it leaves: by the time of the answer another request may have told of the session's end.
        post = Post(self, request_id, call, method, params, deadline, done, has_session=self.link.session is not None)
        self.calls[request_id] = call
        self.waiting[request_id] = post
        if self.ended:
            self._loop.call_soon(post.end, UpstreamUnavailable(self.link.upstream, self.ended))
            return post
        try:
            if head is None:
                head = self.head_of(method, params, call)
            if self.is_modern or (call is not None and call.wants_progress):
                body = encode_request(request_id, method, self.stamp.onto(params, call, request_id))
            else:
                body = encode_request(request_id, method, params)
        except Exception as error:  # noqa: BLE001  # it costs this request, and not whoever sends it
            self._loop.call_soon(post.end, error)
            return post
        post.head = head
        post.connection = self._pool.run(head, body, timeout, post)
        if post.connection is None:
            post.follow(self.link.dial(head, body, timeout, post.on_head))
        return post

    def next_id(self) -> int:
        """A number that no request has."""
        self._last_id += 1
        return self._last_id

    def head_of(self, method: str, params: dict[str, Any], call: Call | None) -> bytes:
        """The header lines of a request. Raises `RequestRefusedError` if a header of its caller's cannot be sent."""
        head = self.head if call is not None and call.owner is not None else self.head + self.shown
        if self.is_modern:
            head += routing(method, _named(method, params))
        if call is not None and call.headers:
            try:
                head += encode_headers(carried(call.headers, self._configured))
            except ValueError as error:
                raise RequestRefusedError(self.link.upstream, str(error)) from None
        return head

    def has_ended(self, post: "Post") -> None:
        """A request is over."""
        self.calls.pop(post.request_id, None)
        self.waiting.pop(post.request_id, None)
        if self.emptied is not None and not self.waiting:
            self.emptied.set()


class Post(Exchange):
    """A request under way (`meshproxy.http.client_connection.Errand`).

    Attributes:
        connection: what carries it, as long as nothing has come of it that is not plain.
        session: the id of the session that its answer opened; None for none.
    """

    __slots__ = ("_done", "_link", "_posts", "_task", "connection", "session")

    def __init__(
        self,
        posts: Posts,
        request_id: int,
        call: Call | None,
        method: str,
        params: dict[str, Any],
        deadline: float | None,
        done: Done,
        *,
        has_session: bool,
    ) -> None:
        super().__init__(posts.link, request_id, call, method, params, b"", deadline, has_session=has_session)
        self._link = posts.link
        self._posts = posts
        self._done: Done | None = done
        self._task: asyncio.Task[Raw] | None = None
        self.connection: Connection | None = None
        self.session: str | None = None

    def take(self, headers: dict[bytes, bytes], data: bytes, start: int) -> None:
        """See `meshproxy.http.client_connection.Errand`."""
        if self.method == "initialize" and (session := headers.get(SESSION_HEADER.encode())) is not None:
            self.session = session.decode("latin-1")
        call = self.call
        if call is not None and len(data) - start > call.max_result:
            self.end(self.too_large())
            return
        found = None if call is None else unread_result(data, start)
        if found is not None and found[0] == self.request_id:
            self._answered(found[1])
            return
        answer = self.answer_in(data, start)
        if answer is None:
            self.end(AnswerLost(self._link.upstream, not_mcp(200, headers, data[start:])))
        else:
            self._answered(answer.outcome)

    def unroll(self, connection: Connection) -> Response:
        """See `meshproxy.http.client_connection.Errand`."""
        self.connection = None
        self.response = response = Response(connection, self._responded, self.on_head, False, self._posts.max_body)
        return response

    def _responded(self, response: Response, error: TransportError | None) -> None:
        """The response is there, as far as it is waited for, or has broken off."""
        if self._done is None:
            return
        answer = self.answer
        if answer is not None:
            # The whole of its stream may be there by now, or not yet: the answer is all that was wanted of it.
            if self.method == "initialize":
                self.session = response.header(SESSION_HEADER)
            self._answered(answer.outcome)
            return
        responding: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        if error is None:
            responding.set_result(response)
        else:
            responding.set_exception(error)
            responding.exception()  # or the loop complains if the task is given up before it asks
        self.follow(responding)

    def _answered(self, outcome: Raw | RpcError) -> None:
        if self.questions:
            # A client that is being asked within the call is to hear first that it need not answer any more.
            asyncio.get_running_loop().call_soon(self.end, outcome)
        else:
            self.end(outcome)

    def follow(self, responding: Awaitable[Response]) -> None:
        """What comes of it is waited for in a task."""
        self._task = asyncio.get_running_loop().create_task(self._link.outcome(self, responding))
        self._task.add_done_callback(self._on_task_ended)

    def give_up(self) -> None:
        """See `Link.send`."""
        if self._done is not None:
            self._let_go(asyncio.CancelledError())
            self._link.give_up(self, "the caller gave it up")

    def abandon(self) -> "asyncio.Task[Raw] | None":
        """The link is closed: it ends as lost. Its task, if it has one, which ends soon."""
        self._let_go(AnswerLost(self._link.upstream, self._posts.ended))
        return self._task

    def end(self, outcome: Raw | BaseException) -> None:
        """It has ended, unless it had before."""
        done, self._done = self._done, None
        if done is None:
            return
        self.connection = None
        self._posts.has_ended(self)
        for question in self.questions:
            question.cancel()
        done(outcome)

    def _let_go(self, outcome: BaseException) -> None:
        connection, task, response = self.connection, self._task, self.response
        if connection is not None:
            connection.drop()
        if task is not None:
            task.cancel()
        self.end(outcome)
        if task is None and response is not None:
            response.close()

    def _on_task_ended(self, task: asyncio.Task[Raw]) -> None:
        if task.cancelled():
            # It may have been cancelled before it began, and then nobody has closed what it was to read.
            if self.response is not None:
                self.response.close()
            self.end(asyncio.CancelledError())
            return
        error = task.exception()
        if error is not None:
            self.end(error)
            return
        if self.method == "initialize" and self.response is not None:
            self.session = self.response.header(SESSION_HEADER)
        self.end(task.result())


def routing(method: str, name: str | None) -> bytes:
    """The header lines that repeat what a modern request is about (SEP-2243)."""
    # Callers invent URIs of any length, which are not worth remembering.
    if name is not None and len(name) > _SHORT:
        return _routing(method, name)
    key = method if name is None else f"{method} {name}"
    lines: bytes | None = _lines.get(key)
    if lines is None:
        lines = _routing(method, name)
        remember(_lines, key, lines)
    return lines


def _routing(method: str, name: str | None) -> bytes:
    lines = f"{METHOD_HEADER}: {encode_header_value(method)}\r\n"
    if name is not None:
        lines += f"{NAME_HEADER}: {encode_header_value(name)}\r\n"
    return lines.encode()


_lines: Final[dict[str, Any]] = {}
_SHORT: Final = 256
"""Characters of a name whose header lines are remembered."""


def _named(method: str, params: dict[str, Any]) -> str | None:
    """What `Mcp-Name` repeats; None for nothing."""
    key = NAMED_BY.get(method) or ("taskId" if method.startswith("tasks/") else None)
    if key is None or key not in params:
        return None
    name = opened(params[key])
    return name if isinstance(name, str) else None
