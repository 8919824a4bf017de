"""`Refusals`: who was not let in, in the log and the audit log, without letting whoever knocks fill them. Place: serving, beside `doors`."""

import time
from typing import Final

from meshproxy.access.challenge import Refusal
from meshproxy.http.stream import Scope
from meshproxy.observe.decisions import decide

__all__ = ["Refusals"]

PAUSE: Final = 60.0
"""Seconds in which the same refusal at the same address of a client is told once."""
_MOST: Final = 1024
"""Refusals that are remembered as told; with more, some are told again."""


class Refusals:
    """Those of one endpoint."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, int, str], tuple[float, int]] = {}

    def note(self, scope: Scope, profile: str, refusal: Refusal) -> None:
        """A request is refused. Nothing of what it showed is told."""
        client = scope.get("client")
        address = str(client[0]) if client else ""
        key = (address, profile, refusal.status, refusal.message)
        now = time.monotonic()
        since, more = self._told.get(key, (now - PAUSE, 0))
        if now - since < PAUSE:
            self._told[key] = (since, more + 1)
            return
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[key] = (now, 0)
        facts = {"address": address, "profile": profile, "more": more}
        told = {name: value for name, value in facts.items() if value}
        decide("info", "access.refused", outcome="denied", status=refusal.status, reason=refusal.message, **told)
