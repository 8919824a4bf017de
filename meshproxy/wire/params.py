"""A request's parameters, decoded as far as a mesh reads them. Place: wire, pure."""

from typing import Any, Final

from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.wire.codec import JsonError, Raw, loads, shallow
from meshproxy.wire.messages import Message

__all__ = ["READ", "closed_params", "params_of"]

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


def closed_params(message: Message) -> dict[str, Any]:
    """The parameters of a request or a notification as a shallow dictionary. Null is none of them, as many languages write it.

    Raises:
        JsonError: they are no object.
    """
    raw = message.params
    if not isinstance(raw, Raw):
        return {}
    try:
        return shallow(raw)
    except JsonError:
        if bytes(raw) == b"null":
            return {}
        raise


def params_of(message: Message) -> dict[str, Any]:
    """The parameters of a request or a notification: a shallow dictionary whose `READ` members are decoded.

    A message without parameters has an empty dictionary.

    Raises:
        RpcError: -32602, they are no object, or their `_meta` is none.
    """
    try:
        params = closed_params(message)
        for key in params:
            if key in READ:
                params[key] = loads(params[key])
    except JsonError:
        raise RpcError(INVALID_PARAMS, "params must be an object") from None
    if "_meta" in params and not isinstance(params["_meta"], dict):
        if params["_meta"] is not None:
            raise RpcError(INVALID_PARAMS, "params._meta must be an object")
        del params["_meta"]
    return params
