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
MOST: Final = 500
"""Changes that are told at one time: reading them must not keep calls waiting."""

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
_PULL: Final = Script("return redis.call('HMGET', KEYS[1], 'number', 'record')")
# Each change has a number, and which record has changed last is kept by those: whoever knows up to one is told what came after it, however many records there are.
_PUSH: Final = Script("""
local fence, changed = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'fence', 'changed')
if fence > 0 and known[1] and tonumber(known[1]) > fence then return 0 end
if fence == 0 and ARGV[6] == '0' and known[2] and tonumber(known[2]) >= changed then return 0 end
if fence == 0 then fence = known[1] or 0 end
local number = redis.call('HINCRBY', KEYS[3], ARGV[5], 1)
redis.call('HSET', KEYS[1], 'number', number, 'fence', fence, 'changed', ARGV[2], 'record', ARGV[3])
redis.call('ZADD', KEYS[2], number, ARGV[4])
return number
""")
_CHANGES: Final = Script("""
local last = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
return {last, redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])}
""")


class Found:
    """What was put there: the text of a record, None for none; `is_sealed` where there is one that nobody has the key of any more."""

    def __init__(self, text: bytes | None, *, is_sealed: bool = False) -> None:
        self.text = text
        self.is_sealed = is_sealed


class Common:
    """The records in one store. They go by names of ours (`name`)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fences: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._upto = 0
        self._followed: dict[str, Callable[[], Awaitable[None]]] = {}
        store.on_change.append(self._on_store)

    @staticmethod
    def name(key: str) -> str:
        """What something is called there that must not be told."""
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def follow(self, name: str, bring: Callable[[], Awaitable[None]]) -> None:
        """Have `bring` awaited whenever another has put a record. It raises `Away` where it could not be had, and is awaited again then."""
        self._followed[name] = bring

    def unfollow(self, name: str) -> None:
        """Nobody wants it any more."""
        self._followed.pop(name, None)

    def _on_store(self) -> None:
        # It may have forgotten what was put, and what was changed meanwhile is to be put.
        self.look_anew()

    def look_anew(self) -> None:
        """Believe nothing of what was seen, from the next look on: the store may have forgotten it, or is read with other keys."""
        self._seen.clear()
        self._upto = 0

    async def look(self) -> None:
        """See which have been put since the last look, for those who follow. Raises `Away`."""
        keys = [self._store.key("changes"), self._store.key("versions")]
        if not self._upto:
            # Whatever was put up to now is brought for what is followed, and need not be told.
            self._seen.clear()
            self._upto, _ = await self._store.do(_CHANGES, keys, [WHAT, "+inf", 0])
        for name in [name for name in self._followed if name not in self._seen]:
            await self._bring(name)
        while True:
            last, flat = await self._store.do(_CHANGES, keys, [WHAT, self._upto, MOST])
            if last < self._upto:
                # It has forgotten, without having been away.
                self.look_anew()
                await self.look()
                return
            for raw, number in zip(flat[::2], map(int, flat[1::2]), strict=True):
                name = raw.decode()
                if self._seen.get(name, 0) < number:
                    await self._bring(name)
                self._upto = number
            if len(flat) < 2 * MOST:
                return

    async def _bring(self, name: str) -> None:
        bring = self._followed.get(name)
        if bring is not None:
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
        number, sealed = await self._store.do(_PULL, [key], [], BOUND)
        self._seen[name] = int(number or 0)
        text = None if sealed is None else self._store.open(sealed, key)
        return Found(text, is_sealed=sealed is not None and text is None)

    async def push(self, name: str, text: bytes, changed: float, *, is_over_sealed: bool = False) -> bool:
        """Put a record, of that time; whether it was taken: not if another has put a later one, or has the lock by now. Raises `Away`.

        `is_over_sealed`: what is there nobody can read, and so it is not later.
        """
        key = self._store.key("login", name)
        keys = [key, self._store.key("changes"), self._store.key("versions")]
        told: list[str | bytes | float] = [self._fences.get(name, 0), changed, self._store.seal(text, key)]
        number: int = await self._store.do(_PUSH, keys, [*told, name, WHAT, int(is_over_sealed)], BOUND)
        if number:
            self._seen[name] = number
        return number > 0

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
