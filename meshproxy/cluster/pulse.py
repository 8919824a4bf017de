"""`Pulse`: which replicas there are, by the store, and what has changed there. Place: cluster, above `store`.

Each process of a replica tells the store a few times a second that it is there, and in the same step is told who else is, and which version everything shared has. So whoever has a new key revoked or a token refreshed
raises a version, and the others look at it within one beat: nothing has to be subscribed to, and whoever was away for a while learns the same way what he has missed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from meshproxy.cluster.presence import Address
from meshproxy.cluster.store import Away, Script, Store
from meshproxy.wire.codec import JsonError, dumps, loads

__all__ = ["BEAT", "LASTS", "Pulse"]

BEAT: Final = 0.25
"""Seconds between two beats."""
LASTS: Final = 3.0
"""Seconds after its last beat for which a replica counts as there."""
_KEPT: Final = 7 * 86_400_000
"""Milliseconds for which versions are kept after the last change: longer than what they are of needs a store that remembers it."""

_BEAT: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
end
redis.call('PEXPIRE', KEYS[1], 10 * ARGV[3])
redis.call('PEXPIRE', KEYS[2], 10 * ARGV[3])
return {redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
""")

Look = Callable[[], Awaitable[None]]
"""Looks at what has changed. Raises `Away` if it could not, and is asked again then."""


class Pulse:
    """The pulse of one process of a replica, called `name`, which takes at `address` what is handed to its replica; None where it takes nothing.

    Attributes:
        count: how many processes there are, this one among them.
        addresses: where the others' replicas are.
    """

    def __init__(self, store: Store, name: str, address: Address | None) -> None:
        self.count = 1
        self.addresses: frozenset[Address] = frozenset()
        self._store = store
        self._name = name
        self._address = address
        self._looks: dict[str, Look] = {}
        self._versions: dict[str, bytes] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._beating: asyncio.Task[None] | None = None
        self._soon = asyncio.Event()
        store.on_change.append(self._on_store)

    def watch(self, what: str, look: Look) -> None:
        """Have `look` awaited whenever somebody else has changed `what`, and when the store has come back, which may have forgotten it."""
        self._looks[what] = look

    def look_anew(self) -> None:
        """Have everything looked at, whether it has changed or not."""
        self._versions = {}
        self._soon.set()

    async def start(self) -> None:
        """Begin to beat. When this returns the first beat is done, unless the store is away. Raises nothing."""
        if self._store.is_up:
            with contextlib.suppress(Away):
                await self._beat()
        self._beating = asyncio.create_task(self._run(), name="pulse")

    async def aclose(self) -> None:
        """Be not there any more, and tell the others where that is possible."""
        tasks = [*self._looking.values(), *([self._beating] if self._beating is not None else [])]
        self._beating = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        with contextlib.suppress(Away):
            await self._told(b"")

    # --- beats

    def _on_store(self) -> None:
        if self._store.is_up:
            # Whatever it says now is news.
            self.look_anew()

    async def _run(self) -> None:
        while True:
            self._soon.clear()
            with contextlib.suppress(Away):
                await self._beat()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), BEAT)

    async def _beat(self) -> None:
        facts = dumps([] if self._address is None else list(self._address))
        there, versions = await self._told(self._store.seal(facts, self._place))
        self._take(_pairs(there))
        found = {name.decode(): version for name, version in _pairs(versions).items()}
        for what, look in self._looks.items():
            version = found.get(what, b"")
            if self._versions.get(what) != version and (what not in self._looking or self._looking[what].done()):
                self._versions[what] = version
                self._looking[what] = asyncio.create_task(self._look(what, look), name=f"look at {what}")

    async def _told(self, facts: bytes) -> tuple[list[bytes], list[bytes]]:
        keys = [self._store.key("here"), self._place, self._store.key("versions")]
        found: tuple[list[bytes], list[bytes]] = await self._store.do(_BEAT, keys, [self._name, facts, LASTS * 1000])
        return found

    @property
    def _place(self) -> str:
        return self._store.key("replicas")

    def _take(self, there: Mapping[bytes, bytes]) -> None:
        count, addresses = 1, set()
        for raw, sealed in there.items():
            name, facts = raw.decode(), self._store.open(sealed, self._place)
            # What another has put there, who is none of us, is not there for us.
            if facts is not None and name != self._name:
                count += 1
                with contextlib.suppress(*JsonError, TypeError):
                    if found := loads(facts):
                        addresses.add(Address(*found))
        self.count, self.addresses = count, frozenset(addresses)

    async def _look(self, what: str, look: Look) -> None:
        try:
            await look()
        except Away:
            # At the next beat again.
            self._versions.pop(what, None)


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
