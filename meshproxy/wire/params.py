"""A request's parameters, decoded as far as a mesh reads them. Place: wire, pure."""

from typing import Any, Final

import msgspec

from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.wire.codec import JsonError, loads, shallow
from meshproxy.wire.messages import Message

__all__ = ["READ", "params_of"]

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


def params_of(message: Message) -> dict[str, Any]:
    """The parameters of a request or a notification: a shallow dictionary whose `READ` members are decoded.

    A message without parameters has an empty dictionary.

    Raises:
        RpcError: -32602, they are no object, or their `_meta` is none.
    """
    raw = message.params
    if raw is msgspec.UNSET:
        return {}
    try:
        params = shallow(raw)
        for key in params:
            if key in READ:
                params[key] = loads(params[key])
    except JsonError:
        raise RpcError(INVALID_PARAMS, "params must be an object") from None
    if "_meta" in params and not isinstance(params["_meta"], dict):
        raise RpcError(INVALID_PARAMS, "params._meta must be an object")
    return params
