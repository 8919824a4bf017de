"""The three messages of JSON-RPC 2.0, whose payloads are still closed. Place: wire, pure.

`meshproxy.wire.messages` makes them. Which of the three a message is, it decides once, there; whoever is handed one goes by its type.

`msgspec` reads the annotations of its structs when they are made, so this module is one that is not compiled (docs/decisions/compiled.md).
"""

from typing import Any, Final, TypeAlias

import msgspec

from meshproxy.errors import RpcError
from meshproxy.wire.codec import Raw

__all__ = ["Answer", "Envelope", "Id", "Message", "Notification", "Request", "id_in"]

Id: TypeAlias = int | str
"""A request's id. MCP forbids null (basic/index, "Requests")."""

_UNSET: Final = msgspec.UNSET


def id_in(value: Any) -> Id | None:
    """The id that a message names in its parameters, or None if it names none. To Python true is 1, and it is nobody's id."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


class Request(msgspec.Struct, frozen=True, gc=False):
    """What wants an answer. `params` is closed, and UNSET if there are none."""

    id: Id
    method: str
    params: Raw | msgspec.UnsetType = _UNSET


class Notification(msgspec.Struct, frozen=True, gc=False):
    """What wants none. `params` as those of a request."""

    method: str
    params: Raw | msgspec.UnsetType = _UNSET


class Answer(msgspec.Struct, frozen=True):
    """What a request ended with: its result, closed, or the error, whose data is closed.

    `id` is None in an error about a request whose id could not be read (JSON-RPC 2.0, section 5).
    """

    id: Id | None
    outcome: Raw | RpcError


Message: TypeAlias = Request | Notification | Answer


class Envelope(msgspec.Struct, gc=False):
    """What a message has, whatever it may be, and nothing of it judged."""

    jsonrpc: str | msgspec.UnsetType = _UNSET
    id: int | str | msgspec.UnsetType | None = _UNSET
    method: str | msgspec.UnsetType = _UNSET
    params: Raw | msgspec.UnsetType = _UNSET
    result: Raw | msgspec.UnsetType = _UNSET
    error: Raw | msgspec.UnsetType = _UNSET
