"""`Ports`: what a mesh listens at, by what it is for: opened, or left by a version of the program before this one. Place: cli, under `serve`."""

from collections.abc import Callable
from socket import socket

from meshproxy.cluster.succession import Succession
from meshproxy.serving.server import listen, listen_shares

__all__ = ["Ports"]

Shares = list[list[socket]]
"""What each worker listens at."""


class Ports:
    """`before` is what the version before has left, None if there was none.

    Attributes:
        sockets: all that listen.
    """

    def __init__(self, before: Succession | None) -> None:
        self.sockets: set[socket] = set()
        self._before = before
        self._shares: dict[str, Shares] = {}

    def shares(self, purpose: str, host: str, port: int, count: int) -> Shares:
        """See `meshproxy.serving.server.listen_shares`. Raises `CannotListen` as that does."""
        purpose = f"{purpose} {host} {port}"
        found = [] if self._before is None else self._before.shares(purpose, count)
        if not found:
            found = listen_shares(host, port, count)
        while len(found) < count:
            # Those that are there are shared already, unless all have one.
            found.append(self._another(found, host))
        return self._kept(purpose, found)

    def whole(self, purpose: str, where: str, open_: Callable[[], list[socket]]) -> list[socket]:
        """What all workers have together."""
        purpose = f"{purpose} {where}"
        found = [] if self._before is None else self._before.shares(purpose, 1)
        return self._kept(purpose, found or [open_()])[0]

    def descriptors(self) -> dict[str, list[list[int]]]:
        """The same as numbers, for a version after this one."""
        return {
            purpose: [[listener.fileno() for listener in share] for share in shares]
            for purpose, shares in self._shares.items()
        }

    def close(self) -> None:
        """Nothing new is taken."""
        for listener in self.sockets:
            listener.close()

    def _another(self, found: Shares, host: str) -> list[socket]:
        is_one = len(found) > 1 and found[0] == found[1]
        return found[0] if is_one else listen(host, found[0][0].getsockname()[1], shared=True)

    def _kept(self, purpose: str, shares: Shares) -> Shares:
        self._shares[purpose] = shares
        self.sockets.update(listener for share in shares for listener in share)
        return shares
