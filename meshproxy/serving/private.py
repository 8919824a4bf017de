"""`Private`: who may have what is not for every client, such as `/api` and the page. Place: serving.

Where nobody is asked who he is, it is for this machine alone; else for whoever shows a credential with the right to it. A web page of another site has no
part in it: a browser says where a request comes from, and what changes anything has to bear a header that no other site can send without being asked about.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from meshproxy.http.loopback import is_loopback, without_port
from meshproxy.http.stream import Scope
from meshproxy.serving.doors import Doors
from meshproxy.serving.security import Guard

__all__ = ["OWN_HEADER", "Forbidden", "Private"]

OWN_HEADER: Final = b"x-meshproxy"
"""What a request that changes anything must bear, with any value. A page of another site cannot send it: its browser asks first, and is not allowed (CORS)."""
_FORWARDED: Final = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
_OURS: Final = frozenset({b"same-origin", b"none"})
_SAFE: Final = frozenset({"GET", "HEAD"})


class Forbidden(NamedTuple):
    """Why something may not be had: a status, a sentence that says what to do, and header lines."""

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Private:
    """Decides on requests for what is private.

    Args:
        guard: knows the names that the server goes by.
        doors: know who is asked.
    """

    def __init__(self, guard: Guard, doors: Doors) -> None:
        self._guard = guard
        self._doors = doors

    async def refusal(self, scope: Scope, right: str) -> Forbidden | None:
        """Why a request may not have what needs `right`, `view` or `admin`; None if it may."""
        return self.strange(scope) or await self._unentitled(scope, right)

    def strange(self, scope: Scope) -> Forbidden | None:
        """Why whoever asks is not listened to, whatever he shows: another site's page, or a name that is not ours."""
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        headers = dict(raw)
        host, origin = _text(headers.get(b"host")), _text(headers.get(b"origin"))
        if sum(name in (b"host", b"origin") for name, _ in raw) > (host is not None) + (origin is not None):
            return Forbidden(400, "The Host or Origin header appears more than once")
        if not host:
            return Forbidden(400, "Invalid request: it names no Host")
        if not self._guard.admits_host(host):
            hint = "add it to server.allowed_hosts if the server should go by this name"
            return Forbidden(421, f"Misdirected request: this server does not go by the Host {host!r}; {hint}")
        if origin and origin.partition("://")[2].lower() != (host or "").lower():
            return Forbidden(403, "Forbidden: pages of other origins may not use this, allowed or not")
        if headers.get(b"sec-fetch-site", b"none").lower() not in _OURS:
            return Forbidden(403, "Forbidden: pages of other sites may not use this")
        if scope["method"] not in _SAFE and OWN_HEADER not in headers:
            return Forbidden(403, f"Forbidden: what changes anything needs the header {OWN_HEADER.decode()}: 1")
        return None

    def unreachable(self, scope: Scope) -> Forbidden | None:
        """Why whoever asks may not even have what asks for a credential itself; None if he may. Links on other sites may lead there."""
        headers = dict(scope["headers"])
        host = _text(headers.get(b"host"))
        if not self._guard.admits_host(host):
            return Forbidden(421, f"Misdirected request: this server does not go by the Host {host!r}")
        return None if self.asks or self.is_from_here(scope) else _elsewhere("admin")

    def is_from_here(self, scope: Scope) -> bool:
        """Whether it comes from this machine, and not by way of a proxy on it that lets others in."""
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if _FORWARDED & headers.keys():
            return False
        client = scope.get("client")
        if client is None or not _is_local(str(client[0])):
            return False
        return is_loopback(without_port(_text(headers.get(b"host")) or ""))

    @property
    def asks(self) -> bool:
        """Whether a credential is asked for."""
        return self._doors.entrance.access.asks

    async def _unentitled(self, scope: Scope, right: str) -> Forbidden | None:
        access = self._doors.entrance.access
        if not access.asks:
            if self.is_from_here(scope):
                return None
            return _elsewhere(right)
        shown = _shown(scope["headers"])
        await access.fetch(shown)
        principal = self._doors.entrance.access.holder(shown)
        if principal is None:
            challenge = (b"www-authenticate", b'Bearer realm="meshproxy"')
            return Forbidden(
                401,
                f"Unauthorized: show a key with the right {right} in the header Authorization: Bearer",
                (challenge,),
            )
        if not principal.has(right):
            return Forbidden(403, f"Forbidden: this credential does not have the right {right}")
        return None


def _elsewhere(right: str) -> Forbidden:
    return Forbidden(
        403,
        "Forbidden: without server.auth this is for the machine that the mesh runs on; set server.auth, and use a key with the "
        f"right {right} (meshproxy key new NAME --rights use,{right})",
    )


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [value for name, value in headers if name == b"authorization"]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _is_local(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
