"""`Strangers`: who came with what is somebody else's. Place: relay.

Each such theft is refused as what does not exist is. Whoever runs the mesh hears of it, once for each of both and what it was.
"""

from typing import Final

from meshproxy.observe.decisions import decide

__all__ = ["Strangers"]

_MOST: Final = 1024
"""Thefts that are remembered as told; with more, some are told again."""


class Strangers:
    """Those of one place where things are handed out."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()

    def note(self, what: str, owner: str, principal: str) -> None:
        """`principal` showed something of `owner`'s (`Principal.identity`), and was refused."""
        theft = (what, owner, principal)
        if theft in self._told:
            return
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told.add(theft)
        decide("warning", "access.not_its_own", outcome="denied", what=what, principal=principal, owner=owner)
