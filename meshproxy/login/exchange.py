"""`Exchange` and `ExchangeLogin`: `auth: {type: token_exchange}`, where each caller's token is exchanged for one that is good at the upstream. Place: login, above `login`.

Source: RFC 8693. The caller's token goes to the authorization server that the upstream names, or the user in its place, and nowhere else; what comes of it is kept as
long as the process lasts, for its principal alone.
"""

import time
from collections.abc import Callable
from typing import Final

from meshproxy.config.login import TokenExchange
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.errors import LoginNeeded, UpstreamUnavailable
from meshproxy.login.challenge import Challenge
from meshproxy.login.discovery import find_resource, find_server
from meshproxy.login.fetch import Fetch, NotNow
from meshproxy.login.login import Login
from meshproxy.login.machine import client_of, signer_of
from meshproxy.login.metadata import AuthorizationServer, LoginFailed, Resource
from meshproxy.login.reach import Reach
from meshproxy.login.tokens import Refused, obtain
from meshproxy.login.vault import Grant

__all__ = ["Exchange", "ExchangeLogin"]

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # the name of a type
KNOWN: Final = 600.0
"""Seconds for which it is known where tokens are exchanged."""
OURS: Final = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type"})
"""Errors that are about the mesh, and not about its caller (RFC 6749, 5.2)."""

Conceal = Callable[[str, list[str]], None]


class Exchange:
    """Where tokens for one upstream are exchanged, and as whom: found once for all callers."""

    def __init__(self, spec: UpstreamSpec, conceal: Conceal) -> None:
        auth = spec.auth
        if not isinstance(auth, TokenExchange):
            raise TypeError("nothing is exchanged for this upstream")
        self.upstream = spec.name
        self._auth = auth
        self._url = spec.address
        self._conceal = conceal
        self._fetch = Fetch(Reach([self._url, *([auth.issuer] if auth.issuer is not None else [])]))
        self._signer = signer_of(auth) if auth.private_key is not None else None
        self._found: tuple[Resource, AuthorizationServer, float] | None = None

    def login(self, key: str) -> "ExchangeLogin":
        """The credentials of one caller; `key` is what his secrets are kept under."""
        return ExchangeLogin(self, lambda texts: self._conceal(key, texts))

    async def token(self, subject: str, wanted: Challenge | None) -> Grant:
        """What a caller's token is exchanged for. Raises `Refused`, `LoginFailed` and `NotNow`."""
        auth = self._auth
        await self._fetch.reach.look()
        resource, server = await self._where(wanted)
        form = {
            "grant_type": GRANT,
            "subject_token": subject,
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
        }
        if auth.audience is not None:
            form["audience"] = auth.audience
        scopes = dict.fromkeys((*auth.scopes, *(wanted.scope if wanted is not None else ())))
        if scopes:
            form["scope"] = " ".join(scopes)
        client = client_of(auth, server.methods)
        identifier = auth.resource or resource.resource
        grant = await obtain(self._fetch, server, client, identifier, form, signer=self._signer)
        if grant.access_token == subject:
            raise LoginFailed(
                f"{server.issuer} gives the caller's own token back, which is for the mesh and must not go on"
            )
        return grant

    async def _where(self, wanted: Challenge | None) -> tuple[Resource, AuthorizationServer]:
        now = time.monotonic()
        if self._found is None or now - self._found[2] > KNOWN:
            resource = await find_resource(self._fetch, self._url, wanted, self._auth.issuer)
            self._found = resource, await find_server(self._fetch, resource), now
        return self._found[0], self._found[1]


class ExchangeLogin(Login):
    """What one caller's token was exchanged for."""

    def __init__(self, exchange: Exchange, conceal: Callable[[list[str]], None]) -> None:
        super().__init__(exchange.upstream, conceal)
        self._exchange = exchange
        self._subject = ""
        self._ends: float | None = None

    def offer(self, shown: str) -> None:
        if shown == self._subject:
            return
        self._subject = shown
        self._conceal([shown])
        if not self.headers:
            # The one before may have been refused.
            self.tell(None)

    async def ready(self) -> None:
        if not self.headers or (self._ends is not None and time.time() >= self._ends):
            await self.once(lambda: self.obtain(None))

    async def obtain(self, wanted: Challenge | None) -> None:
        try:
            grant = await self._exchange.token(self._subject, wanted)
        except NotNow as error:
            reason = f"the caller's token cannot be exchanged now: {error}"
            raise UpstreamUnavailable(self.upstream, reason, retry_after=error.retry_after) from None
        except Refused as error:
            if error.code in OURS:
                raise self._misconfigured(error) from None
            self.show({}, [])
            needed = LoginNeeded(
                self.upstream, f"gets no token for this caller ({error}); log in anew where the token comes from"
            )
            self.tell(needed)
            raise needed from None
        except LoginFailed as error:
            raise self._misconfigured(error) from None
        self._ends = grant.expires
        self.show({"authorization": f"Bearer {grant.access_token}"}, [grant.access_token])

    async def step_up(self, wanted: Challenge, seen: int | None) -> bool:
        if seen is not None and seen != self.serial:
            return True
        scopes = f" ({' '.join(wanted.scope)})" if wanted.scope else ""
        raise self.lacks(f"it wants more rights for this than the exchanged token has{scopes}: set auth.scopes")

    def _misconfigured(self, error: Refused | LoginFailed) -> UpstreamUnavailable:
        return self.refused(f"the caller's token cannot be exchanged: {error}; check auth of this upstream")
