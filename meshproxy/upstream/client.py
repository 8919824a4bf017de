"""`ProxyClient`: one way to one upstream, and a connection of its own when it is entered. `StatefulProxyClient`: one for each session.

async with ProxyClient("https://docs.example.com/mcp") as client:
    tools = await client.list(Kind.TOOL)
    result = await client.call_tool("search", {"query": "proxy"})
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from meshproxy.catalog.component import decoded
from meshproxy.errors import METHOD_NOT_FOUND, RpcError, UpstreamUnavailable
from meshproxy.kinds import Kind
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.link import Link, Listener
from meshproxy.links.memory import MemoryEndpoint
from meshproxy.links.stdio import StdioEndpoint
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.relay.downstream import Downstream
from meshproxy.relay.handlers import Handlers
from meshproxy.upstream.listing import list_kind
from meshproxy.wire.protocol import Era

CLIENT: Final[dict[str, Any]] = {"name": "meshproxy", "version": importlib.metadata.version("meshproxy")}
"""What the mesh calls itself to upstreams and, by default, to clients."""


@dataclass(frozen=True)
class Command:
    """A program that speaks MCP on its standard input and output."""

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None


class ProxyClient:
    """One way to one upstream.

    `target` is a URL, a `Command`, an `Endpoint`, or an SDK server in this process (`mcp.server.MCPServer` or the low-level one).
    """

    def __init__(
        self,
        target: Any,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        handlers: Handlers | None = None,
        timeout: float | None = 30.0,
    ) -> None:
        self.endpoint = target if isinstance(target, Endpoint) else endpoint_of(target, name, headers)
        self.name = name or self.endpoint.name
        self.handlers = handlers or Handlers()
        self.timeout = timeout
        self._link: Link | None = None

    async def connect(
        self, listener: Listener, capabilities: dict[str, Any], timeout: float | None = None, era: Era | None = None
    ) -> Link:
        """Open a link that the caller owns, declaring `capabilities`; see `Endpoint.connect`. Raises `UpstreamUnavailable`."""
        return await self.endpoint.connect(
            client=CLIENT,
            capabilities=capabilities,
            listener=listener,
            timeout=self.timeout if timeout is None else timeout,
            era=era,
        )

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

    def new_stateful(self, downstream: Downstream) -> ProxyClient:
        """A client for one downstream session: a factory for `ProxyProvider`. Being asked for each is what keeps them apart."""
        return ProxyClient(self.endpoint, name=self.name, handlers=self.handlers, timeout=self.timeout)


def endpoint_of(target: Any, name: str | None = None, headers: Mapping[str, str] | None = None) -> Endpoint:
    """The way in to a target; see `ProxyClient`."""
    if isinstance(target, str):
        return HttpEndpoint(name or target, target, headers=dict(headers or {}))
    if isinstance(target, Command):
        return StdioEndpoint(name or target.command, target.command, tuple(target.args), dict(target.env), target.cwd)
    return MemoryEndpoint(name or getattr(target, "name", None) or "in-process", target)


class _Deaf:
    """The listener of a client that only asks."""

    def on_notification(self, link: Link, method: str, params: dict[str, Any]) -> None:
        """Nobody waits for it."""

    async def on_request(self, link: Link, method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")

    def on_closed(self, link: Link, reason: str) -> None:
        """The next request says so."""
