"""`Tokens`: access tokens of identity providers. The mesh is a resource server of OAuth 2.1. Place: access.

Source: OAuth 2.1 draft 13, 5.2; RFC 9068 and RFC 7519 for what a token says; RFC 8707 for whom it is for; RFC 8725 for what may go wrong. An algorithm is taken
from the config and never from the token, and a key is used with algorithms of its own type alone.
"""

import json
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from meshproxy.access.challenge import Refusal
from meshproxy.access.issuer import Issuer
from meshproxy.access.scopes import covers, widened
from meshproxy.config.access import JwtConfig
from meshproxy.relay.principal import Principal

__all__ = ["Tokens"]

_MOST: Final = 10_000
"""Tokens that are remembered, by their hashes, so that a call costs no signature."""
_LARGEST: Final = 16 * 1024
_VERIFIED: Final = ("audience", "jwks", "algorithms", "subject")
"""What the verification of a token went by; the rest of an entry is about what a token that was verified is good for."""
_BAD: Final = Refusal(401, "Unauthorized: this credential is not known here", "invalid_token")


class Tokens:
    """The tokens of some issuers.

    Args:
        configs: what the file says of them.
        directory: where its relative paths lead from.
        before: what was in force until now; what it knows of the same issuers stays known.

    Attributes:
        configs: what the file says of them.
        scopes: those that every token needs, for challenges.
        keeps: whether some upstream wants what callers show in exchange for a token of its own, so that it is kept with its principal.
    """

    def __init__(self, configs: Sequence[JwtConfig], directory: Path, before: "Tokens | None" = None) -> None:
        self.configs = tuple(configs)
        self.scopes = tuple(dict.fromkeys(scope for config in configs for scope in config.scopes))
        self.keeps: bool = before is not None and before.keeps
        self._configs = {config.issuer: config for config in configs}
        known: dict[str, Issuer] = before._issuers if before is not None else {}  # noqa: SLF001  # another version of the same
        self._issuers: dict[str, Issuer] = {
            config.issuer: issuer
            if (issuer := known.get(config.issuer)) is not None and issuer.jwks == config.jwks
            else Issuer(config, directory)
            for config in configs
        }
        self._verified: OrderedDict[bytes, Principal] = OrderedDict()

    def find(self, token: bytes, digest: bytes, profile: str, resource: str) -> Principal | Refusal | None:
        """Whose a token is; None if that cannot be said before `fetch` was awaited.

        Args:
            token: as it was shown.
            digest: its SHA-256.
            profile: that of the address where it was shown; "" for the whole mesh.
            resource: that address as metadata names it; a token may be for it as for the audiences of the config.
        """
        principal = self._verified.get(digest)
        if principal is None:
            found = self._verify(token)
            if not isinstance(found, Principal):
                return found
            principal = self._verified[digest] = found
            if len(self._verified) > _MOST:
                self._verified.popitem(last=False)
        if self.keeps != bool(principal.token):
            principal.token = token.decode() if self.keeps else ""
        config = principal.origin
        if not isinstance(config, JwtConfig) or not _is_for(principal.claims, config, profile, resource):
            return Refusal(401, "Unauthorized: this token is for somebody else", "invalid_token")
        if missing := _missing(config, principal):
            reason = f"Forbidden: the token lacks the scope {' '.join(missing)}"
            return Refusal(403, reason, "insufficient_scope", " ".join(config.scopes))
        return principal

    def renewed(self, principal: Principal) -> Principal | None:
        """Whose a token of an earlier version is by this one; None if it is not good any more, or has to be looked at again."""
        before = principal.origin
        if not isinstance(before, JwtConfig):
            return None
        config = self._configs.get(before.issuer)
        if config == before:
            return principal
        if config is None or any(getattr(config, key) != getattr(before, key) for key in _VERIFIED):
            return None
        now = _principal(config, principal.claims)
        now.token = principal.token
        return None if _missing(config, now) else now

    async def fetch(self, token: bytes) -> None:
        """Fetch what `find` lacks for a token, be it that there is none to be had."""
        issuer = self._issuers.get(str(_opened(token)[1].get("iss")))
        if issuer is not None:
            await issuer.fetch()

    async def aclose(self) -> None:
        """Give up what is under way."""
        for issuer in self._issuers.values():
            await issuer.aclose()

    def _verify(self, token: bytes) -> Principal | Refusal | None:
        header, claims = _opened(token)
        issuer = self._issuers.get(str(claims.get("iss")))
        algorithm, kid = header.get("alg"), header.get("kid")
        if issuer is None or not isinstance(kid, str | None):
            return _BAD
        config = self._configs[issuer.name]
        if algorithm not in config.algorithms:
            return _BAD
        key = issuer.key(kid, str(algorithm))
        if key is None:
            # A key that is not known may be a new one; without any it cannot be said whose the token is.
            return None if issuer.may_fetch or not issuer.is_known else _BAD
        issuer.refresh()
        import jwt  # noqa: PLC0415  # see `issuer`

        try:
            verified = jwt.decode(
                token,
                key.key,
                algorithms=[str(algorithm)],
                issuer=config.issuer,
                leeway=config.leeway,
                options={"require": ["exp", "iss", config.subject], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            return Refusal(401, "Unauthorized: this token has expired", "invalid_token")
        except (jwt.PyJWTError, ValueError):
            return _BAD
        return _principal(config, verified)


def _principal(config: JwtConfig, claims: Mapping[str, Any]) -> Principal:
    subject = str(claims[config.subject])
    granted = [scope for name in ("scope", "scp") for scope in _words(claims.get(name))]
    return Principal(
        "token",
        subject,
        # Two issuers may call two people the same.
        identity=f"token:{config.issuer}#{subject}",
        groups=frozenset(_words(_claim(claims, config.groups), apart=False)) if config.groups else frozenset(),
        scopes=widened(granted, config.implies),
        rights=frozenset(config.rights),
        profiles=None if config.profiles is None else frozenset(config.profiles),
        claims=claims,
        expires=float(claims["exp"]) + config.leeway,
        origin=config,
    )


def _missing(config: JwtConfig, principal: Principal) -> list[str]:
    """The scopes that a token needs and lacks."""
    return [scope for scope in config.scopes if not covers(principal.scopes, scope)]


def _opened(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of a token, of which nothing is certain yet; empty if it is none."""
    parts = token.split(b".")
    if len(parts) != 3 or len(token) > _LARGEST:
        return {}, {}
    found = []
    for part in parts[:2]:
        try:
            value = json.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
        except (ValueError, RecursionError):
            return {}, {}
        if not isinstance(value, dict):
            return {}, {}
        found.append(value)
    return found[0], found[1]


def _is_for(claims: Mapping[str, Any], config: JwtConfig, profile: str, resource: str) -> bool:
    """Whether a token was issued for the mesh (RFC 8707, 2); one for a profile's address is good there alone."""
    named = _words(claims.get("aud"), apart=False)
    wanted = {audience.rstrip("/") for audience in config.audiences}
    if profile:
        wanted |= {f"{audience}/{profile}" for audience in wanted}
    if resource:
        wanted.add(resource)
    return any(audience.rstrip("/") in wanted for audience in named)


def _words(value: Any, *, apart: bool = True) -> list[str]:
    """The texts of a claim: a list, or one text, in which blanks set them apart."""
    if isinstance(value, str):
        return value.split() if apart else [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path with dots, as `realm_access.roles`."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value
