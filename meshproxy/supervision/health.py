"""Whether an upstream still answers, and what it does not. Place: supervision, above the links.

A server that answers pings and lists nothing looks alive to whoever only pings it. So it is asked for what clients ask for, the beginning of a listing,
and pinged only to tell which of the two it is.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from meshproxy.errors import RpcError, UpstreamError
from meshproxy.kinds import KINDS
from meshproxy.links.link import Link
from meshproxy.wire.protocol import Era

__all__ = ["answers_pings", "lists"]

PATIENCE: Final = 10.0
"""Seconds for such an answer."""


async def lists(link: Link) -> bool:
    """Whether an upstream lists what it says it has, as far as the first page of one kind tells. One that has nothing to list does."""
    for spec in KINDS.values():
        if isinstance(link.capabilities.get(spec.capability), Mapping):
            try:
                async with asyncio.timeout(PATIENCE):
                    await link.request(spec.list_method, {})
            except (RpcError, UpstreamError, TimeoutError):
                return False
            return True
    return True


async def answers_pings(link: Link) -> bool:
    """Whether it answers at all. The modern era has no ping, and what it is asked instead is what it can do."""
    try:
        async with asyncio.timeout(PATIENCE):
            await link.request("ping" if link.era is Era.LEGACY else "server/discover", {})
    except RpcError:
        return True
    except (UpstreamError, TimeoutError):
        return False
    return True
