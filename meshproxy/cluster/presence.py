"""`Presence`: which replicas there are besides this one, and where each takes what is handed to it. Place: cluster, at its bottom; pure.

A replica is a mesh of several that serve one config behind one address, each on a machine of its own; its workers are one replica. It is called by a name that it has for one run and that begins what it
gives out (`meshproxy.cluster.home`). Whoever knows of replicas, from a list of addresses or from a store, tells it in this form, and nobody else has to know from where.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

__all__ = ["Address", "Presence"]


class Address(NamedTuple):
    """Where a replica takes what others hand to it: a numeric address or a name, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Presence(Protocol):
    """See the module.

    Attributes:
        on_gone: told the name of each replica that is not there any more; what is under way there is lost. Set by whoever hands requests over, before `start`.
    """

    on_gone: Callable[[str], None]

    def known(self) -> Mapping[str, Address]:
        """Those that are there as far as is known now, by their names; this one is not among them. Costs nothing: it asks nobody."""

    async def find(self, name: str) -> Address | None:
        """Where a replica is; None if it is not there. One that is not known is asked for, within a second or two: it may have begun a moment ago. Raises nothing."""

    async def start(self) -> None:
        """Begin to know the others and to be known to them, and return when that was tried once, after a few seconds at most. Raises nothing: who cannot be asked is asked again."""

    async def aclose(self) -> None:
        """Be not there any more, and tell the others where that is possible."""
