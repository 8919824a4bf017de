"""`Body`: the body of a request that is looked at before it is known who answers it. Place: cluster, at its bottom."""

from typing import Any

from meshproxy.http.stream import Receive

__all__ = ["Body"]


class Body:
    """Reads what `receive` gives, and gives the same again.

    Attributes:
        whole: what was read.
        rest: what there is besides, as ASGI's `receive`.
        is_gone: the client left meanwhile.
    """

    def __init__(self, receive: Receive) -> None:
        self.whole = b""
        self.is_gone = False
        self.rest = receive
        self._is_complete = False
        self._is_given = False

    async def read(self, most: int) -> bool:
        """Read it to its end, and say whether that was done: not if it has more than `most` bytes, or its client leaves."""
        pieces, size = [], 0
        while not (self._is_complete or self.is_gone) and size <= most:
            message = await self.rest()
            if message["type"] == "http.request":
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                self._is_complete = not message.get("more_body", False)
            else:
                self.is_gone = True
        self.whole = b"".join(pieces)
        return self._is_complete and size <= most

    async def receive(self) -> dict[str, Any]:
        """ASGI's: what was read, and then what there is besides."""
        if self.is_gone:
            return {"type": "http.disconnect"}
        if self._is_given:
            return await self.rest()
        self._is_given = True
        return {"type": "http.request", "body": self.whole, "more_body": not self._is_complete}
