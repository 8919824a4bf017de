"""`Replica`: what makes a mesh one of several that serve one config behind one address: its name, its private address, and who else there is. Place: cli, under `serve`."""

import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from socket import socket
from typing import Final

import structlog

from meshproxy.cli.entry import Failure
from meshproxy.cli.ports import Ports
from meshproxy.cluster.door import Door
from meshproxy.cluster.doorway import Doorway, Served
from meshproxy.cluster.envelope import Envelopes
from meshproxy.cluster.hand_over import HandOver
from meshproxy.cluster.keys import Keys
from meshproxy.cluster.neighbours import Neighbours
from meshproxy.cluster.presence import Address, Presence
from meshproxy.cluster.replicas import Replicas
from meshproxy.cluster.roll import Roll
from meshproxy.config.cluster import ClusterConfig
from meshproxy.config.models import MeshConfig
from meshproxy.http.loopback import resolvable
from meshproxy.http.server import Http1Server
from meshproxy.serving.server import CannotListen

__all__ = ["Replica"]

log = structlog.get_logger(__name__)

LASTS: Final = 30.0
"""Seconds in which a request has to have come from one machine to another, their clocks' difference included."""
_CALLS, _GREETINGS = b"calls", b"greetings"


class Replica:
    """One, from before its workers are forked. `of` makes it.

    Attributes:
        name: what it is called; see `meshproxy.cluster.presence`.
        sockets: what listens at its private address.
    """

    def __init__(self, settings: ClusterConfig, shares: list[list[socket]], name: str) -> None:
        self.name = name or secrets.token_hex(4)
        self.sockets = {listener for share in shares for listener in share}
        self._presence: Presence | None = None
        self._settings = settings
        self._shares = shares
        self._listening = Address(*shares[0][0].getsockname()[:2])
        self._keys = Keys(settings.key)
        self._calls = Envelopes(*self._keys.for_(_CALLS), lasts=LASTS)
        self._greetings = Envelopes(*self._keys.for_(_GREETINGS), lasts=LASTS)

    @classmethod
    def of(cls, config: MeshConfig, ports: Ports, name: str) -> "Replica | None":
        """What a config asks for; None if that is no cluster. `name` is that of the version of the program before; "" for a new one.

        Raises:
            Failure: the private address cannot be had.
        """
        settings = config.cluster
        if settings.listen is None:
            return None
        if sys.platform == "win32":
            raise Failure("cluster: replicas need Linux or macOS", status=2)
        address = _address(settings.listen)
        try:
            shares = ports.shares("cluster", address.host, address.port, config.server.workers)
        except CannotListen as error:
            raise Failure(f"cluster.listen: {error}") from None
        return cls(settings, shares, name)

    def take(self, config: MeshConfig) -> None:
        """Go by the keys of an edit from now on."""
        if config.cluster.key and self._keys.take(config.cluster.key):
            self._calls.keys, self._greetings.keys = self._keys.for_(_CALLS), self._keys.for_(_GREETINGS)
            log.info("cluster.key_replaced", taken=len(config.cluster.key))

    def has_others(self) -> bool:
        """Whether there are other replicas now, as far as is known."""
        return self._presence is not None and bool(self._presence.known())

    @contextlib.asynccontextmanager
    async def joined(
        self,
        app: Served,
        neighbours: Neighbours | None,
        most: int,
        worker: int,
        others: Callable[[], Iterable[Address]] = tuple,
    ) -> AsyncIterator[Replicas]:
        """Take from the other replicas what is this one's, for as long as the block lasts. What is yielded has the ways to them.

        Args:
            app: what answers in this process.
            neighbours: the other workers of this replica, if it has any.
            most: bytes of a request.
            worker: which of the workers this is.
            others: gives the addresses of other replicas that are known besides.
        """
        share = self._shares[worker]
        for listener in self.sockets.difference(share):
            listener.close()
        presence = Roll(self.name, map(_address, self._settings.peers), self.told(), self._keys.client, self._greetings)
        presence.more = others
        self._presence = presence
        replicas = Replicas(self.name, presence, self._keys.client, self._calls, neighbours)
        # What came from another replica goes no further than to a worker of this one.
        behind = app if neighbours is None else HandOver(app, neighbours, most)
        door = Http1Server(Door(Doorway(behind, behind.take, self._calls, most), presence), tls=self._keys.tls)
        await door.start(share)
        try:
            await presence.start()
            log.info("cluster.joined", replica=self.name, address=str(self._listening), known=len(presence.known()))
            yield replicas
        finally:
            await presence.aclose()
            await door.aclose()
            await replicas.aclose()

    def told(self) -> tuple[str | None, int]:
        """What others are told of where this one listens."""
        listening, advertise = self._listening, self._settings.advertise
        if advertise != "auto":
            return _address(advertise)
        # One that listens at every address of its machine is found where it comes from.
        return None if listening.host in ("0.0.0.0", "::") else listening.host, listening.port  # noqa: S104  # compared, not bound


def _address(written: str) -> Address:
    """A host and a port, as the config has them."""
    host, _, port = written.rpartition(":")
    return Address(resolvable(host), int(port))
