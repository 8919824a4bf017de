"""`Doorway`: where the neighbours of a process bring what is its own. Place: cluster.

It stands in front of the same application that clients reach, and gives it each request as if that had come from its client. What has no good envelope is not let in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any, Final, Protocol

from meshproxy.cluster.body import Body
from meshproxy.cluster.envelope import Envelopes
from meshproxy.http.server_request import Head, Request, Take
from meshproxy.http.stream import Application, Receive, Scope, Send

__all__ = ["Doorway", "Served", "doorstep"]

_IS_IN: Final = "meshproxy.is_in"
"""In a scope that an envelope was opened for, and which the application would not take at once."""
_BACKLOG: Final = 512


class Served(Protocol):
    """An application, with its `Take`."""

    @property
    def take(self) -> Take: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Doorway:
    """`app` is what is behind it, with its `Take`, and `most` the bytes of a request that it may be given."""

    def __init__(self, app: Application, take: Take, envelopes: Envelopes, most: int) -> None:
        self._app = app
        self._take = take
        self._envelopes = envelopes
        self._most = most

    def take(self, head: Head, body: bytes, request: Request) -> bool:
        """See `meshproxy.http.server_request.Take`."""
        scope = self._envelopes.open(head.scope, body)
        if scope is None:
            return False
        # The head stays as it came: whoever sends the same once more has an envelope that was used.
        request.scope = {**scope, _IS_IN: True}
        return self._take(Head(scope), body, request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if _IS_IN in scope:
            await self._app(scope, receive, send)
            return
        body = Body(receive)
        opened = self._envelopes.open(scope, body.whole) if await body.read(self._most) else None
        if opened is None:
            head: dict[str, Any] = {
                "type": "http.response.start",
                "status": 403,
                "headers": [(b"content-length", b"0")],
            }
            await send(head)
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(opened, body.receive, send)


@contextmanager
def doorstep(path: Path) -> Iterator[socket]:
    """A socket that listens at a path, for this user alone; the path is gone with the block."""
    listener = socket(AF_UNIX, SOCK_STREAM)
    try:
        # Beside its place: neighbours go by who is there, and whoever is there is to be reached.
        made = path.with_name(f".{path.name}")
        listener.bind(str(made))
        made.chmod(0o600)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        made.rename(path)
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)
