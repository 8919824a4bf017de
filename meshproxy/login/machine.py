"""`MachineLogin`: `auth: {type: client_credentials}`, where the mesh gets tokens by itself. Place: login, above `login`.

Source: OAuth 2.1 draft 13, 4.2, and the MCP extension oauth-client-credentials: with a secret, or with an assertion that a private key signs (RFC 7523).
Whom to ask is found out when the upstream refuses the first request.
"""

import contextlib
import math
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec

from meshproxy.cluster.store import Away
from meshproxy.config.login import ClientCredentials, Signing
from meshproxy.errors import UpstreamUnavailable
from meshproxy.login.challenge import Challenge
from meshproxy.login.common import Common
from meshproxy.login.discovery import find_resource, find_server
from meshproxy.login.fetch import Fetch, NotNow
from meshproxy.login.login import Login
from meshproxy.login.metadata import LoginFailed
from meshproxy.login.reach import Reach
from meshproxy.login.tokens import Refused, Signer, obtain
from meshproxy.login.vault import Client, Grant

__all__ = ["MachineLogin", "client_of", "signer_of"]

ASSERTION_LIFE: Final = 300
"""Seconds for which an assertion is good."""


class MachineLogin(Login):
    """The token of one upstream, kept as long as the process lasts: another can be had at any time. Replicas have one in `common`. Arguments as for `PersonLogin`."""

    def __init__(
        self,
        upstream: str,
        url: str,
        auth: ClientCredentials,
        conceal: Callable[[list[str]], None],
        common: Common | None = None,
    ) -> None:
        super().__init__(upstream, conceal)
        self._url = url
        self._auth = auth
        self._fetch = Fetch(Reach([url, *([auth.issuer] if auth.issuer is not None else [])]))
        self._signer = signer_of(auth) if auth.private_key is not None else None
        self._scopes: tuple[str, ...] = auth.scopes
        self._common = common
        self._name = Common.name(f"{upstream}\n{url}\n{auth.client_id}")
        self._token = ""
        self._in_vain: set[tuple[str, ...]] = set()

    async def obtain(self, wanted: Challenge | None) -> None:
        if self._common is None:
            await self._obtain(wanted)
            return
        async with contextlib.AsyncExitStack() as stack:
            with contextlib.suppress(TimeoutError):
                await stack.enter_async_context(self._common.locked(self._name))
            grant = await self._found(self._common)
            wants = {*self._scopes, *(wanted.scope if wanted is not None else ())}
            if grant is not None and grant.access_token != self._token and wants <= {*grant.scopes}:
                self._use(grant)
                return
            grant = await self._obtain(wanted)
            with contextlib.suppress(Away):
                await self._common.push(self._name, msgspec.json.encode(grant), time.time())

    async def _found(self, common: Common) -> Grant | None:
        """What another replica has obtained, if it is still good."""
        try:
            text = (await common.pull(self._name)).text
            grant = None if text is None else msgspec.json.decode(text, type=Grant)
        except (Away, msgspec.MsgspecError):
            return None
        return None if grant is None or (grant.expires or math.inf) <= time.time() else grant

    async def _obtain(self, wanted: Challenge | None) -> Grant:
        auth = self._auth
        try:
            await self._fetch.reach.look()
            resource = await find_resource(self._fetch, self._url, wanted, auth.issuer)
            server = await find_server(self._fetch, resource)
            asked = wanted.scope if wanted is not None and wanted.scope else self._scopes or resource.scopes
            self._scopes = tuple(dict.fromkeys((*self._scopes, *asked)))
            form = {"grant_type": "client_credentials"}
            if self._scopes:
                form["scope"] = " ".join(self._scopes)
            client = client_of(auth, server.methods)
            grant = await obtain(
                self._fetch, server, client, auth.resource or resource.resource, form, signer=self._signer
            )
        except NotNow as error:
            raise UpstreamUnavailable(
                self.upstream, f"no token can be had for it now: {error}", retry_after=error.retry_after
            ) from None
        except (LoginFailed, Refused) as error:
            raise self.refused(f"no token can be had for it: {error}; check auth of this upstream") from None
        self._use(grant)
        return grant

    def _use(self, grant: Grant) -> None:
        self._token = grant.access_token
        self.show({"authorization": f"Bearer {grant.access_token}"}, [grant.access_token])

    async def step_up(self, wanted: Challenge, seen: int | None) -> bool:
        if seen is not None and seen != self.serial:
            return True
        union = tuple(dict.fromkeys((*self._scopes, *wanted.scope)))
        if union == self._scopes or union in self._in_vain:
            # They were asked for, and did not help or were not given: asking again would not either.
            raise self.lacks(
                f"its authorization server does not give the rights that it wants ({' '.join(wanted.scope) or 'not named'}): "
                "have them given to the client, and set auth.scopes"
            )
        self._in_vain.add(union)
        before, self._scopes = self._scopes, union
        try:
            await self.once(lambda: self.obtain(Challenge(wanted.resource_metadata, union)))
        except UpstreamUnavailable:
            self._scopes = before
            raise self.lacks(f"it wants more rights ({' '.join(wanted.scope)}), and no token has them") from None
        return True


def client_of(auth: Signing, methods: tuple[str, ...]) -> Client:
    """The client that the config names, as a server that takes these `methods` is shown it."""
    if auth.private_key is not None:
        method = "private_key_jwt"
    elif auth.client_secret is None:
        method = "none"
    elif "client_secret_basic" not in methods and "client_secret_post" in methods:
        method = "client_secret_post"
    else:
        method = "client_secret_basic"
    return Client(auth.client_id or "", auth.client_secret or "", method)


def signer_of(auth: Signing) -> Signer:
    """Signs who the client is. What is wrong with the key is said when it is first used, as a `LoginFailed`."""

    def sign(client_id: str, audience: str) -> str:
        import jwt  # noqa: PLC0415  # for this alone

        now = int(time.time())
        claims: dict[str, Any] = {"iss": client_id, "sub": client_id, "aud": audience, "jti": uuid.uuid4().hex}
        claims |= {"iat": now, "exp": now + ASSERTION_LIFE}
        headers = {"kid": auth.key_id} if auth.key_id is not None else None
        key = auth.private_key or ""
        try:
            return jwt.encode(claims, key, algorithm=auth.algorithm or _algorithm(key), headers=headers)
        except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
            # Not in its own words, which may hold the key.
            raise LoginFailed(
                "private_key cannot sign: it must be a PEM private key that goes with algorithm"
            ) from None

    return sign


def _algorithm(key: str) -> str:
    """The usual algorithm for a key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    loaded = load_pem_private_key(key.encode(), password=None)
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        return "ES384" if loaded.curve.key_size == 384 else "ES256"
    return "EdDSA" if isinstance(loaded, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else "RS256"
