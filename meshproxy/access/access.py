"""`Access`: who may come in, and where: one version, made of one config. `Entrance`: the version that is in force. Place: access.

A credential is looked at when a connection shows it first; what came of it is remembered by its hash, and by the head that it came in. An edit makes another
`Access`, and whatever was remembered was remembered of the old one.
"""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from meshproxy.access.challenge import Refusal
from meshproxy.access.keys import KeyRing, told_as
from meshproxy.access.tokens import Tokens
from meshproxy.config.access import AuthConfig
from meshproxy.config.login import TokenExchange
from meshproxy.config.models import MeshConfig
from meshproxy.relay.principal import ANONYMOUS, Principal, Visitor

__all__ = ["Access", "Entrance"]

log = structlog.get_logger(__name__)

_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*) *")
"""RFC 6750, 2.1; the scheme's case does not matter (RFC 9110, 11.1)."""


_MOST: Final = 10_000
"""Visitors that are remembered: keys are few, but each token makes one."""


class Access:
    """One version.

    Attributes:
        auth: what it was made of; None where nobody is asked who he is.
        profiles: the names of the profiles that have addresses.
        tokens: tells whose a token is; None where none is accepted.
        asks_certificates: whether clients are known by certificates.
        revoked: the keys of `auth` that are refused all the same; see `meshproxy.access.revocations`.
    """

    def __init__(
        self,
        auth: AuthConfig | None = None,
        profiles: frozenset[str] = frozenset(),
        tokens: Tokens | None = None,
        *,
        asks_certificates: bool = False,
        revoked: frozenset[str] = frozenset(),
    ) -> None:
        self.auth = auth
        self.revoked = revoked
        self.asks_certificates = asks_certificates
        self.profiles = profiles
        self.tokens = tokens
        self._keys = KeyRing(auth.keys if auth is not None else (), revoked)
        self._certificates: dict[str, Principal] = {}
        self._visitors: OrderedDict[tuple[Principal, str], Visitor] = OrderedDict()

    @classmethod
    def of(cls, config: MeshConfig, before: "Access", revoked: frozenset[str] = frozenset()) -> "Access":
        """What a config says, without the keys that were `revoked`. What is known of issuers that it leaves as they were `before` stays known."""
        tls = config.server.tls
        auth = config.server.auth
        asks_certificates = tls is not None and tls.client_ca is not None
        if auth is None and asks_certificates:
            # Clients are known by their certificates, and by nothing else.
            auth = AuthConfig()
        tokens = before.tokens
        if auth is None or not auth.jwt:
            tokens = None
        elif tokens is None or tokens.configs != auth.jwt:
            tokens = Tokens(auth.jwt, config.source.path.parent if config.source.path else Path(), tokens)
        own = frozenset(map(told_as, digests_of_keys(auth))) & revoked if revoked else frozenset()
        return cls(auth, frozenset(config.profiles), tokens, asks_certificates=asks_certificates, revoked=own)

    @property
    def asks(self) -> bool:
        """Whether those who come are asked who they are."""
        return self.auth is not None

    def enter(
        self, shown: Sequence[bytes], query: bytes, profile: str, resource: str = "", certificate: str | None = None
    ) -> Visitor | Refusal | None:
        """Who comes in at a profile's address, or why he may not; None if that cannot be said before `fetch` was awaited.

        Args:
            shown: the values of `Authorization`.
            query: the URL's.
            profile: that of the address.
            resource: the address as the mesh's metadata names it; "" where there is none.
            certificate: the name in the client's certificate, if it showed one.
        """
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
            if certificate is not None and self.asks_certificates:
                return self._admitted(self._certified(certificate), profile)
            if auth.anonymous:
                return self._visitor(ANONYMOUS.principal, profile)
            return Refusal(401, "Unauthorized: send a credential in the header Authorization: Bearer")
        match = _BEARER.fullmatch(shown[0])
        if match is None:
            if shown[0][:6].lower() == b"bearer":
                return Refusal(400, "The Authorization header holds no bearer token", "invalid_request")
            return Refusal(401, "Unauthorized: the scheme of Authorization must be Bearer")
        token = match[1]
        digest = hashlib.sha256(token).digest()
        principal = self._keys.find(digest)
        if principal is None and self.tokens is not None:
            found = self.tokens.find(token, digest, profile, resource)
            if not isinstance(found, Principal):
                return found
            principal = found
        if principal is None:
            return Refusal(401, "Unauthorized: this credential is not known here", "invalid_token")
        return self._admitted(principal, profile)

    def has(self, shown: Sequence[bytes], right: str) -> bool:
        """Whether what was shown is a credential with a right; `admin` includes `view`."""
        principal = self.holder(shown)
        return principal is not None and principal.has(right)

    def holder(self, shown: Sequence[bytes]) -> Principal | None:
        """Whose credential was shown, whatever it is good for; None if it is nobody's, or `fetch` has to be awaited before that can be said."""
        match = _BEARER.fullmatch(shown[0]) if len(shown) == 1 else None
        if match is None:
            return None
        digest = hashlib.sha256(match[1]).digest()
        found = self._keys.find(digest) or (self.tokens and self.tokens.find(match[1], digest, "", ""))
        return None if not isinstance(found, Principal) or Visitor(found).is_over() else found

    async def fetch(self, shown: Sequence[bytes]) -> None:
        """Fetch what is lacked to say whose a token is."""
        match = _BEARER.fullmatch(shown[0]) if shown else None
        if match is not None and self.tokens is not None:
            await self.tokens.fetch(match[1])

    @property
    def rules(self) -> tuple[object, ...]:
        """What makes one version differ from another."""
        return self.auth, self.profiles, self.asks_certificates, self.revoked

    @property
    def scope(self) -> str:
        """The scopes that every token needs, apart by blanks."""
        return " ".join(self.tokens.scopes) if self.tokens is not None else ""

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
        now: Principal | None
        if principal.kind == "certificate":
            now = self._certified(principal.name) if self.asks_certificates else None
        elif principal.kind == "token":
            now = None if self.tokens is None else self.tokens.renewed(principal)
        else:
            now = self._keys.named(principal.name) if principal.kind == "key" else None
        if now is None:
            return None
        found = self._admitted(now, visitor.profile)
        return found if isinstance(found, Visitor) else None

    def _certified(self, name: str) -> Principal:
        """The principal of a certificate; the handshake has seen that it is its client's."""
        principal = self._certificates.get(name)
        if principal is None:
            if len(self._certificates) >= _MOST:
                self._certificates.clear()
            principal = self._certificates[name] = Principal("certificate", name)
        return principal

    def _visitor(self, principal: Principal, profile: str) -> Visitor:
        key = (principal, profile)
        visitor = self._visitors.get(key)
        if visitor is None:
            visitor = self._visitors[key] = Visitor(principal, profile)
            if len(self._visitors) > _MOST:
                self._visitors.popitem(last=False)
        return visitor


def digests_of_keys(auth: AuthConfig | None) -> frozenset[bytes]:
    """The hashes of the keys that are good by a config."""
    now = time.time()
    keys = auth.keys if auth is not None else ()
    return frozenset(digest for key in keys if key.expires is None or key.expires > now for digest in key.digests)


class Entrance:
    """The version in force. Whoever serves sets it; those who have something that is a visitor's own are told.

    Attributes:
        access: it.
        on_keys: told which keys an edit has taken out and which it has put in, by their hashes, when it is in force.
        must_ask: others than this machine reach the port, so that nobody comes in unasked whatever an edit says.
    """

    def __init__(self) -> None:
        self.must_ask = False
        self.access = Access()
        self.on_keys: Callable[[frozenset[bytes], frozenset[bytes]], None] = lambda _removed, _added: None
        self._revoked: frozenset[str] = frozenset()
        self._config: MeshConfig | None = None
        self._keeps = False
        self._on_change: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change."""
        self._on_change.append(callback)

    def take(self, config: MeshConfig) -> None:
        """Put what a config says in force."""
        before, self._config = self._config, config
        self._renew(config)
        if before is not None:
            had, has = digests_of_keys(before.server.auth), digests_of_keys(config.server.auth)
            if had != has:
                self.on_keys(had - has, has - had)

    def revoke(self, keys: frozenset[str]) -> None:
        """Refuse these keys from now on, whatever the config says, and no others: by what `meshproxy.access.keys.told_as` calls them."""
        if keys != self._revoked:
            self._revoked = keys
            if self._config is not None:
                self._renew(self._config)

    def _renew(self, config: MeshConfig) -> None:
        access = Access.of(config, self.access, self._revoked)
        keeps = any(isinstance(spec.auth, TokenExchange) for spec in config.enabled)
        if access.auth is None and self.must_ask:
            # The port stays where it is until the mesh is started again, be it that the edit moves it to this machine.
            log.warning(
                "access.closed",
                reason="server.auth was removed, and other machines reach the port; start the mesh again",
            )
            access = Access(AuthConfig(), access.profiles)
        if access.tokens is not None:
            access.tokens.keeps = keeps
        if (*access.rules, keeps) != (*self.access.rules, self._keeps):
            # What was remembered of callers holds what they had shown, or not.
            self.access, self._keeps = access, keeps
            for callback in self._on_change:
                callback()

    async def aclose(self) -> None:
        """Give up what is being fetched."""
        if self.access.tokens is not None:
            await self.access.tokens.aclose()
