"""`Cipher`: nothing that replicas put into their store can be read or made up there. Place: cluster, at its bottom.

What is put under a name is AES-256-GCM (NIST SP 800-38D) with a random nonce, bound to that name, so that a value can be moved nowhere else. The keys are
made (BLAKE2b, RFC 7693) of those that the replicas share; the first of these seals, and all of them open, so that another can take its place while replicas still have the old one.
"""

import secrets
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Cipher"]

_NONCE: Final = 12
_TAG: Final = 16
_PERSON: Final = b"meshproxy store"


class Cipher:
    """`keys` are what the replicas share, at least one, of any length."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers: list[AESGCM] = []
        self.take(keys)

    def __repr__(self) -> str:
        return f"<Cipher with {len(self._ciphers)} keys>"

    def take(self, keys: Sequence[bytes]) -> None:
        """Go by these from now on."""
        self._ciphers = [AESGCM(blake2b(key, digest_size=32, person=_PERSON).digest()) for key in keys]

    def seal(self, value: bytes, name: str) -> bytes:
        """What is to be put under a name."""
        nonce = secrets.token_bytes(_NONCE)
        sealed: bytes = self._ciphers[0].encrypt(nonce, value, name.encode())
        return nonce + sealed

    def open(self, sealed: bytes, name: str) -> bytes | None:
        """What was put under a name; None if it was not one of us who did."""
        if len(sealed) < _NONCE + _TAG:
            return None
        for cipher in self._ciphers:
            try:
                found: bytes = cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
            except InvalidTag:
                continue
            return found
        return None
