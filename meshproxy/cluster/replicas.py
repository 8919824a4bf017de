"""`Replicas`: the other processes of one endpoint that runs on several machines, and the way to each. Place: cluster.

Those on other machines are reached over TCP, at the private address that `Presence` tells, and prove each connection by the key that all share (`meshproxy.cluster.keys`); those on this one, as its workers, as `Neighbours` are.
"""

import ssl
from collections.abc import Callable
from typing import Final

from meshproxy.cluster.clients import Clients
from meshproxy.cluster.envelope import Envelopes
from meshproxy.cluster.neighbours import Neighbours
from meshproxy.cluster.presence import Presence
from meshproxy.cluster.way import Way
from meshproxy.http.client import HttpClient

__all__ = ["CONNECT", "IDLE", "Replicas"]

CONNECT: Final = 1.0
"""Seconds until a machine that does not answer is as good as gone: those of a client whose session is there."""
IDLE: Final = 30.0


class Replicas:
    """Those that `presence` knows, seen by the one that is called `own`.

    Args:
        own: the name of this replica.
        presence: who is there.
        tls: what connections begin with.
        envelopes: what requests go in.
        neighbours: the other workers of this replica, if it has any.
    """

    def __init__(
        self,
        own: str,
        presence: Presence,
        tls: Callable[[], ssl.SSLContext],
        envelopes: Envelopes,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._own = own
        self._presence = presence
        self._tls = tls
        self._envelopes = envelopes
        self._neighbours = neighbours
        self._clients = Clients()
        presence.on_gone = self._clients.forget

    def first(self) -> str:
        """See `Others`: each replica is one mesh, and its first worker speaks for it."""
        first = "" if self._neighbours is None else self._neighbours.first()
        return f"{self._own}.{first}" if first else ""

    async def way(self, home: str) -> Way | None:
        """See `Others`."""
        replica = home.partition(".")[0]
        if replica == self._own:
            return None if self._neighbours is None else await self._neighbours.way(home)
        address = await self._presence.find(replica)
        if address is None:
            self._clients.forget(replica)
            return None
        url = f"https://{address}/"
        client = self._clients.to(
            replica,
            url,
            lambda: HttpClient(url, connect_timeout=CONNECT, idle_timeout=IDLE, tls=self._tls, is_direct=True),
        )
        return Way(client, self._envelopes)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._clients.aclose()
