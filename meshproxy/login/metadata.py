"""Where the documents of a login are, and what they must say. Pure.

Sources: RFC 9728 (protected-resource metadata), RFC 8414 and OpenID Connect Discovery 1.0 (authorization-server metadata), and the revision
2026-07-28 of MCP, basic/authorization.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from meshproxy.errors import MeshError

__all__ = [
    "AuthorizationServer",
    "LoginFailed",
    "Resource",
    "canonical",
    "origin_of",
    "resource_of",
    "resource_places",
    "server_of",
    "server_places",
]

_PORTS: Final = {"http": 80, "https": 443}


class LoginFailed(MeshError):
    """A login cannot be done, for a reason that is not of the moment: in one line without secrets, with what to do."""


class Resource(msgspec.Struct, frozen=True):
    """What a protected server says of itself (RFC 9728, 2).

    Attributes:
        resource: its identifier, as it is to be sent in `resource` (RFC 8707).
        issuers: its authorization servers, the one that it prefers first.
        scopes: `scopes_supported`; none if it does not say.
        is_old: it says nothing, as servers of 2025-03-26 do, and is taken for one.
    """

    resource: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    is_old: bool = False


class AuthorizationServer(msgspec.Struct, frozen=True):
    """What an authorization server says of itself (RFC 8414, 2), as far as it matters here."""

    issuer: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    methods: tuple[str, ...] = ()
    """`token_endpoint_auth_methods_supported`; none if it is absent, which means client_secret_basic."""
    challenge_methods: tuple[str, ...] = ()
    """`code_challenge_methods_supported`; none if it is absent."""
    scopes: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    takes_metadata_documents: bool = False
    """`client_id_metadata_document_supported`."""
    says_iss: bool = False
    """`authorization_response_iss_parameter_supported` (RFC 9207)."""


def canonical(url: str) -> str:
    """The identifier of the server at a URL: lower-case scheme and host, no fragment, no slash at the end (MCP, "Canonical Server URI")."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port and parts.port != _PORTS.get(parts.scheme) else ""
    return urlunsplit((parts.scheme.lower(), host + port, parts.path.rstrip("/"), parts.query, ""))


def origin_of(url: str) -> str:
    """Scheme and authority of a URL, as `canonical` spells them."""
    parts = urlsplit(canonical(url))
    return f"{parts.scheme}://{parts.netloc}"


def resource_places(url: str) -> Iterator[str]:
    """Where the metadata of a protected server may be if it does not say: below its path, then at the root (RFC 9728, 3.1)."""
    parts = urlsplit(canonical(url))
    origin = f"{parts.scheme}://{parts.netloc}"
    if parts.path:
        query = f"?{parts.query}" if parts.query else ""
        yield f"{origin}/.well-known/oauth-protected-resource{parts.path}{query}"
    yield f"{origin}/.well-known/oauth-protected-resource"


def server_places(issuer: str) -> Iterator[str]:
    """Where the metadata of an authorization server may be: as RFC 8414 says, then as OpenID Connect does, with the path before and behind."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    if path:
        yield f"{origin}/.well-known/oauth-authorization-server{path}"
        yield f"{origin}/.well-known/openid-configuration{path}"
        yield f"{origin}{path}/.well-known/openid-configuration"
    else:
        yield f"{origin}/.well-known/oauth-authorization-server"
        yield f"{origin}/.well-known/openid-configuration"


def resource_of(document: Mapping[str, Any], url: str) -> Resource:
    """What a protected server at `url` says of itself.

    Raises:
        LoginFailed: it is the metadata of another server, or names no authorization server.
    """
    resource = document.get("resource")
    if not isinstance(resource, str) or not _holds(resource, url):
        raise LoginFailed(
            f"the protected-resource metadata is of another resource than {canonical(url)}: check the url, or tell whoever runs the server"
        )
    issuers = _texts(document.get("authorization_servers"))
    if not issuers:
        raise LoginFailed("the protected-resource metadata names no authorization server; set auth.issuer")
    return Resource(resource, issuers, _texts(document.get("scopes_supported")))


def server_of(document: Mapping[str, Any], issuer: str) -> AuthorizationServer:
    """What the authorization server `issuer` says of itself.

    Raises:
        LoginFailed: the document is another one's: its `issuer` is not the text that led to it (RFC 8414, 3.3).
    """
    named = document.get("issuer")
    # Many servers write the slash of a URL without a path in one document, and not in the other: as the SDKs take it, it is the same issuer.
    if not isinstance(named, str) or (named != issuer and _without_root(named) != _without_root(issuer)):
        raise LoginFailed(f"the metadata of the authorization server {issuer} names another issuer, so it is not used")
    return AuthorizationServer(
        named,
        _text(document.get("authorization_endpoint")),
        _text(document.get("token_endpoint")),
        _text(document.get("registration_endpoint")),
        _text(document.get("revocation_endpoint")),
        _texts(document.get("token_endpoint_auth_methods_supported")),
        _texts(document.get("code_challenge_methods_supported")),
        _texts(document.get("scopes_supported")),
        _texts(document.get("grant_types_supported")),
        document.get("client_id_metadata_document_supported") is True,
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def _holds(resource: str, url: str) -> bool:
    """Whether a resource is the server at a URL, or holds it: the same origin, and a path that leads to it."""
    try:
        whole, part = urlsplit(canonical(resource)), urlsplit(canonical(url))
    except ValueError:
        return False
    same = (whole.scheme, whole.netloc) == (part.scheme, part.netloc)
    return same and not whole.fragment and f"{part.path}/".startswith(f"{whole.path}/")


def _without_root(issuer: str) -> str:
    """An issuer without the slash that is the whole of its path."""
    try:
        return issuer[:-1] if urlsplit(issuer).path == "/" and issuer.endswith("/") else issuer
    except ValueError:
        return issuer


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str) and item) if isinstance(value, list) else ()
