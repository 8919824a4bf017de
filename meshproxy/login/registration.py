"""Who we are to an authorization server: `client_for`. Place: login, under `flow`.

In the order of 2026-07-28 basic/authorization, "Client Registration": what the user has arranged, a metadata document of the user's, a registration made
here and now (RFC 7591). Each belongs to one server, and is never shown to another (SEP-2352).
"""

from typing import Any, Final
from urllib.parse import urlsplit

from meshproxy.config.login import OAuth
from meshproxy.login.fetch import Fetch
from meshproxy.login.metadata import AuthorizationServer, LoginFailed
from meshproxy.login.vault import Client, Record
from meshproxy.observe.spelling import one_line

__all__ = ["client_for"]

_METHODS: Final = ("none", "client_secret_basic", "client_secret_post")
"""How a registered client can show itself; the first that the server takes."""
_SAID: Final = 200
"""Characters of what a server says that are shown."""


async def client_for(
    fetch: Fetch, server: AuthorizationServer, auth: OAuth, record: Record, redirect_uri: str, scopes: tuple[str, ...]
) -> Client:
    """The client as which tokens are asked for.

    Args:
        fetch: asks.
        server: who is asked for tokens.
        auth: what the config says.
        record: what is known of earlier logins.
        redirect_uri: where the browser comes back to.
        scopes: what will be asked for.

    Raises:
        LoginFailed: there is none, and what to configure.
        NotNow: the server cannot be asked now.
    """
    if auth.client_id is not None:
        return Client(
            auth.client_id, auth.client_secret or "", _method(server, has_secret=auth.client_secret is not None)
        )
    # Such a client has no secret, which a server may not take from anybody.
    is_public = not server.methods or "none" in server.methods
    if auth.client_metadata_url is not None and server.takes_metadata_documents and is_public:
        return Client(auth.client_metadata_url, kind="document")
    known = record.grants.get(server.issuer)
    if known is not None and known.client.kind == "registered" and known.client.redirect_uri == redirect_uri:
        return known.client
    if server.registration_endpoint:
        return await _register(fetch, server, redirect_uri, scopes)
    if auth.client_metadata_url is not None:
        raise LoginFailed(
            f"{server.issuer} takes neither metadata documents nor registrations: register a client there with the redirect URI "
            f"{redirect_uri}, and set auth.client_id"
        )
    documents = "auth.client_metadata_url, or " if server.takes_metadata_documents else ""
    raise LoginFailed(
        f"{server.issuer} lets nobody register by himself: set {documents}auth.client_id to a client that you register there with the "
        f"redirect URI {redirect_uri} (auth.redirect_port fixes its port)"
    )


async def _register(fetch: Fetch, server: AuthorizationServer, redirect_uri: str, scopes: tuple[str, ...]) -> Client:
    """Register (RFC 7591, 3)."""
    method = _method(server, has_secret=None)
    # There are servers that refuse who asks for a grant that they have not.
    has_refresh = not server.grants or "refresh_token" in server.grants
    is_local = urlsplit(redirect_uri).hostname in ("127.0.0.1", "localhost", "::1")
    wanted: dict[str, Any] = {
        "client_name": "meshproxy",
        "redirect_uris": [redirect_uri],
        "application_type": "native" if is_local else "web",
        "grant_types": ["authorization_code", "refresh_token"] if has_refresh else ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    if scopes:
        wanted["scope"] = " ".join(scopes)
    reply = await fetch.post_json(server.registration_endpoint, wanted)
    document = reply.document
    if reply.status not in (200, 201):
        code, said, why = document.get("error"), document.get("error_description"), ""
        if code in ("invalid_redirect_uri", "invalid_client_metadata"):
            why = f" ({code}: {one_line(said, _SAID)})" if isinstance(said, str) and said else f" ({code})"
        raise LoginFailed(
            f"{server.issuer} refused to register the mesh with the redirect URI {redirect_uri}: HTTP {reply.status}{why}; "
            "register a client there yourself, and set auth.client_id and auth.redirect_port"
        )
    identifier, secret = document.get("client_id"), document.get("client_secret")
    if not isinstance(identifier, str) or not identifier:
        raise LoginFailed(f"the registration at {server.issuer} brought no client_id; set auth.client_id")
    given = document.get("token_endpoint_auth_method")
    if isinstance(given, str) and given in _METHODS:
        method = given
    elif method == "none" and secret:
        method = "client_secret_basic"  # the default of RFC 7591, 2
    return Client(identifier, secret if isinstance(secret, str) else "", method, redirect_uri, "registered")


def _method(server: AuthorizationServer, *, has_secret: bool | None) -> str:
    """How a client shows itself at the token endpoint; `has_secret` is None for one that is yet to be registered."""
    if has_secret is False:
        return "none"
    usable = [method for method in _METHODS if has_secret is None or method != "none"]
    return next((method for method in usable if method in (server.methods or _METHODS[1:2])), usable[0])
