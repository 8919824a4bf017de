"""The seam to an upstream: a `Link` carries requests out, and hands back what belongs to each.

A link is one live, negotiated connection (or, over HTTP, one protocol session) to one upstream. Whoever opens it closes it.
Every message that comes back knows what it belongs to: its `Call`, where the transport can tell, or the link's `Listener`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias

from meshproxy.links.faults import Faults
from meshproxy.links.tasks import Tasks
from meshproxy.wire.codec import Raw
from meshproxy.wire.protocol import Era

GiveUp: TypeAlias = Callable[[], None]
"""Gives a request up that is under way: it ends with a `CancelledError`, unless it has ended already."""
Done: TypeAlias = Callable[[Raw | BaseException], None]
"""Told once what a request ended with: its result, or why it has none (see `Link.send`)."""


class Call(Protocol):
    """One request on its way, as the link sees it: where messages that belong to it go.

    Attributes:
        owner: what tells its downstream from the others; calls with equal owners belong to one client. None for the mesh's own.
        headers: HTTP headers to send with it (lower-case names), if the way is HTTP.
        capabilities: what its caller declared, for the envelope of a modern request; None for the link's own.
        log_level: the least severe level that its caller wants to hear, likewise.
        timeout: seconds until it is given up, None for never.
        max_result: bytes that its answer may have, as a message.
        wants_progress: whether to ask the upstream for progress.
    """

    owner: object
    headers: Mapping[str, str]
    timeout: float | None
    max_result: int
    wants_progress: bool

    @property
    def capabilities(self) -> dict[str, Any] | None: ...

    @property
    def log_level(self) -> str | None: ...

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        """A notification that belongs to this call, in the order of the wire and before its answer. Never blocks.

        For `notifications/progress` the link has checked the token already, and `params` holds its own.
        """
        ...

    async def on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A question that belongs to this call: answer it, or raise `RpcError`."""
        ...

    def on_stream_ended(self) -> None:
        """The upstream ended the stream of this call before its answer, to be asked for the rest of it later (SEP-1699)."""
        ...


Send: TypeAlias = Callable[[str, dict[str, Any], Call | None, Done], GiveUp]
"""See `Link.send`: method, parameters, whose request it is, and who is told of its end."""


class Listener(Protocol):
    """Where messages go that the link cannot tell the call of."""

    def on_notification(self, link: "Link", method: str, params: dict[str, Any]) -> None:
        """As `Call.on_notification`, on the upstream's own account."""
        ...

    async def on_request(self, link: "Link", method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A question whose call is not known: answer it, or raise `RpcError`."""
        ...

    def on_closed(self, link: "Link", reason: str) -> None:
        """The connection ended, by the other side or by a fault; told once, and not after `aclose`."""
        ...


class Link(ABC):
    """A live connection to one upstream, negotiated.

    Attributes:
        upstream: the configured name, for errors.
        era: which era was negotiated.
        version: the negotiated revision.
        faults: says what the upstream is forgiven.
        server: the result of `initialize` or `server/discover`: `capabilities`, `serverInfo`, `instructions` and the rest.
        calls: the calls under way, in order of their start.
        given_up: calls that nobody waits for any more, as long as the upstream may not know it yet: what it says may still be of them.
        is_open: whether a request can be sent.
        has_expired: whether it ended because the upstream, which is there, does not know the session any more.
        is_shut_out: whether it is closed because the upstream refuses what it is shown, and nothing else can be shown.
        tasks: the core tasks that somebody waits for; None where none was ever made.
        on_end: called once when no request can be sent any more, whoever ended it; None where nobody wants to know.
    """

    upstream: str
    faults: Faults
    era: Era
    version: str
    server: dict[str, Any]
    calls: dict[int, Call | None]
    given_up: dict[int, Call | None]
    is_open: bool = True
    has_expired: bool = False
    is_shut_out: bool = False
    tasks: Tasks | None = None
    on_end: Callable[[], None] | None = None

    @property
    def capabilities(self) -> dict[str, Any]:
        """What the upstream said it can do."""
        capabilities = self.server.get("capabilities")
        return capabilities if isinstance(capabilities, dict) else {}

    @property
    def tells_calls_apart(self) -> bool:
        """Whether what an upstream says during a call comes with that call, unless the upstream chooses otherwise."""
        return False

    @property
    def repeats_parameters(self) -> bool:
        """Whether annotated arguments go into `Mcp-Param-*` headers, so that a tool whose annotations are invalid cannot be called."""
        return False

    send: Send
    """Send a request: in this step, or as soon as it can leave. Never blocks and never raises.

    `params` is a shallow dictionary without hop-by-hop `_meta`: the link adds its own envelope, log level and progress token. Messages that belong
    to the call have all been handed to it before `done` is told, which is in a later step, and once:

    - the result, as bytes;
    - an `RpcError`, the upstream's answer, handed on as it came;
    - `UpstreamUnavailable`, the request did not leave;
    - `AnswerLost`, it left, and the connection ended or `call.timeout` passed before an answer;
    - a `CancelledError`, after what this method returns was called. That tells the upstream, too (`notifications/cancelled`, or the closing of its
      stream over modern HTTP).
    """

    async def request(self, method: str, params: dict[str, Any], call: Call | None = None) -> Raw:
        """`send` a request and wait for its end; cancelling the waiting task gives it up. Raises what `send` would tell."""
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        give_up = self.send(method, params, call, partial(settle, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            give_up()
            raise

    @abstractmethod
    def next_id(self) -> int:
        """A number for a call that outlives its request: no request of this link has it."""

    def keep_tasks(self) -> Tasks:
        """The core tasks of this link, for whoever is about to make one."""
        if self.tasks is None:
            self.tasks = Tasks(self.calls, self.given_up, self.next_id)
        return self.tasks

    @abstractmethod
    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        """Send a notification; dropped if the link is closed."""

    def identify(self, headers: Mapping[str, str]) -> None:  # noqa: B027  # optional by nature: most ways have no headers
        """From now on its caller shows himself by other headers, in what belongs to none of his calls too; see `Endpoint.connect_as`."""

    async def listen(self) -> None:
        """Open the way for what the upstream says outside of any call, where that is a stream of its own.

        Legacy streamable HTTP alone has one; elsewhere everything arrives anyway. The stream is kept up until `aclose`.
        """
        return

    @abstractmethod
    async def aclose(self) -> None:
        """End the connection, politely and within a bound, and leave nothing behind. Idempotent."""


def settle(answer: "asyncio.Future[Raw]", outcome: Raw | BaseException) -> None:
    """Hand what a request ended with to who waits for it, if anybody still does."""
    if answer.done():
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
