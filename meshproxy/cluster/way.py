"""`Way`: how a process of one endpoint is reached by another, and `Others`: who knows the ways. Place: cluster, under `hand_over`."""

from typing import NamedTuple, Protocol

from meshproxy.cluster.envelope import Envelopes
from meshproxy.http.client import HttpClient

__all__ = ["Others", "Way"]


class Way(NamedTuple):
    """A client of where the other process listens for us, and what requests go in."""

    client: HttpClient
    envelopes: Envelopes


class Others(Protocol):
    """The other processes of one endpoint."""

    async def way(self, home: str) -> Way | None:
        """The way to one of them, by its name (`meshproxy.cluster.home`); None if it is not there."""

    def first(self) -> str:
        """Whoever answers what one process alone answers; "" if that is this one."""
