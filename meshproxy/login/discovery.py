"""Who gives tokens for an upstream: found from what it says when it refuses a request. Place: login, above `fetch`.

Source: 2026-07-28 basic/authorization, "Authorization Server Discovery".
"""

from typing import Final

import msgspec

from meshproxy.login.challenge import Challenge
from meshproxy.login.fetch import Fetch, NotNow, Reply
from meshproxy.login.metadata import (
    AuthorizationServer,
    LoginFailed,
    Resource,
    canonical,
    origin_of,
    resource_of,
    resource_places,
    server_of,
    server_places,
)

__all__ = ["find_resource", "find_server"]


_PLACES: Final = {"authorization": "authorize", "token": "token", "registration": "register"}


async def find_resource(
    fetch: Fetch, url: str, challenge: Challenge | None, issuer: str | None, *, may_be_old: bool = False
) -> Resource:
    """What the protected server at `url` says of itself, where its challenge says, else at the well-known places.

    Args:
        fetch: asks.
        url: of the upstream.
        challenge: what it said when it refused a request; None if it said nothing.
        issuer: the authorization server that the user names, in place of those that the upstream does; None for none.
        may_be_old: take one that says nothing for a server of 2025-03-26, which is its own authorization server.

    Raises:
        LoginFailed: it says nothing that could be used.
        NotNow: it cannot be asked now.
    """
    named = challenge.resource_metadata if challenge is not None else None
    for place in [named] if named is not None else resource_places(url):
        reply = await fetch.get(place)
        if reply.status == 200 and reply.document:
            found = resource_of(reply.document, url)
            return found if issuer is None else Resource(found.resource, (issuer,), found.scopes)
        _refuse_trouble(reply, place)
    if issuer is not None:
        return Resource(canonical(url), (issuer,))
    if named is None and may_be_old:
        return Resource(canonical(url), (origin_of(url),), is_old=True)
    raise LoginFailed(
        "it does not say which authorization server gives tokens for it (no protected-resource metadata); set auth.issuer, "
        "or put a token into headers"
    )


async def find_server(fetch: Fetch, resource: Resource) -> AuthorizationServer:
    """What the authorization server of a resource says of itself, the first that can be asked. Raises as `find_resource`."""
    if resource.is_old:
        return await _old_server(fetch, resource.issuers[0])
    trouble: LoginFailed | NotNow | None = None
    for issuer in resource.issuers:
        try:
            return await _server(fetch, issuer)
        except (LoginFailed, NotNow) as error:
            trouble = trouble or error
    raise trouble or LoginFailed("no authorization server is named")


async def _server(fetch: Fetch, issuer: str) -> AuthorizationServer:
    fetch.check(issuer)
    for place in server_places(issuer):
        reply = await fetch.get(place)
        if reply.status == 200 and reply.document:
            server = server_of(reply.document, issuer)
            if not server.token_endpoint:
                raise LoginFailed(f"the authorization server {issuer} names no token endpoint")
            for endpoint in (server.authorization_endpoint, server.token_endpoint, server.registration_endpoint):
                if endpoint:
                    fetch.check(endpoint)
            return server
        _refuse_trouble(reply, place)
    raise LoginFailed(
        f"the authorization server {issuer} has no metadata at its well-known addresses; check auth.issuer"
    )


async def _old_server(fetch: Fetch, origin: str) -> AuthorizationServer:
    """The authorization server that a server of 2025-03-26 is itself: by its metadata, or else by the places that it must have then.

    Source: 2025-03-26 basic/authorization, 2.3.3. Nobody can promise PKCE there without metadata, and everybody must do it.
    """
    try:
        return await _server(fetch, origin)
    except LoginFailed:
        places = {f"{key}_endpoint": f"{origin}/{name}" for key, name in _PLACES.items()}
        return msgspec.structs.replace(AuthorizationServer(origin, challenge_methods=("S256",)), **places)


def _refuse_trouble(reply: Reply, place: str) -> None:
    """A server that is ill has said nothing: to look elsewhere would be to take its trouble for an answer."""
    if reply.status >= 500 or reply.status == 429:
        raise NotNow(f"{place} answered HTTP {reply.status}", reply.retry_after)
