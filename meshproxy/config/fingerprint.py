"""`fingerprints`: what of two configs can be compared by somebody who may see neither. Place: config, pure.

Values are told as digests with a key that is made for one comparison, since secrets are among them: equal ones say that both are the same, and nothing else.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from meshproxy.config.models import MeshConfig

__all__ = ["SECTIONS", "fingerprints"]

SECTIONS: Final = ("name", "instructions", "separator", "state", "reload", "observe", "access", "profiles")
"""Those that are compared as they are; `server` and `cluster` are in parts."""

Json = dict[str, Any]


def fingerprints(config: MeshConfig, key: bytes) -> Json:
    """The digests of each section, and of each upstream by what a difference in it means. JSON."""
    server = config.server
    still = (server.model_copy(update={"auth": None, "tls": None}), server.tls is not None)
    return {
        "sections": {
            **{name: _digest(getattr(config, name), key) for name in SECTIONS},
            "cluster": _digest(config.cluster.model_copy(update={"key": ()}), key),
            "cluster.key": _digest(config.cluster.key, key),
            "server": _digest(still, key),
            "server.auth": _digest(server.auth, key),
            "server.tls": _digest(server.tls, key),
        },
        "upstreams": {
            name: {
                "enabled": spec.enabled,
                "connection": _digest(spec.connection, key),
                "view": _digest(spec.view, key),
                "live": _digest(spec.live, key),
            }
            for name, spec in config.upstreams.items()
        },
    }


def _digest(value: Any, key: bytes) -> str:
    return hashlib.blake2b(repr(_plain(value)).encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """A value whose repr hides nothing and is the same for equal ones."""
    if isinstance(value, BaseModel):
        return (type(value).__name__, [(name, _plain(getattr(value, name))) for name in type(value).model_fields])
    if isinstance(value, Mapping):
        # What a mapping's order says, as of profiles, takes no part in equality either.
        return sorted((str(name), _plain(child)) for name, child in value.items())
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, map(_plain, value)))
    return str(value) if isinstance(value, str) else value
