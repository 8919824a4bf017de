"""`CommonCatalogs`: what each upstream offered when any replica listed it last, by their store. Place: mesh, under `memory`.

So a replica that starts with nothing lists at once what the others know. They are fetched once, before the mesh starts; from then on each replica learns from its upstreams, and puts what is news.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import structlog

from meshproxy.cluster.store import Away, Script, Store

__all__ = ["WHAT", "CommonCatalogs"]

log = structlog.get_logger(__name__)

WHAT: Final = "catalogs"
"""The version that is looked at when the store comes back (`meshproxy.cluster.pulse`)."""
LASTS: Final = 90 * 86_400_000
"""Milliseconds for which one is kept that nobody puts anew."""
MOST: Final = 32 * 1024**2
"""Bytes of one, packed; a larger one is each replica's own."""

_PUT: Final = Script("""
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
""")
_GET: Final = Script("return redis.call('MGET', unpack(KEYS))")


class CommonCatalogs:
    """Entries as `meshproxy.mesh.memory` writes them.

    Args:
        store: what all share.
        key: for digests of what is secret: the same at all replicas.
    """

    def __init__(self, store: Store, key: bytes) -> None:
        self.key = key
        self._store = store
        self._found: dict[str, bytes] = {}
        self._sums: dict[str, bytes] = {}
        self._ours: dict[str, bytes] = {}
        self._putting: asyncio.Task[None] | None = None
        self._owed: dict[str, bytes] = {}

    async def fetch(self, upstreams: Iterable[str], within: float) -> None:
        """Have those of these upstreams, if the store has them. Raises nothing."""
        names = list(upstreams)
        with contextlib.suppress(Away):
            if names:
                found: list[bytes | None] = await self._store.do(_GET, list(map(self._place, names)), [], within)
                for name, sealed in zip(names, found, strict=True):
                    opened = None if sealed is None else self._store.open(sealed, self._place(name))
                    if opened is not None:
                        self._found[name] = await asyncio.to_thread(zlib.decompress, opened)
                        self._sums[name] = _sum(self._found[name])

    def read(self, upstream: str) -> bytes | None:
        """What was fetched of an upstream, once; None for nothing."""
        return self._found.pop(upstream, None)

    def write(self, upstream: str, entry: bytes) -> None:
        """Put what an upstream offers now, soon, if that is news."""
        self._ours[upstream] = entry
        if self._sums.get(upstream) != _sum(entry):
            self._owe(upstream, entry)

    def put_anew(self) -> None:
        """Put everything again: what is there is sealed with other keys than from now on."""
        for name, entry in self._ours.items():
            self._owe(name, entry)

    async def look(self) -> None:
        """The store may have forgotten what was put: see, and put it again. Raises `Away`."""
        names = list(self._ours)
        if not names:
            return
        found: list[bytes | None] = await self._store.do(_GET, [self._sum_place(name) for name in names], [])
        for name, value in zip(names, found, strict=True):
            if value is None:
                self._owe(name, self._ours[name])

    async def aclose(self) -> None:
        """Put nothing any more."""
        if self._putting is not None:
            self._putting.cancel()
            await asyncio.wait({self._putting})

    def _owe(self, upstream: str, entry: bytes) -> None:
        self._owed[upstream] = entry
        if self._putting is None or self._putting.done():
            self._putting = asyncio.create_task(self._put_all(), name="catalogs")

    async def _put_all(self) -> None:
        # What cannot be put now is when the store is back.
        with contextlib.suppress(Away):
            while self._owed:
                name, entry = self._owed.popitem()
                packed = await asyncio.to_thread(zlib.compress, entry, 1)
                if len(packed) > MOST:
                    log.info("cluster.catalog_too_large", upstream=name, bytes=len(packed))
                    continue
                keys = [self._place(name), self._sum_place(name)]
                await self._store.do(_PUT, keys, [self._store.seal(packed, keys[0]), _sum(entry), LASTS])
                self._sums[name] = _sum(entry)

    def _place(self, upstream: str) -> str:
        return self._store.key("catalog", upstream)

    def _sum_place(self, upstream: str) -> str:
        return self._store.key("catalog-sum", upstream)


def _sum(entry: bytes) -> bytes:
    return blake2b(entry, digest_size=16).hexdigest().encode()
