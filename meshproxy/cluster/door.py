"""`Door`: the private address of a replica: what the others hand over, and their greetings. Place: cluster, on top of the room.

Connections are those of `meshproxy.cluster.keys`: whoever has no key gets none, and so never comes here.
"""

from meshproxy.cluster.body import Body
from meshproxy.cluster.doorway import Doorway
from meshproxy.cluster.roll import PATH, Roll
from meshproxy.http.server_request import Head, Request
from meshproxy.http.stream import Receive, Scope, Send

__all__ = ["Door"]

_MOST = 1024
"""Bytes of a greeting."""


class Door:
    """`doorway` leads to the application, and `roll` answers greetings."""

    def __init__(self, doorway: Doorway, roll: Roll) -> None:
        self._doorway = doorway
        self._roll = roll

    def take(self, head: Head, body: bytes, request: Request) -> bool:
        """See `meshproxy.http.server_request.Take`."""
        return head.scope["path"] != PATH and self._doorway.take(head, body, request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's. A client's request may have the path of greetings, too: it is in another envelope."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._doorway(scope, receive, send)
            return
        body = Body(receive)
        answer = await self._roll.greeted(scope, body.whole) if await body.read(_MOST) else None
        if answer is None:
            await self._doorway(scope, body.receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
