"""`Message`: one JSON-RPC 2.0 message whose payload is still closed. Place: wire, pure.

`msgspec` reads the annotations of its structs when they are made, so this module is one that is not compiled (docs/decisions/compiled.md).
"""

from typing import Final, TypeAlias

import msgspec

from meshproxy.errors import INVALID_REQUEST, RpcError
from meshproxy.wire.codec import Raw, mapping, opened

__all__ = ["Envelope", "Id", "Message"]

Id: TypeAlias = int | str
"""A request's id. MCP forbids null (basic/index, "Requests")."""

_UNSET: Final = msgspec.UNSET


class Message(msgspec.Struct, frozen=True, gc=False):
    """One JSON-RPC message whose payload is not decoded yet.

    A request has `id` and `method`, a notification `method` alone, an answer `id` and either `result` or `error`.
    """

    id: Id | None = None
    method: str | None = None
    params: Raw | msgspec.UnsetType = _UNSET
    result: Raw | msgspec.UnsetType = _UNSET
    error: Raw | msgspec.UnsetType = _UNSET

    @property
    def is_request(self) -> bool:
        return self.method is not None and self.id is not None

    @property
    def is_notification(self) -> bool:
        return self.method is not None and self.id is None

    @property
    def rpc_error(self) -> RpcError:
        """The error of an answer, its data still closed; what is malformed in it becomes an internal error rather than a crash."""
        body = mapping(self.error)
        if body is None:
            return RpcError(INVALID_REQUEST, "the peer answered with neither a result nor an error")
        code, message = opened(body.get("code")), opened(body.get("message"))
        return RpcError(
            code if isinstance(code, int) and not isinstance(code, bool) else INVALID_REQUEST,
            message if isinstance(message, str) else "",
            body.get("data"),
        )


class Envelope(msgspec.Struct, gc=False):
    """What a message has, whatever it may be, and nothing of it judged."""

    jsonrpc: str | msgspec.UnsetType = _UNSET
    id: int | str | msgspec.UnsetType | None = _UNSET
    method: str | msgspec.UnsetType = _UNSET
    params: Raw | msgspec.UnsetType = _UNSET
    result: Raw | msgspec.UnsetType = _UNSET
    error: Raw | msgspec.UnsetType = _UNSET
