"""A server in the same process as its client: what the SDK's `Client` takes for a transport. Place: serving."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from meshproxy.relay.handler import Handler
from meshproxy.serving.channel import Channel

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

__all__ = ["connect_memory"]


@asynccontextmanager
async def connect_memory(
    handler: Handler,
) -> "AsyncIterator[tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]]":
    """Serve `handler` to one client over memory: `async with Client(connect_memory(server)) as client: ...`.

    Yields the client's ends: a stream to read messages from and one to write them to.
    """
    import anyio  # noqa: PLC0415  # a server of commands and URLs needs neither of them, and the SDK takes a second to import
    from mcp.shared.message import SessionMessage  # noqa: PLC0415
    from mcp_types.jsonrpc import jsonrpc_message_adapter  # noqa: PLC0415

    to_client, client_reads = anyio.create_memory_object_stream[Any](float("inf"))
    client_writes, from_client = anyio.create_memory_object_stream[Any](0)

    def send(data: bytes) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the client has left meanwhile
            to_client.send_nowait(SessionMessage(jsonrpc_message_adapter.validate_json(data)))

    channel = Channel(handler, send)

    async def receive() -> None:
        async for item in from_client:
            channel.received(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode())
        to_client.close()

    receiving = asyncio.ensure_future(receive())
    try:
        yield client_reads, client_writes
    finally:
        receiving.cancel()
        await asyncio.wait({receiving})
        await channel.aclose()
        for stream in (to_client, client_reads, client_writes, from_client):
            stream.close()
