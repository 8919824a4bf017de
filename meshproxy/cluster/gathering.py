"""`Gathering`: answers for all processes what each can answer for itself alone: `GET /metrics`. Place: cluster.

Each is asked with the request as it came, and so judges the credential that it bears. Who does not answer in time is left out of this reading, and has its series back in the next.
"""

import asyncio
from typing import Any, Final

import structlog

from meshproxy.cluster.envelope import FIELD, target_of
from meshproxy.cluster.neighbours import Neighbours
from meshproxy.cluster.readings import merged
from meshproxy.http.client import TransportError
from meshproxy.http.server_request import Head, Request, Take
from meshproxy.http.stream import Application, Receive, Scope, Send

__all__ = ["Gathering"]

log = structlog.get_logger(__name__)

PATH: Final = "/metrics"
PATIENCE: Final = 5.0
"""Seconds that a neighbour has."""


class Gathering:
    """Stands before `app`, of one of several processes.

    Attributes:
        take: that of the application; one that has none takes nothing whole.
    """

    def __init__(self, app: Application, neighbours: Neighbours) -> None:
        self._inner = app
        self.take: Take = getattr(app, "take", _nothing)
        self._neighbours = neighbours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET":
            await self._inner(scope, receive, send)
            return
        said: list[dict[str, Any]] = []

        async def keep(message: dict[str, Any]) -> None:
            said.append(message)

        await self._inner(scope, receive, keep)
        start = said[0]
        body = b"".join(message.get("body", b"") for message in said[1:])
        if start["status"] == 200:
            body = await self._gathered(scope, body)
        headers = [field for field in start["headers"] if field[0] != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def _gathered(self, scope: Scope, own: bytes) -> bytes:
        names = self._neighbours.names()
        found = await asyncio.gather(*(self._asked(scope, name) for name in names if name != self._neighbours.own))
        bodies = {self._neighbours.own: own, **dict(found)}
        texts = {str(int(name[:3])): bodies[name].decode() for name in names if bodies[name]}
        return merged(texts).encode()

    async def _asked(self, scope: Scope, name: str) -> tuple[str, bytes]:
        """What a neighbour says; nothing if it does not."""
        client = self._neighbours.client(name)
        if client is None:
            return name, b""
        fields, envelope = self._neighbours.envelopes.close(scope, b"")
        lines = b"".join(b"%b: %b\r\n" % field for field in (*fields, (FIELD, envelope)))
        try:
            target = target_of(scope).decode("latin-1")
            response = await client.request("GET", target, lines, timeout=PATIENCE)
        except TransportError as error:
            log.warning("metrics.incomplete", worker=int(name[:3]), reason=str(error))
            return name, b""
        return name, response.body if response.status == 200 else b""


def _nothing(head: Head, body: bytes, request: Request) -> bool:  # noqa: ARG001  # a `Take`
    return False
