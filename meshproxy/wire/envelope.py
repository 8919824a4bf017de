"""`Envelope`: a JSON-RPC message as it is decoded, before it is known which of the three it is. Place: wire, pure, under `messages`.

`msgspec` reads the annotations of its structs when they are made, so this module is one that is not compiled (docs/decisions/compiled.md).
"""

import msgspec

from meshproxy.wire.codec import Raw

__all__ = ["Envelope"]

_UNSET = msgspec.UNSET


class Envelope(msgspec.Struct, gc=False):
    """What a message has, whatever it may be, and nothing of it judged. Parameters that are no object make it another one, see `messages.parse`."""

    jsonrpc: str | msgspec.UnsetType = _UNSET
    id: int | str | msgspec.UnsetType | None = _UNSET
    method: str | msgspec.UnsetType = _UNSET
    params: dict[str, Raw] | msgspec.UnsetType | None = _UNSET
    result: Raw | msgspec.UnsetType = _UNSET
    error: Raw | msgspec.UnsetType = _UNSET
