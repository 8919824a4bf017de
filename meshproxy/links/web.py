"""`WebEndpoint` and `WebLink`: what the two ways over HTTP share: a URL, configured headers, and one pool of connections for all links."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from meshproxy.errors import UpstreamUnavailable
from meshproxy.http.client import HttpClient, encode_headers
from meshproxy.http.credentials import Credentials
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.headers import carried
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.wire.protocol import Era


class WebLink(Link, ABC):
    """A link over HTTP.

    Attributes:
        is_a_clients: whether a client shows itself by it, and not the mesh.
    """

    is_a_clients = False

    @abstractmethod
    async def open(self, remembered: Era | None, wanted: Era | None = None) -> None:
        """Negotiate; see `meshproxy.links.negotiation.negotiate`. Raises `UpstreamUnavailable`."""


class WebEndpoint(Endpoint, ABC):
    """A URL.

    Args:
        name: the upstream's configured name.
        url: of its MCP endpoint.
        headers: sent with every request, and never overridden by a call's, but for those that callers bring themselves.
        connect_timeout: seconds for one connection.
        max_message: bytes of one message.

    Attributes:
        url: as given, or where the upstream has redirected to.
        configured: the lower-case names of the headers that are the same for all.
        own: the others, which go with what the mesh itself asks, by lower-case name.
        brought: the lower-case names of what callers bring.
        credentials: what the upstream is shown besides, and is obtained elsewhere; None for nothing.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        connect_timeout: float = 10.0,
        max_message: int = MAX_MESSAGE,
    ) -> None:
        super().__init__(name)
        self.url = url
        self.max_message = max_message
        self._headers = dict(headers or {})
        self.configured = frozenset(header.lower() for header in self._headers)
        self.own: dict[str, str] = {}
        self.brought: frozenset[str] = frozenset()
        self.credentials: Credentials | None = None
        self._connect_timeout = connect_timeout
        self._given = url
        self._http: HttpClient | None = None
        self._links: set[Link] = set()

    def http(self) -> HttpClient:
        """The pool of connections. Raises `UpstreamUnavailable` if the URL or a header cannot be used."""
        if self._http is None:
            try:
                self._http = HttpClient(
                    self.url,
                    connect_timeout=self._connect_timeout,
                    headers=self._headers,
                    max_body=self.max_message,
                    credentials=self.credentials,
                )
            except ValueError as error:
                raise UpstreamUnavailable(self.name, str(error), is_lasting=True) from None
        return self._http

    async def connect(
        self,
        *,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        listener: Listener,
        timeout: float | None,
        era: Era | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Link:
        if self.credentials is not None:
            await self.credentials.ready()
            self.configured |= self.credentials.names
        link = self._link(listener, client, capabilities, self.shown(headers))
        link.is_a_clients = headers is not None
        self.keep(link)
        return await self._opened(link, timeout, era, is_a_clients=link.is_a_clients)

    @abstractmethod
    def _link(
        self, listener: Listener, client: dict[str, Any], capabilities: dict[str, Any], shown: bytes
    ) -> "WebLink":
        """A link that is not open yet. Raises as `http`."""

    async def connect_as(self, headers: Mapping[str, str], **how: Any) -> Link:
        return await self.connect(**how, headers=headers)

    def let_callers_bring(self, names: Collection[str]) -> None:
        self.brought = frozenset(name.lower() for name in names)
        self.own |= {name.lower(): value for name, value in self._headers.items() if name.lower() in self.brought}
        self._headers = {name: value for name, value in self._headers.items() if name.lower() not in self.brought}
        self.configured -= self.brought

    def bear(self, credentials: Credentials) -> None:
        """Show these too, from the first connection on. Callers cannot bring other ones in their place."""
        self.credentials = credentials
        self.configured |= credentials.names

    def shown(self, headers: Mapping[str, str] | None) -> bytes:
        """The header lines by which somebody shows himself: a caller with `headers`, or the mesh. Raises `UpstreamUnavailable` for what cannot be sent."""
        try:
            return encode_headers(carried(self.own if headers is None else headers, self.configured))
        except ValueError as error:
            raise UpstreamUnavailable(self.name, str(error)) from None

    def move(self, url: str) -> None:
        """Reach the upstream at another URL of the same origin from now on, over links that are open too."""
        self.url = url
        if self._http is not None:
            self._http.move(url)

    def move_back(self) -> None:
        """What it has redirected to leads to nothing any more: begin where the user said."""
        if self.url != self._given:
            self.move(self._given)

    def keep(self, link: Link) -> None:
        """A link that `aclose` closes, unless it is forgotten before."""
        self._links.add(link)

    def forget(self, link: Link) -> None:
        """A link is closed."""
        self._links.discard(link)

    async def aclose(self) -> None:
        await asyncio.gather(*(link.aclose() for link in list(self._links)))
        http, self._http = self._http, None
        if self.credentials is not None:
            await self.credentials.aclose()
        if http is not None:
            await http.aclose()

    def statistics(self) -> dict[str, Any]:
        connections = self._http.statistics() if self._http is not None else {"connections": 0, "idle": 0}
        return {"links": len(self._links), **connections}
