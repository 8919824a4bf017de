"""`Doors`: from a request's address and credential to its `Visitor`, or to the refusal that it gets. Place: serving.

Source: basic/authorization; RFC 6750, 3. What a refused request holds is never looked at.
"""

from collections.abc import Iterable
from typing import Final

import structlog

from meshproxy.access.access import Entrance
from meshproxy.access.challenge import Refusal
from meshproxy.http.stream import Scope, Send
from meshproxy.relay.principal import Visitor
from meshproxy.serving.response import refuse

__all__ = ["Doors", "Strangers"]

log = structlog.get_logger(__name__)

_LOGGED: Final = 1024
"""Strangers that are remembered as logged; with more, some are logged again."""


class Doors:
    """The addresses of one endpoint.

    Attributes:
        entrance: says who may come in.
    """

    def __init__(self, entrance: Entrance, path: str) -> None:
        self.entrance = entrance
        base = path.rstrip("/")
        self._whole = frozenset({base or "/", f"{base}/"})
        self._below = f"{base}/"

    def profile_at(self, path: str) -> str | None:
        """The profile at a path, "" for the whole mesh; None where nothing is."""
        if path in self._whole:
            return ""
        name = path.removeprefix(self._below)
        return name if name != path and name in self.entrance.access.profiles else None

    def at_once(self, scope: Scope) -> Visitor | None:
        """Who comes in, if that is certain now; None leaves it to `enter`."""
        profile = self.profile_at(scope["path"])
        if profile is None:
            return None
        found = self._found(scope, profile)
        return found if isinstance(found, Visitor) else None

    async def enter(self, scope: Scope, profile: str, send: Send) -> Visitor | None:
        """Who comes in; None if nobody may, which is then answered."""
        found = self._found(scope, profile)
        if isinstance(found, Visitor):
            return found
        header = found.header("")
        extra: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"),)
        if header is not None:
            extra += ((b"www-authenticate", header.encode()),)
        await refuse(send, found.status, found.message, extra=extra)
        return None

    def _found(self, scope: Scope, profile: str) -> Visitor | Refusal:
        shown = _shown(scope["headers"]) if self.entrance.access.asks else []
        return self.entrance.access.enter(shown, scope["query_string"], profile)


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [value for name, value in headers if name == b"authorization"]


class Strangers:
    """Who came with what is somebody else's."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str, str]] = set()

    def refuses(self, owner: Visitor, visitor: Visitor, what: str) -> bool:
        """Whether something of `owner`'s is none of `visitor`'s. The log says so, once for each of both and what it is."""
        if owner.is_same(visitor):
            return False
        fact = (what, owner.principal.identity, visitor.principal.identity)
        if fact not in self._logged:
            if len(self._logged) >= _LOGGED:
                self._logged.clear()
            self._logged.add(fact)
            log.warning("access.not_its_own", what=what, principal=fact[2], owner=fact[1])
        return True
