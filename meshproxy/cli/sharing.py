"""`Sharing`: what one process of a mesh shares with the others by the store that `cluster.url` names. Place: cli, under `serve`.

The mesh starts and serves without the store. It is connected to in the background, and what goes by it is told when it is there.
"""

import secrets
import socket
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from meshproxy.access.access import Entrance
from meshproxy.access.revocations import WHAT as REVOKED
from meshproxy.access.revocations import Revocations
from meshproxy.cli.entry import Failure
from meshproxy.cli.replicas import Replica
from meshproxy.cluster.cipher import Cipher
from meshproxy.cluster.home import here
from meshproxy.cluster.keys import Keys
from meshproxy.cluster.presence import Address
from meshproxy.cluster.pulse import Pulse
from meshproxy.cluster.store import Store
from meshproxy.cluster.store_url import StoreUrl
from meshproxy.config.models import MeshConfig
from meshproxy.guard.loans import Loans
from meshproxy.login.common import WHAT, Common
from meshproxy.mesh.common_catalogs import WHAT as CATALOGS
from meshproxy.mesh.common_catalogs import CommonCatalogs
from meshproxy.mesh.memory import Memory
from meshproxy.mesh.mesh import Mesh

__all__ = ["Sharing"]

FIRST: Final = 1.0
"""Seconds that a start waits for the store: what it knows is of use from the first moment."""


class Sharing:
    """See the module. `of` makes it, within the event loop; `start` comes before the mesh starts, and `aclose` after it has ended."""

    def __init__(self, config: MeshConfig, url: StoreUrl, replica: Replica | None) -> None:
        self._keys = config.cluster.key
        self._cipher = Cipher(_derived(self._keys))
        self._store = Store(url, config.name, self._cipher)
        name = here() or secrets.token_hex(8)
        self._pulse = Pulse(self._store, name, None if replica is None else _address(replica, url))
        self._catalogs = CommonCatalogs(self._store, _derived(self._keys, b"catalogs")[0])
        self._common = Common(self._store)
        self._revocations: Revocations | None = None
        self._loans = Loans(self._store, name, lambda: self._pulse.count)

    @classmethod
    def of(cls, config: MeshConfig, replica: Replica | None) -> "Sharing | None":
        """What a config asks for; None if that is no store."""
        url = config.cluster.url
        return None if url is None else cls(config, StoreUrl.parse(url), replica)

    @staticmethod
    def need(config: MeshConfig) -> None:
        """Have what a store needs, before the processes of a mesh are forked.

        Raises:
            Failure: it is not installed.
        """
        if config.cluster.url is not None:
            try:
                import_module("redis.asyncio")
            except ImportError:
                remedy = "pip install 'meshproxy[cluster]'"
                raise Failure(f"cluster.url: needs an optional part of meshproxy: {remedy}", status=2) from None

    async def start(self, mesh: Mesh, entrance: Entrance, memory: Memory) -> None:
        """Have a mesh go by it, and who may come in, and what the mesh remembers."""
        memory.common = self._catalogs
        self._pulse.watch(CATALOGS, self._catalogs.look)
        self._revocations = Revocations(self._store, entrance)
        self._pulse.watch(REVOKED, self._revocations.look)
        mesh.lending = self._loans
        mesh.logins.vault.common = self._common
        self._pulse.watch(WHAT, self._common.look)
        await self._store.start(FIRST)
        await self._pulse.start()
        await self._catalogs.fetch((spec.name for spec in mesh.config.enabled), FIRST)
        self._loans.start()

    def take(self, config: MeshConfig) -> None:
        """Go by the keys of an edit from now on."""
        if config.cluster.key and config.cluster.key != self._keys:
            self._keys = config.cluster.key
            self._cipher.take(_derived(self._keys))
            # What is in the store is sealed with the keys before.
            self._catalogs.put_anew()
            self._common.look_anew()
            self._pulse.look_anew()

    def addresses(self) -> Iterable[Address]:
        """Where other replicas are that have told the store so."""
        return self._pulse.addresses

    def status(self) -> Mapping[str, Any]:
        """How the store is, for people."""
        return {"store": self._store.status()}

    def statistics(self) -> Mapping[str, float]:
        """The same, as numbers."""
        return {"store_up": self._store.is_up, "store_losses": self._store.losses, "processes": self._pulse.count}

    async def aclose(self) -> None:
        """Give back what is held, and be not there any more."""
        await self._loans.aclose()
        if self._revocations is not None:
            await self._revocations.aclose()
        await self._catalogs.aclose()
        await self._pulse.aclose()
        await self._store.aclose()


def _derived(keys: tuple[str, ...], purpose: bytes = b"store") -> list[bytes]:
    return Keys(keys).for_(purpose)


def _address(replica: Replica, url: StoreUrl) -> Address:
    """Where a replica is for others: one that listens at every address of its machine is found at the one that it reaches the store from."""
    host, port = replica.told()
    return Address(host or _own_host(*url.hosts[0]), port)


def _own_host(host: str, port: int) -> str:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sock:
            # Nothing is sent: the system says by which way it would be.
            sock.connect(address)
            return str(sock.getsockname()[0])
    except OSError:
        return socket.gethostname()
