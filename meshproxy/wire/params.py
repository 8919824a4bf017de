"""A request's parameters, decoded as far as a mesh reads them. Place: wire, pure."""

from collections.abc import Iterable
from typing import Any, Final

from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.limits import MAX_IDENTIFIER, MAX_MEMBER, LimitError, check_size
from meshproxy.wire.codec import JsonError, Raw, loads, shallow
from meshproxy.wire.messages import Message

__all__ = ["READ", "check_spelling", "closed_params", "params_of"]

READ: Final = frozenset(
    {
        "_meta",
        "capabilities",
        "clientInfo",
        "cursor",
        "level",
        "name",
        "notifications",
        "protocolVersion",
        "reason",
        "ref",
        "requestId",
        "requestState",
        "taskId",
        "uri",
    }
)
"""The members that the mesh itself reads, small all of them. What is not here stays closed: `arguments`, `inputResponses`, ..."""


_LARGE: Final = frozenset({"_meta", "capabilities", "clientInfo", "notifications", "requestState"})
"""Those of `READ` that name nothing, and may be larger for it."""
_CLOSED: Final = frozenset({"argument", "arguments", "context", "inputResponses", "task"})
"""The other members that the protocol defines and the mesh has a hand in."""
_FOLDED: Final = frozenset(key.casefold() for key in READ | _CLOSED)
_NONE: Final = (b"null", b"[]")


def closed_params(message: Message) -> dict[str, Any]:
    """The parameters of a request or a notification as a shallow dictionary. Null is none of them, and so is `[]`, as PHP writes what is empty.

    Raises:
        JsonError: they are no object.
    """
    raw = message.params
    if not isinstance(raw, Raw):
        return {}
    try:
        return shallow(raw)
    except JsonError:
        if bytes(raw) in _NONE:
            return {}
        raise


def params_of(message: Message) -> dict[str, Any]:
    """The parameters of a request or a notification: a shallow dictionary whose `READ` members are decoded.

    A message without parameters has an empty dictionary. A member that is repeated counts as it came last, here, once: what is sent on is
    made of this dictionary.

    Raises:
        RpcError: -32602, they are no object, or their `_meta` is none; one that is read goes beyond a limit; or the name of one differs from
            that of another in its case alone, see `check_spelling`.
    """
    where = "params"
    try:
        params = closed_params(message)
        for key in params:
            if key in READ:
                value = params[key]
                if len(value) > MAX_IDENTIFIER:
                    where = f"params.{key}"
                    check_size(len(value), MAX_MEMBER if key in _LARGE else MAX_IDENTIFIER)
                params[key] = loads(value)
            elif key not in _CLOSED and key.casefold() in _FOLDED:
                raise _misspelt(key)
    except LimitError as error:
        raise RpcError(INVALID_PARAMS, f"{where}: {error}") from None
    except JsonError:
        raise RpcError(INVALID_PARAMS, "params must be an object") from None
    if "_meta" in params and not isinstance(params["_meta"], dict):
        if params["_meta"] is not None:
            raise RpcError(INVALID_PARAMS, "params._meta must be an object")
        del params["_meta"]
    return params


def check_spelling(keys: Iterable[str], known: frozenset[str]) -> None:
    """Refuse keys that are not among the `known` ones and differ from one of them in case alone.

    JSON tells them apart, and so does the mesh. But there are decoders that do not (that of Go's standard library, for one), and to an
    upstream with one of those the second is the first: it would be asked for something else than what was looked up, and was not excluded.

    Raises:
        RpcError: -32602, with the key.
    """
    for key in keys:
        if key not in known and key.casefold() in known:
            raise _misspelt(key)


def _misspelt(key: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"the parameter {key[:64]!r} differs from one of the protocol's in case alone")
