"""`Sealer`: hand something to a client that nobody but its receiver can use, and that nobody can change.

A seal is `base64url(tag ‖ expiry ‖ payload)`; the tag is a keyed BLAKE2b (RFC 7693) over all of it and over what it is bound to: who
asks, and what for. The payload itself is no secret from the client: what an upstream puts in its `requestState` would reach it on
a direct connection, too. The key lives as long as the process.
"""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

import msgspec

from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.relay.downstream import RequestContext
from meshproxy.wire.codec import Raw, opened
from meshproxy.wire.protocol import NAMED_BY

TAG: Final = 16
EXPIRY: Final = 8


class Sealer:
    """Makes and opens seals that live for `ttl` seconds."""

    def __init__(self, ttl: float = 600.0) -> None:
        self.ttl = ttl
        self._key = secrets.token_bytes(32)

    def seal(self, payload: bytes, binding: bytes) -> str:
        expiry = int(time.monotonic() + self.ttl).to_bytes(EXPIRY, "big")
        return urlsafe_b64encode(self._tag(expiry + payload, binding) + expiry + payload).decode()

    def open(self, sealed: Any, binding: bytes) -> bytes:
        """The payload of a seal.

        Raises:
            RpcError: -32602 if it was changed, is bound to something else, or is too old; it does not say which.
        """
        try:
            raw = urlsafe_b64decode(sealed)
        except (TypeError, ValueError):
            raw = b""
        tag, body = raw[:TAG], raw[TAG:]
        # The decoder skips what is no base64 and what follows its end, so that one seal would have many spellings.
        is_whole = urlsafe_b64encode(raw).decode() == sealed and hmac.compare_digest(tag, self._tag(body, binding))
        if not is_whole or int.from_bytes(body[:EXPIRY], "big") < time.monotonic():
            raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
        return body[EXPIRY:]

    def _tag(self, body: bytes, binding: bytes) -> bytes:
        mac = hashlib.blake2b(key=self._key, digest_size=TAG)
        mac.update(len(binding).to_bytes(8, "big") + binding + body)
        return mac.digest()


def binding_of(context: RequestContext, method: str, params: dict[str, Any]) -> bytes:
    """What a request's state is bound to: its principal, its method, and what it is about (2026-07-28 basic/patterns/mrtr, "Security").

    A retry repeats method and parameters, perhaps with the keys of its arguments in another order.
    """
    given = params.get("arguments")
    arguments = opened(given)
    if arguments is None and isinstance(given, Raw):
        # They cannot be read, so that they are the same only if they are spelled the same.
        arguments = bytes(given).decode("latin-1")
    about = [
        context.downstream.visitor.principal.identity,
        method,
        opened(params.get(NAMED_BY.get(method, ""))),
        arguments,
    ]
    try:
        text = msgspec.json.encode(about, order="sorted")
    except UnicodeEncodeError:
        # A lone surrogate, which JSON allows.
        text = json.dumps(about, sort_keys=True).encode()
    return hashlib.sha256(text).digest()
