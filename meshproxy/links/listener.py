"""`Listener`: where messages go that a link cannot tell the call of. Place: links.

Not compiled: classes of any kind may be derived from it, and no call asks it anything.
"""

from typing import Any, Protocol

from meshproxy.links.link import Link

__all__ = ["Listener"]


class Listener(Protocol):
    """Where messages go that the link cannot tell the call of."""

    def on_notification(self, link: Link, method: str, params: dict[str, Any]) -> None:
        """As `Call.on_notification`, on the upstream's own account."""
        ...

    async def on_request(self, link: Link, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A question whose call is not known: answer it, or raise `RpcError`."""
        ...

    def on_closed(self, link: Link, reason: str) -> None:
        """The connection ended, by the other side or by a fault; told once, and not after `aclose`."""
        ...
