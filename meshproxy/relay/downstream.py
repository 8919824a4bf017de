"""A client as the mesh sees it: `Downstream`, and one request of its, `RequestContext`.

The transports of the serving room implement both; everything above them asks these two, and nobody asks a context variable.
`RequestContext` has the shape of the SDK's `mcp.shared.dispatcher.DispatchContext`, so that an SDK handler can be given one.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

from mypy_extensions import mypyc_attr

from meshproxy.errors import INVALID_REQUEST, RpcError
from meshproxy.relay.principal import ANONYMOUS, Visitor
from meshproxy.wire.codec import Raw
from meshproxy.wire.messages import Id
from meshproxy.wire.protocol import EXTENSION_TASKS, KNOWN_EXTENSIONS, Era

CARRIED_EXTENSIONS: Final[dict[Era, frozenset[str]]] = {
    Era.LEGACY: KNOWN_EXTENSIONS - {EXTENSION_TASKS},
    Era.MODERN: KNOWN_EXTENSIONS,
}
"""The tasks extension needs results of a type that the legacy era does not have."""
BRIDGED: Final[dict[str, Any]] = {
    "roots": {"listChanged": True},
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
}
"""What a connection that serves many callers declares: all that the mesh can carry to one that is able."""
_NONE: Final[Mapping[str, str]] = {}

Result = Raw | dict[str, Any]
"""What a request ends with: encoded already, or a shallow dictionary."""
Outcome = Result | BaseException
"""What it ends with, or what would have been raised."""
FAILED: Final = BaseException
"""What tells one from the other: compiled code has this constant at hand, and looks a builtin that is no type of its own up each time."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Downstream(ABC):
    """One client: a session of the legacy era, or the caller of one modern request.

    Attributes:
        key: what tells it from every other client; a session's id, or unique to a request.
        era: how it speaks.
        version: the negotiated protocol revision; "" before `initialize` is answered.
        capabilities: what the client declared, as it declared it.
        client: its `clientInfo`, as it gave it.
        visitor: who it is, and at which address.
        log_level: the least severe level that it wants to hear; None for none.
        headers: HTTP headers of a request of its own, the last one that was looked at: what it shows itself by. Empty elsewhere.
        closed: set when no message can reach it any more.
    """

    # One is made for each modern request, and ten thousand sessions may be open: no dictionary, and an event only when waited for.
    __slots__ = (
        "__weakref__",
        "_closed",
        "_gone",
        "_on_close",
        "capabilities",
        "client",
        "era",
        "headers",
        "key",
        "log_level",
        "version",
        "visitor",
    )

    def __init__(self, key: str, era: Era) -> None:
        self.key = key
        self.era = era
        self.version = ""
        self.capabilities: dict[str, Any] = {}
        self.client: dict[str, Any] = {}
        self.visitor: Visitor = ANONYMOUS
        self.log_level: str | None = None
        self.headers: Mapping[str, str] = _NONE
        self._gone = False
        self._closed: asyncio.Event | None = None
        self._on_close: list[Callable[[], None]] | None = None

    @property
    def party(self) -> object:
        """Whose share its calls take of what is shared out among clients, and the one place that says so.

        Its principal's, if it is known. A session's own otherwise, and of callers without a session, whom nothing tells apart for certain, all who call
        themselves by one name share.
        """
        principal = self.visitor.principal
        if principal.is_known:
            return ("principal", principal.identity)
        return ("session", self.key) if self.era is Era.LEGACY else ("client", str(self.client.get("name", "")))

    @property
    def closed(self) -> asyncio.Event:
        if self._closed is None:
            self._closed = asyncio.Event()
            if self._gone:
                self._closed.set()
        return self._closed

    @abstractmethod
    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Queue a notification that belongs to no request, on the client's standalone stream. Never blocks."""

    @abstractmethod
    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Ask the client something that belongs to no request. `RpcError` if it refuses or cannot be asked."""

    def on_close(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once when this client is gone (at once if it is already); the answer takes that back."""
        if self._gone:
            callback()
            return lambda: None
        if self._on_close is None:
            self._on_close = []
        self._on_close.append(callback)

        def forget() -> None:
            if self._on_close is not None and callback in self._on_close:
                self._on_close.remove(callback)

        return forget

    def close(self) -> None:
        """Say that the client is gone. Idempotent."""
        if self._gone:
            return
        self._gone = True
        if self._closed is not None:
            self._closed.set()
        callbacks, self._on_close = self._on_close, None
        for callback in callbacks or ():
            callback()


@mypyc_attr(allow_interpreted_subclasses=True)
class RequestContext(ABC):
    """One request of a downstream: who asks, and the way back to it while it waits.

    Attributes:
        downstream: who asks.
        request_id: the id on the wire.
        progress_token: what the client wants its progress told under; None if it asked for none.
        headers: lower-case HTTP headers of the request; empty elsewhere.
    """

    # Here and nowhere below: compiled code reads these where this class has them.
    __slots__ = ("downstream", "headers", "progress_token", "request_id")

    downstream: Downstream
    request_id: Id
    progress_token: Id | None
    headers: Mapping[str, str]

    @property
    @abstractmethod
    def can_send_request(self) -> bool:
        """Whether a question can reach the client on this request's stream now."""

    @abstractmethod
    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Queue a notification on this request's stream, in order, before its answer. Never blocks; dropped once answered."""

    @abstractmethod
    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Ask the client something within this request. `RpcError` if it refuses or cannot be asked."""

    def close_stream(self) -> None:  # noqa: B027  # optional by nature: most wires have nothing to let go of
        """Let the client poll: end its connection, and keep what is said from here on until it comes back (SEP-1699).

        Does nothing where a stream cannot be resumed.
        """


def no_back_channel(method: str) -> RpcError:
    """The answer to a question that cannot reach the client."""
    return RpcError(INVALID_REQUEST, f"{method}: this client cannot be asked on this connection")


def bridged(downstream: Downstream) -> dict[str, Any]:
    """A client's capabilities as far as the mesh can carry them; what it declared of each stays as it declared it."""
    return _carried(downstream.capabilities, CARRIED_EXTENSIONS[downstream.era])


def kept_of(declared: Mapping[str, Any]) -> dict[str, Any]:
    """What of a client's capabilities somebody will look at while its session lasts."""
    return _carried(declared, KNOWN_EXTENSIONS)


def may_be_asked(downstream: Downstream) -> bool:
    """Whether a client declared that it can answer any question."""
    return any(key in downstream.capabilities for key in BRIDGED)


def _carried(declared: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if not declared:
        return {}
    carried = {key: declared[key] for key in BRIDGED if key in declared}
    extensions = declared.get("extensions")
    if extensions and isinstance(extensions, Mapping):
        passing = {key: value for key, value in extensions.items() if key in known}
        if passing:
            carried["extensions"] = passing
    return carried
