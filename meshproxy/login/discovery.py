"""Who gives tokens for an upstream: found from what it says when it refuses a request. Place: login, above `fetch`.

Source: 2026-07-28 basic/authorization, "Authorization Server Discovery".
"""

from meshproxy.login.challenge import Challenge
from meshproxy.login.fetch import Fetch, NotNow, Reply
from meshproxy.login.metadata import (
    AuthorizationServer,
    LoginFailed,
    Resource,
    canonical,
    resource_of,
    resource_places,
    server_of,
    server_places,
)

__all__ = ["find_resource", "find_server"]


async def find_resource(fetch: Fetch, url: str, challenge: Challenge | None, issuer: str | None) -> Resource:
    """What the protected server at `url` says of itself, where its challenge says, else at the well-known places.

    Args:
        fetch: asks.
        url: of the upstream.
        challenge: what it said when it refused a request; None if it said nothing.
        issuer: the authorization server that the user names, in place of those that the upstream does; None for none.

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
    raise LoginFailed(
        "it does not say which authorization server gives tokens for it (no protected-resource metadata); set auth.issuer, "
        "or put a token into headers"
    )


async def find_server(fetch: Fetch, resource: Resource) -> AuthorizationServer:
    """What the authorization server of a resource says of itself, the first that can be asked. Raises as `find_resource`."""
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


def _refuse_trouble(reply: Reply, place: str) -> None:
    """A server that is ill has said nothing: to look elsewhere would be to take its trouble for an answer."""
    if reply.status >= 500 or reply.status == 429:
        raise NotNow(f"{place} answered HTTP {reply.status}", reply.retry_after)
