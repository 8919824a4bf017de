"""`Principal`: who a request comes from. `Visitor`: a principal at one address of the mesh. Place: relay.

A downstream has a visitor, whom the transport knows before it makes anything else of a request. What a principal may see and use is decided above.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ANONYMOUS", "LOCAL", "Principal", "Visitor"]

_NO_CLAIMS: Final[Mapping[str, Any]] = {}


class Principal:
    """Who a request comes from.

    Attributes:
        kind: `key`, `token`, `certificate`, `anonymous` or `local`.
        name: of a key, the subject of a token, the name in a certificate, or the kind.
        identity: what tells it from every other principal, whatever credential it shows; for logs and for what is bound to it.
        groups: those that it is in.
        scopes: what its token is for.
        rights: what it may do here: `use`, `view`, `admin`.
        profiles: the only addresses that it may use; None for all.
        claims: of its token.
        expires: when its credential ends, in seconds since 1970; 0 for never.
        origin: the part of the config that vouches for it; None for what needs none.
        token: what it has shown, where an upstream wants that in exchange for another one; "" otherwise.
    """

    __slots__ = (
        "claims",
        "expires",
        "groups",
        "identity",
        "kind",
        "name",
        "origin",
        "profiles",
        "rights",
        "scopes",
        "token",
    )

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        identity: str = "",
        groups: frozenset[str] = frozenset(),
        scopes: frozenset[str] = frozenset(),
        rights: frozenset[str] = frozenset({"use"}),
        profiles: frozenset[str] | None = None,
        claims: Mapping[str, Any] = _NO_CLAIMS,
        expires: float = 0.0,
        origin: object = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.identity = identity or f"{kind}:{name}"
        self.groups = groups
        self.scopes = scopes
        self.rights = rights
        self.profiles = profiles
        self.claims = claims
        self.expires = expires
        self.origin = origin
        self.token = ""

    def __repr__(self) -> str:
        return f"<Principal {self.identity}>"

    def has(self, right: str) -> bool:
        """Whether it has a right; `admin` includes `view`."""
        return right in self.rights or (right == "view" and "admin" in self.rights)

    @property
    def is_known(self) -> bool:
        """Whether it showed a credential."""
        return self.kind not in ("anonymous", "local")


class Visitor:
    """A principal at one address.

    Attributes:
        principal: who.
        profile: where: the profile at whose address it came in; "" for the whole mesh.
        view: what it may see and use of `viewed`.
        viewed: the snapshot that `view` was made of; None before one was.
    """

    __slots__ = ("principal", "profile", "view", "viewed")

    def __init__(self, principal: Principal, profile: str = "") -> None:
        self.principal = principal
        self.profile = profile
        self.view: Any = None
        self.viewed: object = None

    def __repr__(self) -> str:
        return f"<Visitor {self.principal.identity} at {self.profile!r}>"

    def is_over(self) -> bool:
        """Whether its credential has ended meanwhile."""
        expires = self.principal.expires
        return expires != 0.0 and time.time() >= expires

    def is_same(self, other: "Visitor") -> bool:
        """Whether both are the same principal at the same address, with whatever credentials."""
        return self is other or (self.principal.identity == other.principal.identity and self.profile == other.profile)


ANONYMOUS: Final = Visitor(Principal("anonymous", "anonymous", identity="anonymous"))
"""A client over HTTP whom nobody asked who it is."""
LOCAL: Final = Visitor(Principal("local", "local", identity="local", rights=frozenset({"use", "view", "admin"})))
"""The client that started the mesh, or that is in the same process."""
