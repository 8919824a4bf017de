"""`Endpoint`: one upstream's way in. Long-lived; it makes the links, and owns what they share."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from meshproxy.errors import UpstreamUnavailable
from meshproxy.http.credentials import Credentials
from meshproxy.links.faults import Faults
from meshproxy.links.known import Known
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.links.stderr import Stderr
from meshproxy.wire.protocol import Era


class _Opening(Protocol):
    """A link that is not negotiated yet."""

    era: Era

    async def open(self, remembered: Era | None, wanted: Era | None = None) -> None:
        """See `meshproxy.links.negotiation.negotiate`."""
        ...

    async def aclose(self) -> None: ...


_L = TypeVar("_L", bound=_Opening)


class Endpoint(ABC):
    """How one upstream is reached.

    Attributes:
        name: the configured name, for errors.
        faults: says what the upstream is forgiven, once for all links.
        known: what has been found out about it.
        is_process: whether each connection is a process of its own, and so dear.
    """

    is_process: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults = Faults(name)
        self.known = Known()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} era={self.known.era or 'unknown'}>"

    @abstractmethod
    async def connect(
        self,
        *,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        listener: Listener,
        timeout: float | None,
        era: Era | None = None,
    ) -> Link:
        """Open a link, which the caller closes. Cancelling leaves nothing behind.

        Args:
            client: the `clientInfo` to introduce ourselves with.
            capabilities: what to declare: once in the legacy era, with each request whose call names none in the modern one.
            listener: where messages go that belong to no call.
            timeout: seconds for connecting and negotiating together, None for any time.
            era: the one that is to be spoken, where the upstream is known to have both; None to find out, and to remember it.

        Raises:
            EraRefusedError: it does not speak `era`.
            UpstreamUnavailable: with a reason of one line that a user understands.
        """

    async def _opened(self, link: _L, timeout: float | None, era: Era | None, *, is_a_clients: bool = False) -> _L:
        """Negotiate over a link just made, and remember what that ended at; what cannot be opened is closed. Arguments and errors as `connect`."""
        try:
            async with asyncio.timeout(timeout):
                await link.open(self.known.era, era)
        except BaseException as error:
            await link.aclose()
            if era is None and not is_a_clients and isinstance(error, TimeoutError | UpstreamUnavailable):
                self._doubt()
            if isinstance(error, TimeoutError):
                raise UpstreamUnavailable(self.name, f"it did not answer initialize within {timeout:g} s") from None
            raise
        if era is None:
            self.known.era = link.era
        return link

    def _doubt(self) -> None:
        """It could not be connected to: what was known of it may be true no more."""
        self.known.doubt()

    async def connect_as(self, headers: Mapping[str, str], **how: Any) -> Link:
        """As `connect`, for a caller who shows himself by `headers` (lower-case names), where the way has such."""
        return await self.connect(**how)

    def let_callers_bring(self, names: Collection[str]) -> None:  # noqa: B027  # optional by nature: most ways have no headers
        """From the next connection on, HTTP headers of these names are each caller's own, and ours go with what the mesh itself asks."""

    @property
    def kept_stderr(self) -> Stderr | None:
        """What its processes wrote to standard error last; None for what is no program."""
        return None

    def bear(self, credentials: Credentials) -> None:  # noqa: B027  # likewise
        """Show these with every request, from the first connection on."""

    def keep_stderr(self, size: int) -> None:  # noqa: B027  # as above: only programs have such
        """From now on keep so many bytes of what its processes write to standard error."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close what the links share, and links that are still open. Idempotent."""

    @abstractmethod
    def statistics(self) -> dict[str, Any]:
        """What it holds open: process ids, connections. For people, not for decisions."""
