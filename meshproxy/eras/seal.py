"""`Sealer`: hand something to a client that nobody but its receiver can use, and that nobody can change.

A seal is `base64url(tag ‖ expiry ‖ owner ‖ payload)`; the tag is a keyed BLAKE2b (RFC 7693) over all of it and over what it is bound to: who
asks, and what for. The mark of the owner is there to tell a seal of another principal's from one that was made up. The payload itself is no secret from the client: what an upstream puts in its `requestState` would reach it on
a direct connection, too. The key lives as long as the process, whose name stands before
the seal where there are several (`meshproxy.cluster.home`).
"""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from typing import Any, Final

import msgspec

from meshproxy.cluster.home import bare, named
from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.relay.downstream import RequestContext
from meshproxy.relay.strangers import Strangers
from meshproxy.wire.codec import Raw, opened
from meshproxy.wire.protocol import NAMED_BY

TAG: Final = 16
EXPIRY: Final = 8
OWNER: Final = 8
_NOBODY: Final = b"\0" * OWNER
_MOST: Final = 4096
"""Owners that are remembered: without that, a seal of theirs is refused to others all the same, and not told."""


class Binding(bytes):
    """What a seal is bound to.

    Attributes:
        principal: who asks (`Principal.identity`).
        about: a digest of what for.
    """

    principal: str
    about: bytes

    @classmethod
    def of(cls, principal: str, about: bytes) -> "Binding":
        binding = cls(hashlib.sha256(about + principal.encode("utf-8", "surrogatepass")).digest())
        binding.principal, binding.about = principal, about
        return binding


class Sealer:
    """Makes and opens seals that live for `ttl` seconds."""

    def __init__(self, ttl: float = 600.0) -> None:
        self.ttl = ttl
        self._key = secrets.token_bytes(32)
        self._owners: OrderedDict[bytes, str] = OrderedDict()
        self._strangers = Strangers()

    def seal(self, payload: bytes, binding: bytes) -> str:
        expiry = int(time.monotonic() + self.ttl).to_bytes(EXPIRY, "big")
        body = expiry + self._owner(binding) + payload
        return named(urlsafe_b64encode(self._tag(body, binding) + body).decode())

    def open(self, sealed: Any, binding: bytes) -> bytes:
        """The payload of a seal.

        Raises:
            RpcError: -32602 if it was changed, is bound to something else, or is too old; it does not say which. That it is another principal's is logged.
        """
        if isinstance(sealed, str):
            sealed = bare(sealed)
        try:
            raw = urlsafe_b64decode(sealed)
        except (TypeError, ValueError):
            raw = b""
        tag, body = raw[:TAG], raw[TAG:]
        # The decoder skips what is no base64 and what follows its end, so that one seal would have many spellings.
        is_whole = urlsafe_b64encode(raw).decode() == sealed and hmac.compare_digest(tag, self._tag(body, binding))
        if not is_whole or int.from_bytes(body[:EXPIRY], "big") < time.monotonic():
            self._note(tag, body, binding)
            raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
        return body[EXPIRY + OWNER :]

    def _owner(self, binding: bytes) -> bytes:
        if not isinstance(binding, Binding):
            return _NOBODY
        principal = binding.principal
        mark = hashlib.blake2b(principal.encode("utf-8", "surrogatepass"), key=self._key, digest_size=OWNER).digest()
        self._owners[mark] = principal
        if len(self._owners) > _MOST:
            self._owners.popitem(last=False)
        return mark

    def _note(self, tag: bytes, body: bytes, binding: bytes) -> None:
        owner = self._owners.get(body[EXPIRY : EXPIRY + OWNER])
        if owner is None or not isinstance(binding, Binding) or owner == binding.principal:
            return
        if hmac.compare_digest(tag, self._tag(body, Binding.of(owner, binding.about))):
            self._strangers.note("request state", owner, binding.principal)

    def _tag(self, body: bytes, binding: bytes) -> bytes:
        mac = hashlib.blake2b(key=self._key, digest_size=TAG)
        mac.update(len(binding).to_bytes(8, "big") + binding + body)
        return mac.digest()


def binding_of(context: RequestContext, method: str, params: dict[str, Any]) -> Binding:
    """What a request's state is bound to: its principal, its method, and what it is about (2026-07-28 basic/patterns/mrtr, "Security").

    A retry repeats method and parameters, perhaps with the keys of its arguments in another order.
    """
    given = params.get("arguments")
    arguments = opened(given)
    if arguments is None and isinstance(given, Raw):
        # They cannot be read, so that they are the same only if they are spelled the same.
        arguments = bytes(given).decode("latin-1")
    about = [
        method,
        opened(params.get(NAMED_BY.get(method, ""))),
        arguments,
    ]
    try:
        text = msgspec.json.encode(about, order="sorted")
    except UnicodeEncodeError:
        # A lone surrogate, which JSON allows.
        text = json.dumps(about, sort_keys=True).encode()
    return Binding.of(context.downstream.visitor.principal.identity, hashlib.sha256(text).digest())
