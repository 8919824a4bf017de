"""Upstreams in this process: servers of the SDK, without a wire. The only module of this room that knows the SDK.

What an in-process server says within a request comes with that request's id, so that each message belongs to its call here.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self, cast

import anyio
import structlog

from meshproxy.links.duplex import CLOSED, DuplexLink
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.faults import Faults
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.wire.codec import dumps, whole
from meshproxy.wire.protocol import Era

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.mcpserver import MCPServer
    from mcp.shared.message import SessionMessage

__all__ = ["MemoryEndpoint", "MemoryLink"]

log = structlog.get_logger(__name__)

SHUTDOWN: Final = 2.0
"""Seconds that a server has to end by itself, and again once it is cancelled; what it does at its end is somebody else's code."""


class MemoryEndpoint(Endpoint):
    """A server object: the SDK's `MCPServer` or its low-level `Server`. Each link is a connection to it, with a lifespan of its own."""

    def __init__(self, name: str, server: "Server[Any] | MCPServer") -> None:
        super().__init__(name)
        # An MCPServer keeps the server that it is made of in a private place; the SDK's own in-memory client takes it from there too.
        self._server = cast("Server[Any]", getattr(cast("Any", server), "_lowlevel_server", server))
        self._links: set[MemoryLink] = set()

    async def connect(
        self,
        *,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        listener: Listener,
        timeout: float | None,
        era: Era | None = None,
    ) -> Link:
        link = MemoryLink(self.faults, self._server, listener, client, capabilities, self._links.discard)
        self._links.add(link)
        return await self._opened(link, timeout, era)

    async def aclose(self) -> None:
        await asyncio.gather(*(link.aclose() for link in list(self._links)))

    def statistics(self) -> dict[str, Any]:
        return {"links": len(self._links)}


class MemoryLink(DuplexLink):
    """One connection. Made by its endpoint."""

    def __init__(
        self,
        faults: Faults,
        server: "Server[Any]",
        listener: Listener,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        on_gone: "Callable[[MemoryLink], None]",
    ) -> None:
        super().__init__(faults, listener, client, capabilities)
        self.tells_calls_apart = True
        from mcp.shared.message import SessionMessage  # noqa: PLC0415 - a mesh without in-process servers never needs the SDK
        from mcp_types import jsonrpc_message_adapter  # noqa: PLC0415

        self._wrap: Callable[[Any], Any] = lambda message: SessionMessage(
            jsonrpc_message_adapter.validate_python(message, by_name=False)
        )
        channel = anyio.create_memory_object_stream[Any](math.inf)
        self._input = channel[0]
        self._task = asyncio.create_task(self._serve(server, channel[1]))
        self._task.add_done_callback(lambda _: on_gone(self))

    async def aclose(self) -> None:
        self._end(CLOSED)
        self._input.close()
        await self._questions.aclose()
        try:
            await asyncio.wait([self._task], timeout=SHUTDOWN)
        finally:
            self._task.cancel()
        await asyncio.wait([self._task], timeout=SHUTDOWN)

    async def _serve(self, server: Any, read: Any) -> None:
        reason = "the server ended"
        try:
            await server.run(read, _Output(self), server.create_initialization_options())
        except Exception as error:
            log.exception("upstream.server_failed", upstream=self.upstream)
            reason = f"the server failed: {type(error).__name__}"
        finally:
            read.close()
            self._input.close()
            self._lost(reason)

    def write(self, message: bytes, request_id: int | None = None) -> None:
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._input.send_nowait(self._wrap(whole(message)))

    def said(self, item: "SessionMessage | Exception") -> None:
        """The server has written a message."""
        if isinstance(item, Exception) or not self.is_open:
            return
        related = getattr(item.metadata, "related_request_id", None)
        call = self.calls.get(related) if type(related) is int else None
        self._requests.received(dumps(item.message.model_dump(by_alias=True, exclude_unset=True)), call)


class _Output:
    """The end of a stream that the server writes to (the SDK's `WriteStream`): each message is sorted at once."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link

    async def send(self, item: Any, /) -> None:
        self._link.said(item)
        # As a full pipe would, let those who read have their turn.
        await asyncio.sleep(0)

    async def aclose(self) -> None:
        """The task of the server tells its end."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None
