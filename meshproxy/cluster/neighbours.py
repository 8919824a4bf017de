"""`Neighbours`: the other processes of one endpoint, and the way to each. Place: cluster.

They share a directory that is theirs alone, where each listens at a Unix socket that bears its name. So who is there is what is in that directory, and nobody keeps a list.
"""

from pathlib import Path
from typing import Final

from meshproxy.cluster.clients import Clients
from meshproxy.cluster.envelope import Envelopes
from meshproxy.cluster.way import Way
from meshproxy.http.client import HttpClient

__all__ = ["Neighbours"]

CONNECT: Final = 5.0
"""Seconds; a socket on this machine takes a connection at once, or is a dead one's."""
_IDLE: Final = 30.0


class Neighbours:
    """Those in `directory`, seen by the one that is called `own`. Requests to them go in `envelopes`."""

    def __init__(self, directory: Path, own: str, envelopes: Envelopes) -> None:
        self.own = own
        self.envelopes = envelopes
        self._directory = directory
        self._clients = Clients()

    def names(self) -> list[str]:
        """Those of all that are there, ours among them, in order."""
        return sorted({self.own, *(one.name for one in self._directory.iterdir() if not one.name.startswith("."))})

    def first(self) -> str:
        """The first of the others, if it comes before us; "" if we are the first."""
        first = self.names()[0]
        return "" if first == self.own else first

    async def way(self, home: str) -> Way | None:
        """See `Others`."""
        # Where there are replicas, its name comes before that of the worker.
        client = self.client(home.rpartition(".")[2])
        return None if client is None else Way(client, self.envelopes)

    def client(self, name: str) -> HttpClient | None:
        """The way to one of them; None if it is not there."""
        path = self._directory / name
        if not path.exists():
            self._clients.forget(name)
            return None
        place = str(path)
        return self._clients.to(
            name,
            place,
            lambda: HttpClient("http://home/", connect_timeout=CONNECT, idle_timeout=_IDLE, socket_path=place),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._clients.aclose()
