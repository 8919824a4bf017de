"""The seam to an upstream: a `Link` carries requests out, and hands back what belongs to each.

A link is one live, negotiated connection (or, over HTTP, one protocol session) to one upstream. Whoever opens it closes it.
Every message that comes back knows what it belongs to: its `Call`, where the transport can tell, or the link's `Listener`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from mypy_extensions import mypyc_attr

from meshproxy.links.answered import answered
from meshproxy.links.call import Call, Send
from meshproxy.links.faults import Faults
from meshproxy.links.tasks import Tasks
from meshproxy.wire.codec import Raw
from meshproxy.wire.protocol import Era


@mypyc_attr(allow_interpreted_subclasses=True)
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
        tells_calls_apart: whether what an upstream says during a call comes with that call, unless the upstream chooses otherwise.
        tasks: the core tasks that somebody waits for; None where none was ever made.
        on_end: called once when no request can be sent any more, whoever ended it; None where nobody wants to know.
    """

    # Compiled code reads these where this class has them, so that no class below may have a property or a method of such a name.
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
    tells_calls_apart: bool = False
    tasks: Tasks | None = None
    on_end: Callable[[], None] | None = None

    @property
    def capabilities(self) -> dict[str, Any]:
        """What the upstream said it can do."""
        capabilities = self.server.get("capabilities")
        return capabilities if isinstance(capabilities, dict) else {}

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

    def request(self, method: str, params: dict[str, Any], call: Call | None = None) -> Coroutine[Any, Any, Raw]:
        """`send` a request and wait for its end; cancelling the waiting task gives it up. Raises what `send` would tell."""
        return answered(self.send, method, params, call)

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
