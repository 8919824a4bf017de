"""Keys: how one is made, and whose a shown one is. Place: access.

A key is 256 random bits, so that its hash needs no salt and no slowness, and the file can hold it openly.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable
from typing import Final

from meshproxy.config.access import KeyConfig
from meshproxy.relay.principal import Principal

__all__ = ["PREFIX", "KeyRing", "hash_of", "new_key", "told_as"]

PREFIX: Final = "mesh_"
"""What every key begins with, so that scanners of repositories and logs know one."""
_BYTES: Final = 32


def new_key() -> str:
    """A key that nobody has: the prefix, and 43 characters of base64url."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def hash_of(key: str) -> str:
    """A key's hash as the file has it."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def told_as(digest: bytes) -> str:
    """What replicas call a key, of which this is the SHA-256, when they speak of it: it does not tell its hash."""
    return hashlib.blake2b(digest, digest_size=16).hexdigest()


class KeyRing:
    """The keys of one config, by their hashes, but for those that replicas have `revoked` (`told_as`)."""

    def __init__(self, keys: Iterable[KeyConfig] = (), revoked: Collection[str] = ()) -> None:
        self._by_digest: dict[bytes, tuple[bytes, Principal]] = {}
        self._by_name: dict[str, Principal] = {}
        for key in keys:
            principal = Principal(
                "key",
                key.name,
                groups=frozenset(key.groups),
                rights=frozenset(key.rights),
                profiles=None if key.profiles is None else frozenset(key.profiles),
                expires=key.expires or 0.0,
                origin=key,
            )
            digests = [digest for digest in key.digests if not revoked or told_as(digest) not in revoked]
            if digests:
                self._by_name[key.name] = principal
            for digest in digests:
                self._by_digest[digest] = (digest, principal)

    def find(self, digest: bytes) -> Principal | None:
        """The principal whose key has this SHA-256.

        How long the look-up takes tells nothing: whoever guesses cannot choose a hash byte by byte, and the table is
        ordered by a secret of the process. What is found is compared in constant time all the same.
        """
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1]

    def named(self, name: str) -> Principal | None:
        """The principal of a key's name."""
        return self._by_name.get(name)
