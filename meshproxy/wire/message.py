"""The three messages of JSON-RPC 2.0, whose payloads are still closed. Place: wire, pure.

`meshproxy.wire.messages` makes them. Which of the three a message is, it decides once, there; whoever is handed one goes by its type.
"""

from typing import Any, Final, TypeAlias

import msgspec

from meshproxy.errors import RpcError
from meshproxy.wire.codec import Raw

__all__ = ["Answer", "Id", "Message", "Notification", "Request", "id_in"]

Id: TypeAlias = int | str
"""A request's id. MCP forbids null (basic/index, "Requests")."""

_UNSET: Final[Any] = msgspec.UNSET


def id_in(value: Any) -> Id | None:
    """The id that a message names in its parameters, or None if it names none. To Python true is 1, and it is nobody's id."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


class Request:
    """What wants an answer. `params` is a shallow dictionary if it is an object, closed if it is anything else, and UNSET if there are none."""

    __slots__ = ("id", "method", "params")

    def __init__(self, id: Id, method: str, params: Any = _UNSET) -> None:  # noqa: A002  # as the specification calls it
        self.id = id
        self.method = method
        self.params: Any = params

    def __repr__(self) -> str:
        return f"Request({self.id!r}, {self.method!r}, {self.params!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and _parts(self) == _parts(other)

    def __hash__(self) -> int:
        return hash((self.id, self.method))


class Notification:
    """What wants none. `params` as those of a request."""

    __slots__ = ("method", "params")

    def __init__(self, method: str, params: Any = _UNSET) -> None:
        self.method = method
        self.params: Any = params

    def __repr__(self) -> str:
        return f"Notification({self.method!r}, {self.params!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notification) and (self.method, self.params) == (other.method, other.params)

    def __hash__(self) -> int:
        return hash(self.method)


class Answer:
    """What a request ended with: its result, closed, or the error, whose data is closed.

    `id` is None in an error about a request whose id could not be read (JSON-RPC 2.0, section 5).
    """

    __slots__ = ("id", "outcome")

    def __init__(self, id: Id | None, outcome: Raw | RpcError) -> None:  # noqa: A002  # as the specification calls it
        self.id = id
        self.outcome = outcome

    def __repr__(self) -> str:
        return f"Answer({self.id!r}, {self.outcome!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and (self.id, self.outcome) == (other.id, other.outcome)

    def __hash__(self) -> int:
        return hash(self.id)


Message: TypeAlias = Request | Notification | Answer


def _parts(request: Request) -> tuple[Any, ...]:
    return (request.id, request.method, request.params)
