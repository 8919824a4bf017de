"""`SessionCheck`: whether an upstream refuses a session, or only one of its requests. Place: links, under `streamable`.

A server that has forgotten a session is to answer 404 (basic/transports, "Session Management"). Many answer otherwise: 400, 409, 500, with a message of their own or
with none. What is refused within a session may also be a mistake of the one who asked. So the session is asked for what it has answered before; if that is
refused likewise, everything would be.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from meshproxy.errors import UpstreamError
from meshproxy.http.response import Response
from meshproxy.http.transport_errors import TransportError
from meshproxy.links.refusals import may_be_of_session

__all__ = ["SessionCheck"]

TRUSTED: Final = 1.0
"""Seconds for which a session that was found to be known is not asked about again."""


class SessionCheck:
    """The checks of one session. `ask` sends a request of the mesh's own, by its method, and returns the response, or raises as sending does."""

    def __init__(self, ask: Callable[[str], Awaitable[Response]]) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._checking: asyncio.Task[bool] | None = None
        self._known_until = 0.0

    async def is_refused(self, capabilities: Mapping[str, Any]) -> bool:
        """Whether the upstream, which can do what `capabilities` say, refuses whatever is asked in this session. All who ask together share one check."""
        if self._loop.time() < self._known_until:
            return False
        if self._checking is None or self._checking.done():
            # What it has listed before it lists again; not every server knows of pings.
            method = "tools/list" if isinstance(capabilities.get("tools"), Mapping) else "ping"
            self._checking = self._loop.create_task(self._check(method))
        return await asyncio.shield(self._checking)

    async def aclose(self) -> None:
        """Ask no more."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait([self._checking])

    async def _check(self, method: str) -> bool:
        try:
            response = await self._ask(method)
        except (TransportError, UpstreamError):
            # Nobody is there to know it or not.
            return False
        response.release()
        if may_be_of_session(response):
            return True
        self._known_until = self._loop.time() + TRUSTED
        return False
