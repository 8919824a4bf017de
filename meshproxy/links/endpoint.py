"""`Endpoint`: one upstream's way in. Long-lived; it makes the links, and owns what they share."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from meshproxy.links.faults import Faults
from meshproxy.links.link import Link, Listener
from meshproxy.wire.protocol import Era


class Endpoint(ABC):
    """How one upstream is reached.

    Attributes:
        name: the configured name, for errors.
        faults: says what the upstream is forgiven, once for all links.
        era: what the last negotiation ended at, so that the next connection need not probe; None if that is not known.
        is_process: whether each connection is a process of its own, and so dear.
    """

    is_process: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults = Faults(name)
        self.era: Era | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} era={self.era or 'unknown'}>"

    @abstractmethod
    async def connect(
        self,
        *,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        listener: Listener,
        timeout: float | None,
    ) -> Link:
        """Open a link, which the caller closes. Cancelling leaves nothing behind.

        Args:
            client: the `clientInfo` to introduce ourselves with.
            capabilities: what to declare: once in the legacy era, with each request whose call names none in the modern one.
            listener: where messages go that belong to no call.
            timeout: seconds for connecting and negotiating together, None for any time.

        Raises:
            UpstreamUnavailable: with a reason of one line that a user understands.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close what the links share, and links that are still open. Idempotent."""

    @abstractmethod
    def statistics(self) -> dict[str, Any]:
        """What it holds open: process ids, connections. For people, not for decisions."""
