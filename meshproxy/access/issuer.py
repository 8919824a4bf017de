"""`Issuer`: an authorization server as a resource server knows it: its metadata and its keys. Place: access.

Source: RFC 8414, 3 and 5, and OpenID Connect Discovery 1.0, 4, for where metadata is, in every form that basic/authorization names; RFC 7517 for keys. Keys are fetched
when a token needs one that is not known, at most once in a while, and again when they are old. As long as that fails, the ones that are known stay good.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from meshproxy.config.access import JwtConfig
from meshproxy.http.client import HttpClient
from meshproxy.http.loopback import is_loopback
from meshproxy.http.transport_errors import TransportError

__all__ = ["Issuer"]

log = structlog.get_logger(__name__)

SELDOM: Final = 10.0
"""Seconds between two fetches that tokens with unknown keys ask for."""
OLD: Final = 3600.0
"""Seconds after which keys are fetched again, so that one that was withdrawn is good for so long at most."""
_TIMEOUT: Final = 10.0
_LARGEST: Final = 1024 * 1024


class Issuer:
    """One issuer.

    Attributes:
        name: it, as tokens name it.
        jwks: where its keys are, as the file says it.
    """

    def __init__(self, config: JwtConfig, directory: Path) -> None:
        self.name = config.issuer
        self.jwks = config.jwks
        self._directory = directory
        self._keys: dict[str, Any] = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._is_failing = False

    @property
    def is_known(self) -> bool:
        """Whether its keys have been had, ever."""
        return self._fetched is not None

    def key(self, kid: str | None, algorithm: str) -> Any:
        """The public key for a token, a `jwt.PyJWK`; None if there is none, or no only one for a token that names none."""
        found = [key for name, key in self._keys.items() if kid in (None, name)]
        fitting = [key for key in found if _fits(key, algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def may_fetch(self) -> bool:
        """Whether it was not tried just now."""
        return self._fetching is not None or self._tried is None or time.monotonic() - self._tried >= SELDOM

    def refresh(self) -> None:
        """Fetch the keys if they are old; nobody waits for it."""
        if self._fetched is not None and time.monotonic() - self._fetched > OLD and self.may_fetch:
            self._begin()

    async def fetch(self) -> None:
        """Fetch the keys, unless it was tried just now; whoever wants them meanwhile waits for the same. What fails is logged once."""
        if self.may_fetch:
            await asyncio.wait({self._begin()})

    async def aclose(self) -> None:
        """Give up what is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    def _begin(self) -> "asyncio.Task[None]":
        if self._fetching is None:
            self._tried = time.monotonic()
            self._fetching = asyncio.ensure_future(self._fetch())
            self._fetching.add_done_callback(self._done)
        return self._fetching

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()

    async def _fetch(self) -> None:
        try:
            keys = _keys_of(await self._key_set())
        except (ValueError, OSError, TransportError, TimeoutError) as error:
            if not self._is_failing:
                self._is_failing = True
                log.warning("issuer.keys_not_had", issuer=self.name, reason=str(error), known=len(self._keys))
            return
        if self._is_failing or set(keys) != set(self._keys):
            log.info("issuer.keys", issuer=self.name, keys=len(keys))
        self._is_failing = False
        self._keys, self._fetched = keys, time.monotonic()

    async def _key_set(self) -> Any:
        where = self.jwks
        if where == "auto":
            where = await self._discovered()
        if where.startswith(("http://", "https://")):
            return await _get(where)
        path = self._directory / where
        return json.loads(await asyncio.to_thread(path.read_bytes))

    async def _discovered(self) -> str:
        """The `jwks_uri` of its metadata, which must name this very issuer (RFC 8414, 3.3)."""
        issuer, failures = self.name, []
        for url in metadata_urls(issuer):
            try:
                found = await _get(url)
            except (ValueError, OSError, TransportError) as error:
                failures.append(f"{url}: {error}")
                continue
            if found.get("issuer") != issuer:
                failures.append(f"{url}: is the metadata of {found.get('issuer')!r}, and not of {issuer!r}")
                continue
            keys = found.get("jwks_uri")
            if isinstance(keys, str) and _is_safe(keys):
                return keys
            failures.append(f"{url}: has no jwks_uri with https")
        raise ValueError("; ".join(failures))


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Where the metadata of an issuer may be, in the order in which it is looked for."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    before = tuple(
        f"{origin}/.well-known/{name}{path}" for name in ("oauth-authorization-server", "openid-configuration")
    )
    return (*before, f"{origin}{path}/.well-known/openid-configuration") if path else before


async def _get(url: str) -> dict[str, Any]:
    client = HttpClient(url, connect_timeout=_TIMEOUT, max_body=_LARGEST)
    try:
        response = await client.request("GET", headers=[("accept", "application/json")], timeout=_TIMEOUT)
        if response.status != 200:
            raise ValueError(f"HTTP status {response.status}")
        found = json.loads(response.body)
    finally:
        await client.aclose()
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    return found


def _keys_of(found: Any) -> dict[str, Any]:
    """The public keys of a set, by their ids; those without one by their place. What nobody can use is left out (RFC 7517, 5)."""
    from jwt import PyJWK  # noqa: PLC0415  # cryptography is heavy, and meshes without tokens need none of it
    from jwt.exceptions import PyJWTError  # noqa: PLC0415

    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise ValueError("holds no keys")
    known: dict[str, Any] = {}
    for place, key in enumerate(keys):
        if not isinstance(key, dict) or key.get("kty") == "oct" or key.get("use", "sig") != "sig":
            continue
        try:
            known[str(key.get("kid", f"#{place}"))] = PyJWK(key)
        except (PyJWTError, ValueError, TypeError):
            continue
    return known


def _fits(key: Any, algorithm: str) -> bool:
    """Whether a key is of the sort that an algorithm takes. One that says nothing of its algorithm is taken by its type."""
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
    return bool(key.key_type == kinds.get(algorithm[:2]))


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
