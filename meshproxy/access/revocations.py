"""`Revocations`: a key that an edit takes out of one replica's file is refused by all of them. Place: access, above `access`.

The others may have it in their files for as long as an edit takes to reach them. It stays refused until an edit puts it in again, at whichever replica. What is told is a digest of the key's hash, with the time and sealed, so that nobody
else can revoke a key or bring one back; of two words about one key the later counts.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from meshproxy.access.access import Entrance
from meshproxy.access.keys import told_as
from meshproxy.cluster.store import Away, Script, Store

__all__ = ["WHAT", "Revocations"]

WHAT: Final = "revoked"
"""The version that each change raises (`meshproxy.cluster.pulse`), and what they are under."""
_TICK: Final = 0.001
"""Seconds by which a word is later than the one before, whatever the clock says."""

_PUT: Final = Script("""
local is_news = 0
for i = 2, #ARGV, 3 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if not known or tonumber(string.match(known, '^[%d.]+')) <= tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
    is_news = 1
  end
end
if is_news == 1 then redis.call('HINCRBY', KEYS[2], ARGV[1], 1) end
return is_news
""")
_GET: Final = Script("return redis.call('HGETALL', KEYS[1])")


class _Word(msgspec.Struct, frozen=True, array_like=True):
    """The last word about a key: when it was said, and whether it is revoked."""

    at: float
    is_revoked: bool


class Revocations:
    """Those of one mesh: what its replicas have said, by what a key is told as."""

    def __init__(self, store: Store, entrance: Entrance) -> None:
        self._store = store
        self._entrance = entrance
        self._words: dict[str, _Word] = {}
        self._owed: set[str] = set()
        self._putting: set[asyncio.Task[None]] = set()
        entrance.on_keys = self._on_keys

    async def look(self) -> None:
        """Learn what others have said, and say what they have not heard. Raises `Away`."""
        key = self._store.key(WHAT)
        flat: list[bytes] = await self._store.do(_GET, [key], [])
        said = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        heard = set()
        for name, value in said.items():
            word = self._opened(value, name)
            if word is not None:
                heard.add(name)
            known = self._words.get(name)
            if word is not None and (known is None or word.at > known.at):
                self._words[name] = word
        # A store that was away may have forgotten what it was told, and what was sealed with a key that is gone nobody can read.
        self._owed |= self._words.keys() - heard
        self._apply()
        await self._put()

    async def aclose(self) -> None:
        """Have said what was to be said, as far as the store is there."""
        if self._putting:
            await asyncio.wait(self._putting)

    def _on_keys(self, removed: frozenset[bytes], added: frozenset[bytes]) -> None:
        """An edit of this replica's file has taken keys out, and put keys in."""
        for digests, is_revoked in ((removed, True), (added, False)):
            for name in map(told_as, digests):
                known = self._words.get(name)
                if is_revoked or known is not None:
                    at = max(time.time(), 0.0 if known is None else known.at + _TICK)
                    self._words[name] = _Word(at, is_revoked)
                    self._owed.add(name)
        self._apply()
        if self._owed:
            task = asyncio.ensure_future(self._put_soon())
            self._putting.add(task)
            task.add_done_callback(self._putting.discard)

    def _apply(self) -> None:
        self._entrance.revoke(frozenset(name for name, word in self._words.items() if word.is_revoked))

    async def _put_soon(self) -> None:
        # Otherwise when the store is back.
        with contextlib.suppress(Away):
            await self._put()

    async def _put(self) -> None:
        owed: Mapping[str, _Word] = {name: self._words[name] for name in self._owed}
        if not owed:
            return
        args: list[str | bytes | float] = [WHAT]
        for name, word in owed.items():
            args += [name, f"{word.at:.6f}", self._store.seal(msgspec.msgpack.encode(word), self._place(name))]
        await self._store.do(_PUT, [self._store.key(WHAT), self._store.key("versions")], args)
        self._owed -= {name for name, word in owed.items() if self._words[name] is word}

    def _opened(self, value: bytes, name: str) -> _Word | None:
        text = self._store.open(value.partition(b" ")[2], self._place(name))
        return None if text is None else msgspec.msgpack.decode(text, type=_Word)

    def _place(self, name: str) -> str:
        return self._store.key(WHAT, name)
