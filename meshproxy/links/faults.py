"""`Faults`: what an upstream does wrong and is forgiven, said in the log once. Place: links.

Each upstream's endpoint has one for as long as it lives, so that a fault in every message, or in every session, is one line.
"""

from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

LIMIT: Final = 20
"""Different faults of one upstream that are said; what has so many is known to be faulty."""


class Faults:
    """The faults of one upstream that have been said."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._said: set[str] = set()

    def say(self, event: str, consequence: str, **facts: Any) -> None:
        """Warn of a fault, and say what came of it, unless that has been said in the same words."""
        words = f"{event} {consequence} {facts}"
        if words in self._said or len(self._said) == LIMIT:
            return
        self._said.add(words)
        if len(self._said) == LIMIT:
            consequence += "; more faults of this upstream are not logged"
        log.warning(event, upstream=self.upstream, **facts, consequence=consequence)
