"""`Memory`: what each upstream offered when it was listed last, and what was found out about it, over a restart. Place: mesh.

An entry is of one spec: the digest of how the upstream is reached or run, made with a key of the state directory, since secrets are part of that.
Another spec has none. Only a listing that is whole is kept. The era that an upstream speaks is not: to ask costs one message, and one that
was updated meanwhile would be spoken to in the old one for ever.
"""

import hashlib
from collections.abc import Collection
from typing import Any, Final

import msgspec

from meshproxy.catalog.catalog import Catalog
from meshproxy.config.upstream import COMMAND_KEYS, URL_KEYS, UpstreamSpec
from meshproxy.kinds import Kind
from meshproxy.mesh.common_catalogs import CommonCatalogs
from meshproxy.state.catalogs import FOLDER, entry_name
from meshproxy.state.store import Store
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.codec import JsonError, dumps, loads

__all__ = ["Memory"]

VERSION: Final = 1
"""Of an entry's form. One of another version is as good as none."""


class _Entry(msgspec.Struct, frozen=True):
    version: int
    spec: str
    definitions: dict[Kind, tuple[dict[str, Any], ...]]
    capabilities: dict[str, Any]
    instructions: str | None
    ttl: dict[Kind, int]
    private: frozenset[Kind]
    has_handshake: bool | None
    talks: bool


class Memory:
    """The entries in a store, by upstream.

    Attributes:
        common: those of all replicas; None where this mesh is alone. Set before it starts.
    """

    def __init__(self, store: Store) -> None:
        self.common: CommonCatalogs | None = None
        self._store = store
        self._kept: dict[str, tuple[Catalog, bool | None, bool, str]] = {}
        self._wanted: frozenset[str] | None = None

    def recall(self, spec: UpstreamSpec, provider: ProxyProvider) -> None:
        """Tell a provider that was not started what is remembered of its upstream."""
        common = self.common
        # What any of the replicas has seen is of later than what this one remembers.
        entry = None if common is None else self._entry(common.read(spec.name), self._digest(spec, common.key))
        entry = entry or self._entry(self._store.read(entry_name(spec.name)), self._digest(spec, self._store.key))
        if entry is None:
            return
        catalog = Catalog(
            definitions=entry.definitions,
            capabilities=entry.capabilities,
            instructions=entry.instructions,
            ttl=entry.ttl,
            private=entry.private,
        )
        provider.recollection.recall(catalog, has_handshake=entry.has_handshake, talks=entry.talks)

    @staticmethod
    def _entry(data: bytes | None, digest: str) -> _Entry | None:
        """What is kept, if it is of this spec."""
        if data is None:
            return None
        try:
            entry = msgspec.convert(loads(data), _Entry)
        except (*JsonError, msgspec.ValidationError):
            return None
        return entry if entry.version == VERSION and entry.spec == digest else None

    def keep(self, spec: UpstreamSpec, provider: ProxyProvider) -> None:
        """Remember what a provider offers, if that is news, whole, and from itself."""
        catalog, known = provider.recollection.news, provider.recollection.known
        if catalog is None:
            return
        digest = self._digest(spec, self._store.key)
        now = (catalog, known.has_handshake, known.talks, digest)
        if self._kept.get(spec.name) == now:
            return
        self._kept[spec.name] = now
        entry = {
            "version": VERSION,
            "spec": digest,
            "definitions": catalog.definitions,
            "capabilities": catalog.capabilities,
            "instructions": catalog.instructions,
            "ttl": catalog.ttl,
            "private": sorted(catalog.private),
            "has_handshake": known.has_handshake,
            "talks": known.talks,
        }
        self._store.write(entry_name(spec.name), dumps(entry))
        if self.common is not None:
            self.common.write(spec.name, dumps(entry | {"spec": self._digest(spec, self.common.key)}))

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop the entries of upstreams that are not in the config any more, be they enabled or not."""
        if self._wanted == frozenset(names):
            return
        self._wanted = frozenset(names)
        wanted = {entry_name(name) for name in names}
        for name in self._store.names(FOLDER):
            if name not in wanted:
                self._store.remove(name)

    @staticmethod
    def _digest(spec: UpstreamSpec, key: bytes) -> str:
        reached = [getattr(spec, key) for key in (*COMMAND_KEYS, *URL_KEYS)]
        # A mapping's order says nothing, and its repr hides its values.
        plain = [sorted(dict(value).items()) if hasattr(value, "items") else value for value in reached]
        return hashlib.blake2b(repr(plain).encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()
