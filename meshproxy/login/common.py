"""`Common`: what replicas have in common of logins, by their store: the records, and who of all may change one. Place: login, under `vault`.

A refresh token is often good for one use. So whoever refreshes holds the lock of the record, which lasts a few seconds longer than he says that he is still there; each lock has a number, and what is put by a lower one than
the last is not taken, so that who was stopped in the middle, and comes to himself when another has the lock, spoils nothing. Records are sealed, and what they are called there tells nothing of whose they are.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from typing import Final

from meshproxy.cluster.store import Away, Script, Store

__all__ = ["Common", "Found"]

WHAT: Final = "logins"
"""The version that each change raises (`meshproxy.cluster.pulse`)."""
BOUND: Final = 0.25
"""Seconds for the store to answer: a call may wait for that."""
LASTS: Final = 15_000
"""Milliseconds that a lock lasts of whose holder nothing is heard any more."""
AGAIN: Final = 4.0
"""Seconds between two times that he is heard."""
LOOK: Final = 0.03
"""Seconds between two looks whether another is done."""
PATIENCE: Final = 60.0
"""Seconds to wait for another."""

_LOCK: Final = Script("""
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end
return 0
""")
_HOLD: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
_UNLOCK: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")
_PULL: Final = Script("return redis.call('HMGET', KEYS[1], 'version', 'record')")
_PUSH: Final = Script("""
local fence, changed = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'fence', 'changed')
if fence > 0 and known[1] and tonumber(known[1]) > fence then return '' end
if fence == 0 and known[2] and tonumber(known[2]) >= changed then return '' end
if fence == 0 then fence = known[1] or 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'fence', fence, 'changed', ARGV[2], 'record', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[5], ARGV[3])
redis.call('HINCRBY', KEYS[3], ARGV[6], 1)
return ARGV[3]
""")
_INDEX: Final = Script("return redis.call('HGETALL', KEYS[1])")


class Found:
    """What was put there: the text of a record, or None for none, or one that none of us has put there."""

    def __init__(self, text: bytes | None) -> None:
        self.text = text


class Common:
    """The records in one store. They go by names of ours (`name`)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fences: dict[str, int] = {}
        self._seen: dict[str, str] = {}
        self._followed: dict[str, Callable[[], Awaitable[None]]] = {}
        store.on_change.append(self._on_store)

    @staticmethod
    def name(key: str) -> str:
        """What something is called there that must not be told."""
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def follow(self, name: str, bring: Callable[[], Awaitable[None]]) -> None:
        """Have `bring` awaited whenever another has put a record."""
        self._followed[name] = bring

    def unfollow(self, name: str) -> None:
        """Nobody wants it any more."""
        self._followed.pop(name, None)

    def _on_store(self) -> None:
        # It may have forgotten what was put, and what was changed meanwhile is to be put.
        self._seen.clear()

    async def look(self) -> None:
        """See which have been put, for those who follow. Raises `Away`."""
        flat: list[bytes] = await self._store.do(_INDEX, [self._store.key("logins")], [])
        versions = dict(zip(flat[::2], flat[1::2], strict=True))
        for name, bring in list(self._followed.items()):
            version = versions.get(name.encode(), b"").decode()
            if self._seen.get(name) != version:
                await bring()

    @contextlib.asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """Be the only one of all replicas who changes a record; while the store is away, of those here.

        Raises:
            TimeoutError: another is at it for too long.
        """
        token = secrets.token_hex(16)
        keys = [self._store.key("login", name, "lock"), self._store.key("fences")]
        try:
            async with asyncio.timeout(PATIENCE):
                fence = await self._lock(keys, token)
        except Away:
            # It may have been given the lock all the same, when it had given up.
            await self._unlock(keys[0], token)
            yield
            return
        self._fences[name] = fence
        holding = asyncio.create_task(self._hold(keys[0], token), name="login lock")
        try:
            yield
        finally:
            del self._fences[name]
            holding.cancel()
            await asyncio.wait({holding})
            await self._unlock(keys[0], token)

    async def pull(self, name: str) -> Found:
        """What was put last. Raises `Away`."""
        key = self._store.key("login", name)
        version, sealed = await self._store.do(_PULL, [key], [], BOUND)
        self._seen[name] = (version or b"").decode()
        return Found(None if sealed is None else self._store.open(sealed, key))

    async def push(self, name: str, text: bytes, changed: float) -> bool:
        """Put a record, of that time; whether it was taken: not if another has put a later one, or has the lock by now. Raises `Away`."""
        key, version = self._store.key("login", name), secrets.token_hex(8)
        keys = [key, self._store.key("logins"), self._store.key("versions")]
        told: list[str | bytes | float] = [self._fences.get(name, 0), changed, version, self._store.seal(text, key)]
        taken: bytes = await self._store.do(_PUSH, keys, [*told, name, WHAT], BOUND)
        if taken:
            self._seen[name] = version
        return bool(taken)

    async def _lock(self, keys: list[str], token: str) -> int:
        while True:
            fence: int = await self._store.do(_LOCK, keys, [token, LASTS], BOUND)
            if fence:
                return fence
            await asyncio.sleep(LOOK)

    async def _unlock(self, key: str, token: str) -> None:
        with contextlib.suppress(Away):
            await self._store.do(_UNLOCK, [key], [token], BOUND)

    async def _hold(self, key: str, token: str) -> None:
        while True:
            await asyncio.sleep(AGAIN)
            with contextlib.suppress(Away):
                await self._store.do(_HOLD, [key], [token, LASTS])
