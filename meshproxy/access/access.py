"""`Access`: who may come in, and where: one version, made of one config. `Entrance`: the version that is in force. Place: access.

A credential is looked at when a connection shows it first; what came of it is remembered by its hash, and by the head that it came in. An edit makes another
`Access`, and whatever was remembered was remembered of the old one.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Final

from meshproxy.access.challenge import Refusal
from meshproxy.access.keys import KeyRing
from meshproxy.config.access import AuthConfig
from meshproxy.config.models import MeshConfig
from meshproxy.relay.principal import ANONYMOUS, Principal, Visitor

__all__ = ["Access", "Entrance"]

_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*) *")
"""RFC 6750, 2.1; the scheme's case does not matter (RFC 9110, 11.1)."""


class Access:
    """One version.

    Attributes:
        auth: what it was made of; None where nobody is asked who he is.
        profiles: the names of the profiles that have addresses.
    """

    def __init__(self, auth: AuthConfig | None = None, profiles: frozenset[str] = frozenset()) -> None:
        self.auth = auth
        self.profiles = profiles
        self._keys = KeyRing(auth.keys if auth is not None else ())
        self._visitors: dict[tuple[str, str], Visitor] = {}

    @classmethod
    def of(cls, config: MeshConfig) -> "Access":
        """What a config says."""
        return cls(config.server.auth, frozenset(config.profiles))

    @property
    def asks(self) -> bool:
        """Whether those who come are asked who they are."""
        return self.auth is not None

    def enter(self, shown: Sequence[bytes], query: bytes, profile: str) -> Visitor | Refusal:
        """Who comes in at a profile's address, or why he may not. `shown` are the values of `Authorization`, `query` is the URL's."""
        auth = self.auth
        if auth is None:
            return self._visitor(ANONYMOUS.principal, profile)
        if len(shown) > 1:
            return Refusal(400, "The Authorization header appears more than once", "invalid_request")
        if b"access_token=" in query:
            return Refusal(
                400,
                "A token in the query is not accepted; send it in the header Authorization: Bearer",
                "invalid_request",
            )
        if not shown:
            if auth.anonymous:
                return self._visitor(ANONYMOUS.principal, profile)
            return Refusal(401, "Unauthorized: send a credential in the header Authorization: Bearer")
        match = _BEARER.fullmatch(shown[0])
        if match is None:
            if shown[0][:6].lower() == b"bearer":
                return Refusal(400, "The Authorization header holds no bearer token", "invalid_request")
            return Refusal(401, "Unauthorized: the scheme of Authorization must be Bearer")
        principal = self._keys.find(hashlib.sha256(match[1]).digest())
        if principal is None:
            return Refusal(401, "Unauthorized: this credential is not known here", "invalid_token")
        return self._admitted(principal, profile)

    def _admitted(self, principal: Principal, profile: str) -> Visitor | Refusal:
        """What a principal may do at an address, now that it is known."""
        visitor = self._visitor(principal, profile)
        if visitor.is_over():
            return Refusal(401, "Unauthorized: this credential has expired", "invalid_token")
        if principal.profiles is not None and profile not in principal.profiles:
            # Elsewhere than at its own addresses nothing is there for it.
            return Refusal(404, "Not found")
        if "use" not in principal.rights:
            return Refusal(403, "Forbidden: this credential has no right to use the mesh")
        return visitor

    def renewed(self, visitor: Visitor) -> Visitor | None:
        """A visitor of an earlier version as this one would admit it, with what it saw last; None if it would not."""
        found = self._renewed(visitor)
        if found is not None and found.viewed is None:
            found.viewed, found.view = visitor.viewed, visitor.view
        return found

    def _renewed(self, visitor: Visitor) -> Visitor | None:
        principal = visitor.principal
        if visitor.profile and visitor.profile not in self.profiles:
            return None
        if not principal.is_known:
            return (
                self._visitor(ANONYMOUS.principal, visitor.profile)
                if self.auth is None or self.auth.anonymous
                else None
            )
        if principal.kind != "key" or (now := self._keys.named(principal.name)) is None:
            return None
        found = self._admitted(now, visitor.profile)
        return found if isinstance(found, Visitor) else None

    def _visitor(self, principal: Principal, profile: str) -> Visitor:
        key = (principal.identity, profile)
        visitor = self._visitors.get(key)
        if visitor is None:
            visitor = self._visitors[key] = Visitor(principal, profile)
        return visitor


class Entrance:
    """The version in force. Whoever serves sets it; those who have something that is a visitor's own are told.

    Attributes:
        access: it.
    """

    def __init__(self) -> None:
        self.access = Access()
        self._on_change: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change."""
        self._on_change.append(callback)

    def take(self, config: MeshConfig) -> None:
        """Put what a config says in force."""
        access = Access.of(config)
        if (access.auth, access.profiles) != (self.access.auth, self.access.profiles):
            self.access = access
            for callback in self._on_change:
                callback()
