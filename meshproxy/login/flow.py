"""`Flow`: one login of a person, from the upstream's refusal to the tokens in the vault. Place: login, above `discovery`, `registration` and `tokens`.

Source: 2026-07-28 basic/authorization; OAuth 2.1 draft 13, 4.1 (authorization code with PKCE); RFC 9207 (`iss`); RFC 8252 (native applications).
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from meshproxy.cluster.home import named
from meshproxy.config.login import OAuth
from meshproxy.login.challenge import Challenge, bearer
from meshproxy.login.discovery import find_resource, find_server
from meshproxy.login.fetch import Fetch
from meshproxy.login.metadata import AuthorizationServer, LoginFailed
from meshproxy.login.person import reach_of
from meshproxy.login.registration import client_for
from meshproxy.login.tokens import Refused, obtain
from meshproxy.login.vault import Client, Grant, Record, Vault
from meshproxy.observe.spelling import one_line

__all__ = ["Flow", "probe"]

OFFLINE: Final = "offline_access"
"""The scope by which many servers are asked for a refresh token."""
LASTS: Final = 600.0
"""Seconds that a person has."""


class Flow:
    """One attempt to log in at one upstream.

    Args:
        upstream: its configured name.
        url: of it.
        auth: what the config says.
        vault: where the tokens go.
        redirect_uri: where the browser comes back to.

    Attributes:
        state: what the browser must bring back, once.
    """

    def __init__(self, upstream: str, url: str, auth: OAuth, vault: Vault, redirect_uri: str) -> None:
        self.state = named(secrets.token_urlsafe(32))
        self.fetch = Fetch(reach_of(url, auth))
        self._upstream = upstream
        self._url = url
        self._auth = auth
        self._vault = vault
        self._redirect_uri = redirect_uri
        # 43 characters of [A-Za-z0-9_-], as RFC 7636, 4.1 wants.
        self._verifier = secrets.token_urlsafe(32)
        self._begun: tuple[AuthorizationServer, Client, str, tuple[str, ...], float] | None = None

    async def begin(self) -> str:
        """Find out who gives tokens, and as whom we ask: the URL to which the person is sent.

        Raises:
            LoginFailed: nobody can log in there so.
            NotNow: it cannot be asked now.
        """
        await self._vault.unlock()
        await self.fetch.reach.look()
        challenge = await probe(self.fetch, self._url)
        resource = await find_resource(self.fetch, self._url, challenge, self._auth.issuer, may_be_old=True)
        server = await find_server(self.fetch, resource)
        if not server.authorization_endpoint:
            raise LoginFailed(f"{server.issuer} has no page to log in at; type client_credentials may be meant")
        if "S256" not in server.challenge_methods:
            # What does not say so may ignore it, and then a stolen code is good for whoever has it (MCP, "Authorization Code Protection").
            raise LoginFailed(f"{server.issuer} does not say that it does PKCE with S256, so no login there is safe")
        record = self._vault.read(self._upstream, self._url)
        scopes = self._scopes(challenge, resource.scopes, record, server)
        try:
            client = await client_for(self.fetch, server, self._auth, record, self._redirect_uri, scopes)
        except LoginFailed as error:
            if not resource.is_old:
                raise
            reason = f"it does not say which authorization server gives tokens for it, and as its own it does not work ({error})"
            raise LoginFailed(f"{reason}; set auth.issuer, or put a token into headers") from None
        identifier = self._auth.resource or resource.resource
        # What is known of the server now is what its answer is held to (RFC 9207, 2.4).
        self._begun = (server, client, identifier, scopes, time.monotonic())
        query = {
            "response_type": "code",
            "client_id": client.id,
            "redirect_uri": self._redirect_uri,
            "state": self.state,
            "code_challenge": _digest(self._verifier),
            "code_challenge_method": "S256",
            "resource": identifier,
        }
        if scopes:
            query["scope"] = " ".join(scopes)
        if OFFLINE in scopes:
            query["prompt"] = "consent"  # or OpenID Connect has no such scope (Core, 11)
        parts = urlsplit(server.authorization_endpoint)
        return parts._replace(query="&".join(filter(None, (parts.query, urlencode(query)))), fragment="").geturl()

    async def finish(self, answer: Mapping[str, str]) -> Grant:
        """Take what the browser brought back, and get the tokens for it. It can be done once.

        Raises:
            LoginFailed: it is not the answer to this login, or the person or the server refused.
            NotNow: the server cannot be asked now.
        """
        begun, self._begun = self._begun, None
        if begun is None:
            raise LoginFailed("this login has been answered already; begin anew")
        server, client, resource, scopes, since = begun
        if not secrets.compare_digest(answer.get("state", ""), self.state):
            raise LoginFailed("this is the answer to another login: its state is not ours; begin anew")
        issuer = answer.get("iss")
        # Before anything else in it is looked at: what another server says is not even shown.
        if issuer != server.issuer and (issuer is not None or server.says_iss):
            raise LoginFailed(
                "the answer does not come from the authorization server that was asked, so it is not used"
            )
        if time.monotonic() - since > LASTS:
            raise LoginFailed("it took too long; begin anew")
        if "error" in answer:
            raise LoginFailed(_said(answer))
        code = answer.get("code")
        if not code:
            raise LoginFailed("the answer holds no code; begin anew")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": self._verifier,
        }
        try:
            grant = await obtain(self.fetch, server, client, resource, form)
        except Refused as error:
            raise LoginFailed(str(error)) from None
        if not grant.scopes:
            grant = msgspec.structs.replace(grant, scopes=scopes)
        async with self._vault.locked(self._upstream, self._url):
            record = self._vault.read(self._upstream, self._url)
            await self._vault.write(msgspec.structs.replace(record.with_grant(grant), wanted=()))
        return grant

    def _scopes(
        self, challenge: Challenge | None, supported: tuple[str, ...], record: Record, server: AuthorizationServer
    ) -> tuple[str, ...]:
        """What to ask for: what the upstream wants now, and has wanted since the last login, else what it says that it takes."""
        asked = challenge.scope if challenge is not None and challenge.scope else self._auth.scopes or supported
        scopes = dict.fromkeys((*asked, *self._auth.scopes, *record.wanted))
        if scopes and OFFLINE in server.scopes:
            scopes[OFFLINE] = None
        return tuple(scopes)


async def probe(fetch: Fetch, url: str) -> Challenge | None:
    """What an upstream says when somebody comes without a token; None if it says nothing of one. Raises as `Fetch.get`.

    It is asked for its tools first: some let everybody say hello, and want a token for the rest. Others want a session before a token.
    """
    info = {"name": "meshproxy", "version": "0"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
    for method, params in (("tools/list", {}), ("initialize", hello)):
        message = {"jsonrpc": "2.0", "id": 0, "method": method, "params": params}
        reply = await fetch.post_json(url, message, [("accept", "application/json, text/event-stream")])
        if reply.status in (401, 403):
            return bearer(reply.challenge)
    return None


def answer_of(url: str) -> dict[str, str]:
    """What a URL brings that a browser was sent back to. What is said twice is not taken, since nobody knows which of it is meant."""
    pairs = parse_qsl(urlsplit(url.strip()).query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


def _digest(verifier: str) -> str:
    """RFC 7636, 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _said(answer: Mapping[str, str]) -> str:
    text = answer["error"] + (f" ({answer['error_description']})" if answer.get("error_description") else "")
    return f"the login was refused: {one_line(text, 200)}"
