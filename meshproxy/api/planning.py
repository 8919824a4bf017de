"""`planned`: what a reload of a config would do here that somebody else holds, and tells by fingerprints. Place: api."""

import binascii
from typing import Any

import msgspec

from meshproxy.api.answers import ApiError
from meshproxy.config.fingerprint import fingerprints
from meshproxy.config.models import MeshConfig
from meshproxy.http.stream import Receive
from meshproxy.mesh.comparison import compared
from meshproxy.wire.codec import JsonError, loads

__all__ = ["planned"]

_LARGEST = 4 * 1024**2


class _Upstream(msgspec.Struct, frozen=True):
    enabled: bool
    connection: str
    view: str
    live: str


class _Told(msgspec.Struct, frozen=True):
    """See `meshproxy.config.fingerprint`; the key is in hexadecimal."""

    version: str
    key: str
    sections: dict[str, str]
    upstreams: dict[str, _Upstream]


async def planned(config: MeshConfig, version: str, receive: Receive) -> dict[str, Any]:
    """Compare what the body of a request tells with the config in force. `version` is this program's: another one may make other digests.

    Raises:
        ApiError: it tells nothing that can be compared.
    """
    try:
        told = msgspec.convert(loads(await _body(receive)), _Told)
        key = binascii.unhexlify(told.key)
        if told.version != version:
            raise ApiError(
                409, f"this mesh is version {version}, and the command {told.version}: compare with the same one"
            )
        ours = fingerprints(config, key)
        return compared(ours, {"sections": told.sections, "upstreams": msgspec.to_builtins(told.upstreams)})
    except (*JsonError, KeyError):
        raise ApiError(400, "the body must be what `meshproxy plan` sends") from None


async def _body(receive: Receive) -> bytes:
    pieces, size = [], 0
    while True:
        message: dict[str, Any] = await receive()
        pieces.append(bytes(message.get("body", b"")))
        size += len(pieces[-1])
        if size > _LARGEST:
            raise ApiError(413, f"the body is larger than {_LARGEST >> 20} MiB")
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(pieces)
