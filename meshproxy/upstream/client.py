"""`ProxyClient`: one way to one upstream, and a connection of its own when it is entered. `StatefulProxyClient`: one for each session.

async with ProxyClient("https://docs.example.com/mcp") as client:
    tools = await client.list(Kind.TOOL)
    result = await client.call_tool("search", {"query": "proxy"})
"""

import importlib.metadata
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from meshproxy.catalog.component import decoded
from meshproxy.errors import METHOD_NOT_FOUND, RpcError, UpstreamUnavailable
from meshproxy.kinds import Kind
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.links.listing import list_kind
from meshproxy.links.target import endpoint_of
from meshproxy.relay.answerers import (
    elicitation_answerer,
    log_hearer,
    progress_hearer,
    roots_answerer,
    sampling_answerer,
)
from meshproxy.relay.downstream import Downstream
from meshproxy.relay.handlers import Handlers
from meshproxy.wire.protocol import Era

CLIENT: Final[dict[str, Any]] = {"name": "meshproxy", "version": importlib.metadata.version("meshproxy")}
"""What the mesh calls itself to upstreams and, by default, to clients."""


class ProxyClient:
    """One way to one upstream.

    `target` is a URL (of the 2024-11-05 transport if its path has `/sse`), a `Command`, a `Path` to a .py or .js file, an SDK server in this process
    (`mcp.server.MCPServer` or the low-level one), `{"mcpServers": {...}}` with one server, or an `Endpoint`. What upstreams ask and tell
    is for `handlers`; each can be given by itself, too, also in the shape that FastMCP's clients have (`meshproxy.relay.answerers`).

    Attributes:
        on_session_ended: told how many seconds a session of the legacy era has lasted, which the modern era has none of; None where nobody wants to know.

    Raises:
        TypeError, ValueError, ConfigError: the target is nothing that a client can be made for, or a handler no handler.
    """

    def __init__(
        self,
        target: Any,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        handlers: Handlers | None = None,
        timeout: float | None = 30.0,
        roots: Any = None,
        sampling_handler: Callable[..., Any] | None = None,
        elicitation_handler: Callable[..., Any] | None = None,
        log_handler: Callable[..., Any] | None = None,
        progress_handler: Callable[..., Any] | None = None,
    ) -> None:
        self.endpoint = endpoint_of(target, name, headers)
        self.name = name or self.endpoint.name
        known = handlers or Handlers()
        self.handlers = Handlers(
            roots=known.roots if roots is None else roots_answerer(roots),
            sampling=known.sampling if sampling_handler is None else sampling_answerer(sampling_handler),
            elicitation=known.elicitation if elicitation_handler is None else elicitation_answerer(elicitation_handler),
            log=known.log if log_handler is None else log_hearer(log_handler),
            progress=known.progress if progress_handler is None else progress_hearer(progress_handler),
        )
        self.timeout = timeout
        self.on_session_ended: Callable[[float], None] | None = None
        self._link: Link | None = None

    def new(self) -> Self:
        """Another client for the same target, not entered."""
        return type(self)(self.endpoint, name=self.name, handlers=self.handlers, timeout=self.timeout)

    async def connect(
        self,
        listener: Listener,
        capabilities: dict[str, Any],
        timeout: float | None = None,
        era: Era | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Link:
        """Open a link that the caller owns, declaring `capabilities`; see `Endpoint.connect`. By `headers` somebody else than the mesh shows himself.

        Raises:
            UpstreamUnavailable: it cannot be opened.
        """
        how: dict[str, Any] = {
            "client": CLIENT,
            "capabilities": capabilities,
            "listener": listener,
            "timeout": self.timeout if timeout is None else timeout,
            "era": era,
        }
        link = await (self.endpoint.connect(**how) if headers is None else self.endpoint.connect_as(headers, **how))
        if self.on_session_ended is not None and link.era is Era.LEGACY:
            link.on_end = partial(self._session_ended, self.on_session_ended, time.monotonic())
        return link

    @staticmethod
    def _session_ended(told: Callable[[float], None], since: float) -> None:
        told(time.monotonic() - since)

    async def __aenter__(self) -> Self:
        self._link = await self.connect(_Deaf(), {})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()
        await self.endpoint.aclose()

    @property
    def link(self) -> Link:
        """The connection of an entered client."""
        if self._link is None:
            raise UpstreamUnavailable(self.name, "the client is not entered: use 'async with'")
        return self._link

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Any request; the result is decoded. Errors as `Link.request`."""
        return decoded(await self.link.request(method, dict(params or {})))

    async def list(self, kind: Kind) -> tuple[Mapping[str, Any], ...]:
        """The definitions of one kind, all pages. Errors as `Link.request`."""
        return (await list_kind(self.link, kind, self.timeout)).definitions

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The result of `tools/call`."""
        return await self.request("tools/call", {"name": name, "arguments": dict(arguments or {})})

    async def read_resource(self, uri: str) -> dict[str, Any]:
        """The result of `resources/read`."""
        return await self.request("resources/read", {"uri": uri})

    async def get_prompt(self, name: str, arguments: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The result of `prompts/get`."""
        return await self.request("prompts/get", {"name": name, "arguments": dict(arguments or {})})


class StatefulProxyClient(ProxyClient):
    """A client of an upstream that keeps state: each downstream session gets an upstream session of its own, closed with it."""

    def new_stateful(self, downstream: Downstream | None = None) -> Self:
        """A client for one downstream session: a factory for `ProxyProvider`. Being asked for each is what keeps them apart."""
        return self.new()


class _Deaf:
    """The listener of a client that only asks."""

    def on_notification(self, link: Link, method: str, params: dict[str, Any]) -> None:
        """Nobody waits for it."""

    async def on_request(self, link: Link, method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")

    def on_closed(self, link: Link, reason: str) -> None:
        """The next request says so."""
