"""`Call`: one request on its way, as the link that carries it sees it. Place: links, under `link`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from mypy_extensions import mypyc_attr

from meshproxy.wire.codec import Raw

__all__ = ["Call", "Done", "GiveUp", "Send"]

GiveUp: TypeAlias = Callable[[], None]
"""Gives a request up that is under way: it ends with a `CancelledError`, unless it has ended already."""
Done: TypeAlias = Callable[[Raw | BaseException], None]
"""Told once what a request ended with: its result, or why it has none (see `Link.send`)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Call(ABC):
    """Where messages that belong to the request go, and what it brings.

    Attributes:
        owner: what tells its downstream from the others; calls with equal owners belong to one client. None for the mesh's own.
        headers: HTTP headers to send with it (lower-case names), if the way is HTTP.
        capabilities: what its caller declared, for the envelope of a modern request; None for the link's own.
        log_level: the least severe level that its caller wants to hear, likewise.
        timeout: seconds until it is given up, None for never.
        max_result: bytes that its answer may have, as a message.
        wants_progress: whether to ask the upstream for progress.
    """

    # Here and nowhere below: compiled code reads these where this class has them.
    __slots__ = ("headers", "max_result", "owner", "timeout", "wants_progress")

    owner: object
    headers: Mapping[str, str]
    timeout: float | None
    max_result: int
    wants_progress: bool

    @property
    @abstractmethod
    def capabilities(self) -> dict[str, Any] | None: ...

    @property
    @abstractmethod
    def log_level(self) -> str | None: ...

    @abstractmethod
    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        """A notification that belongs to this call, in the order of the wire and before its answer. Never blocks.

        For `notifications/progress` the link has checked the token already, and `params` holds its own.
        """

    @abstractmethod
    def on_request(self, method: str, params: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        """A question that belongs to this call: answer it, or raise `RpcError`."""

    @abstractmethod
    def on_stream_ended(self) -> None:
        """The upstream ended the stream of this call before its answer, to be asked for the rest of it later (SEP-1699)."""


Send: TypeAlias = Callable[[str, dict[str, Any], Call | None, Done], GiveUp]
"""See `Link.send`: method, parameters, whose request it is, and who is told of its end."""
