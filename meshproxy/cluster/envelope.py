"""`Envelopes`: what a request that is handed on has with it: where it came from, and that one of us hands it on. Place: cluster.

A request goes as it came, its credential included, and its home judges that itself. What its bytes do not say goes in one header of ours: what the client called the mesh, its address, the name in its certificate, the scheme. That is sealed,
together with the whole request, by a keyed BLAKE2b (RFC 7693) whose key the processes of one endpoint share and nobody else has. An envelope is good once, and for a few seconds.
"""

import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from meshproxy.http.stream import Scope
from meshproxy.wire.codec import JsonError, dumps, loads

__all__ = ["FIELD", "Envelopes", "target_of"]

FIELD: Final = b"x-meshproxy-envelope"
"""The header. What a client sends under this name goes nowhere."""
LASTS: Final = 10.0
"""Seconds in which a request has to have come from one process of a machine to another."""
_TAG: Final = 16
_NONCE: Final = 12
_OURS: Final = frozenset(
    (
        *(FIELD, b"host", b"connection", b"content-length", b"expect", b"keep-alive"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    )
)
"""Fields that belong to one connection (RFC 9110, 7.6.1), and those that go in the envelope."""

Fields = list[tuple[bytes, bytes]]


class Envelopes:
    """Makes and opens them. `keys` are what the processes of one endpoint share, and `lasts` the seconds in which one is good.

    Attributes:
        keys: the first is used, and all of them are taken. They may be replaced.
    """

    def __init__(self, *keys: bytes, lasts: float = LASTS) -> None:
        self.keys: Sequence[bytes] = keys
        self._lasts = lasts
        self._seen: set[str] = set()
        self._seen_before: set[str] = set()
        self._turned = 0.0

    def close(self, scope: Scope, body: bytes) -> tuple[Fields, bytes]:
        """The headers of a request as they are handed on, without the envelope, and the value of that."""
        raw: Fields = scope["headers"]
        fields = [(name, value) for name, value in raw if name not in _OURS]
        hosts = [value.decode("latin-1") for name, value in raw if name == b"host"]
        facts = [time.time(), secrets.token_hex(_NONCE), hosts, scope.get("client"), scope.get("client_name")]
        told = dumps([*facts, scope["scheme"]])
        return fields, urlsafe_b64encode(_tag(self.keys[0], told, scope, fields, body) + told)

    def open(self, scope: Scope, body: bytes) -> Scope | None:
        """The scope of a request as its client sent it; None if nobody of us has handed it on, or it came before."""
        raw: Fields = scope["headers"]
        shown = [value for name, value in raw if name == FIELD]
        try:
            sealed = urlsafe_b64decode(shown[0]) if len(shown) == 1 else b""
        except ValueError:
            return None
        tag, told = sealed[:_TAG], sealed[_TAG:]
        fields = [(name, value) for name, value in raw if name not in _OURS]
        if not any(hmac.compare_digest(tag, _tag(key, told, scope, fields, body)) for key in self.keys):
            return None
        try:
            at, nonce, hosts, client, name, scheme = loads(told)
        except JsonError:
            return None
        if not self._is_fresh(at, nonce):
            return None
        fields = [*((b"host", host.encode("latin-1")) for host in hosts), *fields]
        client = None if client is None else (str(client[0]), int(client[1]))
        return {**scope, "headers": fields, "client": client, "client_name": name, "scheme": scheme}

    def _is_fresh(self, at: float, nonce: str) -> bool:
        """Whether it is new, and not older than what is remembered of those that came."""
        now = time.time()
        lasts = self._lasts
        if now - self._turned > 2 * lasts:
            # One that was seen before the last turn is too old by itself, even if it came from a clock that is ahead.
            self._seen_before = self._seen if now - self._turned <= 4 * lasts else set()
            self._seen, self._turned = set(), now
        if abs(now - at) > lasts or nonce in self._seen or nonce in self._seen_before:
            return False
        self._seen.add(nonce)
        return True


def _tag(key: bytes, told: bytes, scope: Scope, fields: Fields, body: bytes) -> bytes:
    mac = blake2b(key=key, digest_size=_TAG)
    for part in (told, scope["method"].encode(), target_of(scope), *(part for field in fields for part in field)):
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    mac.update(body)
    return mac.digest()


def target_of(scope: Scope) -> bytes:
    """Path and query, as the client spelled them."""
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return b"%b?%b" % (path, query) if query else path
