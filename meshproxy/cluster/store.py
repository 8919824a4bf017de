"""`Store`: what several replicas share, in Redis or Valkey. Place: cluster.

It is connected to in the background, and again when it went away. Nobody waits for it: what is asked while it is away fails at once with `Away`, and whoever asked goes by what is known here. What it holds is
under names that begin with the mesh's own, all in one slot of a cluster, so that a script may use several; what nobody else should read is sealed (`meshproxy.cluster.cipher`).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import structlog

from meshproxy.cluster.cipher import Cipher
from meshproxy.cluster.store_url import StoreUrl

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

__all__ = ["Away", "Script", "Store"]

log = structlog.get_logger(__name__)

PATIENCE: Final = 2.0
"""Seconds that the store has to answer what nobody waits for."""
PAUSES: Final = (0.1, 2.0)
"""Seconds before it is tried again, and the most; each attempt doubles them."""
HEALED: Final = 1.0
"""Seconds for which it has to hold before the pauses are short again."""


class Away(Exception):
    """The store cannot be asked now, or has not answered in time: why, in one line without a secret."""


class Script:
    """What the store does in one step, in Lua."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._registered: dict[int, Any] = {}

    def of(self, client: Any) -> Any:
        """The same as the client library has it, which sends the text only to a server that does not know it yet."""
        found = self._registered.get(id(client))
        if found is None or found.registered_client is not client:
            self._registered = {id(client): client.register_script(self.text)}
            found = self._registered[id(client)]
        return found


class Store:
    """One store, as one replica sees it.

    Args:
        url: where it is.
        mesh: which mesh's it is: those of one name share what those of another do not see.
        cipher: of the keys that the replicas share.

    Attributes:
        is_up: whether it answered last.
        reason: why it does not, in one line; "" while it does.
        since: when that changed last, in seconds since 1970.
        losses: how often it went away.
        on_change: told after it came or went.
    """

    def __init__(self, url: StoreUrl, mesh: str, cipher: Cipher) -> None:
        self.is_up = False
        self.reason = "it has not been reached yet"
        self.since = time.time()
        self.losses = 0
        self.on_change: list[Callable[[], None]] = []
        self._url = url
        self._prefix = f"meshproxy:{{{mesh}}}:"
        self._cipher = cipher
        self._client: Redis | RedisCluster | None = None
        self._open: list[Any] = []
        self._lost = asyncio.Event()
        self._tried = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._has_said = False

    def __repr__(self) -> str:
        return f"<Store {self._url} {'up' if self.is_up else 'away'}>"

    def __str__(self) -> str:
        """Where it is."""
        return str(self._url)

    def status(self) -> dict[str, Any]:
        """How it is, for people."""
        status = {"state": "up" if self.is_up else "away", "since": round(self.since, 3)}
        return status if self.is_up else status | {"reason": self.reason}

    # --- life

    async def start(self, within: float) -> None:
        """Begin to connect, and wait so many seconds for the first attempt to end."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="store")
        try:
            async with asyncio.timeout(within):
                await self._tried.wait()
        except TimeoutError:
            pass

    async def aclose(self) -> None:
        """Give it up. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
        self.is_up = False
        await self._drop()

    # --- what is asked

    def key(self, *parts: str) -> str:
        """The name that something has there."""
        return self._prefix + ":".join(parts)

    def seal(self, value: bytes, key: str) -> bytes:
        """What is to be put under a name, so that nobody but us can read it."""
        return self._cipher.seal(value, key)

    def open(self, sealed: bytes, key: str) -> bytes | None:
        """What one of us has put under a name; None if that was somebody else."""
        return self._cipher.open(sealed, key)

    async def do(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float], within: float = PATIENCE
    ) -> Any:
        """What a script gives.

        Raises:
            Away: the store is not there, or has not answered within so many seconds. Whether it was done is not known.
        """
        client = self._client
        if not self.is_up or client is None:
            raise Away(self.reason)
        return await self._done(client, script, keys, args, within)

    async def _done(
        self, client: Any, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float], within: float
    ) -> Any:
        from redis.exceptions import RedisError  # noqa: PLC0415  # an extra

        try:
            async with asyncio.timeout(within):
                return await script.of(client)(keys=keys, args=args)
        except TimeoutError:
            reason = f"it has not answered within {within:g} s"
            if within >= PATIENCE:
                self._away(client, reason)
            raise Away(reason) from None
        except (RedisError, OSError) as error:
            reason = _reason(error)
            self._away(client, reason)
            raise Away(reason) from None

    # --- the connection

    async def _run(self) -> None:
        """Connect, and connect again whenever it was lost; for ever."""
        pause, longest = PAUSES
        while True:
            self._lost.clear()
            if await self._connected():
                begun = time.monotonic()
                self._tried.set()
                await self._lost.wait()
                if time.monotonic() - begun >= HEALED:
                    pause = PAUSES[0]
            else:
                self._tried.set()
            await self._drop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _connected(self) -> bool:
        # Where it was not before: it takes a second on a busy machine, in which others are served.
        await asyncio.to_thread(import_module, "redis.asyncio")
        try:
            client = self._client = _client_of(self._url, self._open)
            # A server that takes no writing (a follower, a full one) is of no use, and says so here.
            await self._done(client, _PROBE, [self.key("probe")], [], PATIENCE)
        except Away as away:
            self._say(str(away))
            return False
        self.is_up, self.reason, self.since = True, "", time.time()
        if self._has_said:
            self._has_said = False
            log.info("cluster.store_back", store=str(self._url))
        self._tell()
        return True

    def _away(self, client: Any, reason: str) -> None:
        if client is not self._client or not self.is_up:
            return
        self.is_up, self.reason, self.since = False, reason, time.time()
        self.losses += 1
        self._say(reason)
        self._lost.set()
        self._tell()

    def _say(self, reason: str) -> None:
        """Once each time that it is away."""
        self.reason = reason
        if not self._has_said:
            self._has_said = True
            consequence = (
                "each replica goes by its own limits and what it knows, until the store is back; no call waits for it"
            )
            log.warning("cluster.store_away", store=str(self._url), reason=reason, consequence=consequence)

    def _tell(self) -> None:
        for listener in self.on_change:
            listener()

    async def _drop(self) -> None:
        self._client = None
        while self._open:
            client = self._open.pop()
            try:
                async with asyncio.timeout(PATIENCE):
                    await client.aclose()
            except Exception:  # noqa: BLE001  # it is gone; how it takes its leave is of no interest
                log.debug("cluster.store_closed_badly", store=str(self._url))


_PROBE: Final = Script("redis.call('SET', KEYS[1], '1', 'PX', 1000) return 1")


def _client_of(url: StoreUrl, opened: list[Any]) -> Any:
    """A client that does each thing once: what is to be tried again is for us to say. What is to be closed is added to `opened`."""
    from redis.asyncio import Redis, RedisCluster, Sentinel  # noqa: PLC0415  # an extra
    from redis.asyncio.cluster import ClusterNode  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    keys: dict[str, Any] = {
        "username": url.user,
        "password": url.password,
        "socket_connect_timeout": PATIENCE,
        "socket_timeout": None,  # each request has a bound of its own
        "retry": Retry(NoBackoff(), 0),
        "client_name": "meshproxy",
        **({"ssl": True} if url.is_encrypted else {}),
        **dict(url.files),
    }
    [(host, port), *_] = url.hosts
    client: Any
    if url.kind == "sentinel":
        asking = keys | {"socket_timeout": PATIENCE}
        sentinel: Any = Sentinel(url.hosts, sentinel_kwargs=asking, db=url.database, **keys)  # type: ignore[no-untyped-call]
        opened += sentinel.sentinels
        client = sentinel.master_for(url.service)
    elif url.kind == "cluster":
        client = RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in url.hosts], **keys)
    else:
        client = Redis(host=host, port=port, db=url.database, **keys)
    opened.append(client)
    return client


def _reason(error: Exception) -> str:
    """What is in the way, in one line. Not all of what the library says: that may have what was sent in it."""
    kind = type(error).__name__
    said = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, OSError) or kind in _TELLING:
        return said or kind
    return f"it refuses ({said.split(' ', 1)[0].strip(':')})" if said[:1].isupper() and said.isascii() else kind


_TELLING: Final = frozenset({"ConnectionError", "BusyLoadingError", "MasterNotFoundError", "ReadOnlyError"})
