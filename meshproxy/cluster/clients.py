"""`Clients`: the way to each of several others, kept while it is there. Place: cluster, under `neighbours` and `replicas`."""

import asyncio
from collections.abc import Callable

from meshproxy.http.client import HttpClient

__all__ = ["Clients"]


class Clients:
    """HTTP clients by the names of whom they lead to. Names are given once, so that one that is forgotten does not come back."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, HttpClient]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def to(self, name: str, place: str, make: Callable[[], HttpClient]) -> HttpClient:
        """The way to one, made by `make` unless there is one that leads to this place."""
        found = self._found.get(name)
        if found is None or found[0] != place:
            self.forget(name)
            found = self._found[name] = (place, make())
        return found[1]

    def forget(self, name: str) -> None:
        """One is gone: what is under way there is lost."""
        found = self._found.pop(name, None)
        if found is not None:
            task = asyncio.ensure_future(found[1].aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close every connection."""
        for name in list(self._found):
            self.forget(name)
        if self._closing:
            await asyncio.wait(self._closing)
