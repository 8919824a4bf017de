"""`Roll`: knows replicas by greeting them, from a list of addresses. A `Presence`. Place: cluster.

Each greets the addresses that it was given once a second, over a connection that is kept, and is told what whoever listens there is called. A greeting says where the greeter listens, and who did not know it greets it back before
it answers: so a pair knows of each other if one of them has the address of the other, and nobody is believed to be where he was not reached. A name in the list stands for whatever it resolves to at the time.
Who refuses a connection is gone at once, and who does not answer after `PATIENCE`.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import structlog

from meshproxy.cluster.envelope import FIELD, Envelopes
from meshproxy.cluster.presence import Address
from meshproxy.http.client import ConnectFailed, HttpClient, TransportError, TransportTimeout
from meshproxy.http.stream import Scope
from meshproxy.wire.codec import JsonError, dumps, loads

__all__ = ["PATH", "Roll"]

log = structlog.get_logger(__name__)

PATH: Final = "/cluster/greeting"
EVERY: Final = 1.0
"""Seconds between two greetings."""
PATIENCE: Final = 4.0
"""Seconds after which a replica is gone that does not answer: a machine that stands still that long is as good as none to a caller who waits."""
_ANSWER: Final = 2.0
"""Seconds for one answer."""
_LOOK_UP: Final = 1.0
"""Seconds in which a replica that nobody knew is found, or is not there."""
_AGAIN: Final = 0.25
"""Seconds for which it is believed that one is not there: names can be made up."""
_MOST: Final = 1024
"""Bytes of a greeting."""


class _Seen(NamedTuple):
    address: Address
    at: float


class Roll:
    """See the module, and `Presence`.

    Args:
        own: the name of this replica.
        peers: the addresses of others, as they are written.
        told: what a greeting says of where this one listens: a host, or None for where the greeting comes from, and a port.
        tls: what connections begin with.
        envelopes: what greetings go in. They are of a key that nothing else goes by, so that no client's request can be one.

    Attributes:
        on_gone: see `Presence`.
        more: gives the addresses of others that somebody else knows.
    """

    def __init__(
        self,
        own: str,
        peers: Iterable[Address],
        told: tuple[str | None, int],
        tls: Callable[[], ssl.SSLContext],
        envelopes: Envelopes,
    ) -> None:
        self.on_gone: Callable[[str], None] = lambda _: None
        self.more: Callable[[], Iterable[Address]] = tuple
        self._own = own
        self._peers = tuple(peers)
        self._told = told
        self._tls = tls
        self._envelopes = envelopes
        self._seen: dict[str, _Seen] = {}
        self._clients: dict[Address, HttpClient] = {}
        self._ours: set[Address] = set()
        self._silent: dict[tuple[str, Address], str] = {}
        self._meeting: set[Address] = set()
        self._hanging: set[Address] = set()
        self._apart: dict[Address, asyncio.Task[None]] = {}
        self._round: asyncio.Task[None] | None = None
        self._rounded = 0.0
        self._running: asyncio.Task[None] | None = None

    # --- a `Presence`

    def known(self) -> Mapping[str, Address]:
        """See `Presence`."""
        return {name: seen.address for name, seen in self._seen.items()}

    async def find(self, name: str) -> Address | None:
        """See `Presence`."""
        loop = asyncio.get_running_loop()
        if name not in self._seen and (self._round is not None or loop.time() - self._rounded >= _AGAIN):
            await asyncio.wait({self._go_round()}, timeout=_LOOK_UP)
        seen = self._seen.get(name)
        return None if seen is None else seen.address

    async def start(self) -> None:
        """See `Presence`."""
        await self._go_round()
        self._running = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """See `Presence`. The others notice that nobody listens here any more."""
        for task in (self._running, self._round, *self._apart.values()):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        for client in self._clients.values():
            await client.aclose()

    # --- what others say

    async def greeted(self, scope: Scope, body: bytes) -> bytes | None:
        """The answer to a greeting; None if it is none, or of nobody of us."""
        if self._envelopes.open(scope, body) is None:
            return None
        try:
            name, host, port, is_back = loads(body)
            address = Address(str(host or scope["client"][0]), int(port))
        except (*JsonError, TypeError, ValueError):
            return None
        if not is_back and name != self._own and name not in self._seen:
            self._meeting.add(address)
            try:
                await self._greet(address, is_back=True)
            finally:
                self._meeting.discard(address)
        return dumps(self._own)

    # --- greeting

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self._go_round()
            except Exception:
                log.exception("cluster.greeting_failed", consequence="it is tried again in a second")

    def _go_round(self) -> "asyncio.Task[None]":
        """Greet everybody once. Whoever wants to know meanwhile hears of the same round."""
        if self._round is None:
            self._round = asyncio.create_task(self._greet_all())
        return self._round

    async def _greet_all(self) -> None:
        try:
            addresses = {
                *await self._resolved(),
                *self.more(),
                *(seen.address for seen in self._seen.values()),
            } - self._ours
            for address in addresses & self._hanging:
                self._greet_apart(address)
            await asyncio.gather(*map(self._greet, sorted(addresses - self._hanging)))
            for address in [one for one in self._clients if one not in addresses | self._meeting]:
                await self._clients.pop(address).aclose()
                self._silent.pop(("greet", address), None)
            now = asyncio.get_running_loop().time()
            for name in [name for name, seen in self._seen.items() if now - seen.at > PATIENCE]:
                self._lose(name)
        finally:
            self._round = None
            self._rounded = asyncio.get_running_loop().time()

    def _greet_apart(self, address: Address) -> None:
        """Greet one that has not answered in time the last time: nobody waits for it."""
        if address not in self._apart:
            task = self._apart[address] = asyncio.create_task(self._greet(address))
            task.add_done_callback(lambda _: self._apart.pop(address, None))

    async def _resolved(self) -> set[Address]:
        """What the list stands for now."""
        found = await asyncio.gather(*map(self._look_up, self._peers))
        return {address for addresses in found for address in addresses}

    async def _look_up(self, peer: Address) -> set[Address]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_ANSWER):
                found = await loop.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError) as error:
            self._tell_silence(
                "look up", peer, getattr(error, "strerror", None) or str(error) or "no name server answers"
            )
            return set()
        self._silent.pop(("look up", peer), None)
        return {Address(str(address[0]), int(address[1])) for *_, address in found}

    async def _greet(self, address: Address, *, is_back: bool = False) -> None:
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = HttpClient(
                f"https://{address}/", connect_timeout=_ANSWER, tls=self._tls, max_body=_MOST, is_direct=True
            )
        body = dumps([self._own, *self._told, is_back])
        scope = {"method": "POST", "raw_path": PATH.encode(), "query_string": b"", "scheme": "https", "headers": []}
        _, envelope = self._envelopes.close(scope, body)
        try:
            answer = await client.request("POST", PATH, b"%b: %b\r\n" % (FIELD, envelope), body, timeout=_ANSWER)
            name = str(loads(answer.body)) if answer.status == 200 else ""
        except (TransportError, *JsonError) as error:
            self._tell_silence("greet", address, str(error))
            if isinstance(error, TransportTimeout):
                self._hanging.add(address)
            else:
                self._hanging.discard(address)
            if isinstance(error, ConnectFailed):
                self._lose_at(address)
            return
        self._hanging.discard(address)
        if name:
            self._silent.pop(("greet", address), None)
            self._meet(name, address)
        else:
            self._tell_silence(
                "greet", address, f"it refuses greetings (HTTP {answer.status}); its clock may be wrong, or ours"
            )

    def _meet(self, name: str, address: Address) -> None:
        """One is there. Whoever has several addresses keeps the first, so that nothing that is under way there is disturbed."""
        now = asyncio.get_running_loop().time()
        if name == self._own:
            self._ours.add(address)
            return
        seen = self._seen.get(name)
        if seen is None:
            log.info("cluster.replica_there", replica=name, address=str(address))
            self._lose_at(address)
        self._seen[name] = _Seen(address if seen is None else seen.address, now)

    def _lose_at(self, address: Address) -> None:
        """Nobody is there any more, or somebody else."""
        for name in [name for name, seen in self._seen.items() if seen.address == address]:
            self._lose(name)

    def _lose(self, name: str) -> None:
        log.warning("cluster.replica_gone", replica=name, address=str(self._seen.pop(name).address))
        self.on_gone(name)

    def _tell_silence(self, doing: str, address: Address, reason: str) -> None:
        """Say once that an address cannot be looked up or nobody be greeted there, and why; again when the reason is another."""
        if self._silent.get((doing, address)) != reason:
            self._silent[doing, address] = reason
            log.warning("cluster.peer_silent", address=str(address), reason=reason)
