"""`Doors`: from a request's address and credential to its `Visitor`, or to the refusal that it gets. Place: serving.

Source: basic/authorization; RFC 6750, 3. What a refused request holds is never looked at.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from meshproxy.access.access import Entrance
from meshproxy.access.challenge import Refusal
from meshproxy.http.stream import Scope, Send
from meshproxy.relay.principal import Visitor
from meshproxy.serving.refusals import Refusals
from meshproxy.serving.response import refuse
from meshproxy.wire.codec import dumps

__all__ = ["Doors"]

METADATA: Final = "/.well-known/oauth-protected-resource"
_UNVERIFIED: Final = Refusal(
    503, "The issuer of this token cannot be reached, so that it cannot be verified; try again"
)


class Doors:
    """The addresses of one endpoint.

    Attributes:
        entrance: says who may come in.
    """

    def __init__(self, entrance: Entrance, path: str, public_url: str = "") -> None:
        self.entrance = entrance
        self._public = public_url
        self._refusals = Refusals()
        self._path = base = path.rstrip("/")
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
        access = self.entrance.access
        found = self._found(scope, profile)
        if found is None:
            await access.fetch(_shown(scope["headers"]))
            # The rules may be others by now.
            found = self._found(scope, profile) or _UNVERIFIED
        if isinstance(found, Visitor):
            return found
        self._refusals.note(scope, profile, found)
        extra: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"),)
        if found.status == 503:
            extra += ((b"retry-after", b"10"),)
        metadata = self._url(scope, f"{METADATA}{self._path}{profile and f'/{profile}'}") if access.tokens else ""
        if found.status == 401:
            found = replace(found, scope=access.scope)
        header = found.header(metadata)
        if header is not None:
            extra += ((b"www-authenticate", header.encode()),)
        await refuse(send, found.status, found.message, extra=extra)
        return None

    def may(self, scope: Scope, right: str) -> bool:
        """Whether whoever asks for something that is no MCP may: everybody, where nobody is asked who he is."""
        access = self.entrance.access
        return not access.asks or access.has(_shown(scope["headers"]), right)

    def metadata(self, scope: Scope) -> bytes | None:
        """The protected resource metadata at a path of RFC 9728, 3.1; None where there is none."""
        tokens = self.entrance.access.tokens
        path: str = scope["path"]
        if tokens is None or not path.startswith(METADATA):
            return None
        profile = self.profile_at(path.removeprefix(METADATA) or self._path or "/")
        if profile is None:
            return None
        return dumps(
            {
                "resource": self._resource(scope, profile),
                "authorization_servers": [config.issuer for config in tokens.configs],
                "bearer_methods_supported": ["header"],
                **({"scopes_supported": list(tokens.scopes)} if tokens.scopes else {}),
            }
        )

    def _found(self, scope: Scope, profile: str) -> Visitor | Refusal | None:
        access = self.entrance.access
        if not access.asks:
            return access.enter((), b"", profile)
        # A name that the caller brought decides nothing: a token has to be for what the config names.
        resource = f"{self._public}{self._path}{profile and f'/{profile}'}" if self._public else ""
        shown, certificate = _shown(scope["headers"]), scope.get("client_name")
        return access.enter(shown, scope["query_string"], profile, resource, certificate)

    def _resource(self, scope: Scope, profile: str) -> str:
        """What tokens for an address are for: it, by the URL that clients know."""
        return self._url(scope, f"{self._path}{profile and f'/{profile}'}")

    def _url(self, scope: Scope, path: str) -> str:
        """A URL of the mesh, by what the config calls it, or else by what the client does."""
        if self._public:
            return self._public + path
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        return f"{scope['scheme']}://{host}{path}"


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [value for name, value in headers if name == b"authorization"]
