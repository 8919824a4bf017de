"""`Reach`: which addresses what an upstream says may lead to. Place: login, under `fetch`.

The URLs of a login come from the upstream, and must lead nobody into networks where the upstream itself is not (2026-07-28
security_best_practices, "SSRF"): not to private, link-local or loopback addresses, which is where clouds have their metadata, unless it is there. A
connection is judged by the address that it is made to, so that a name which stands for another one the next time gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Reach", "zone"]

GLOBAL: Final = "global"


def zone(address: str) -> str:
    """Where a numeric address is: `global`, `private`, `loopback`, `link-local`, or `none` for what is nobody's."""
    try:
        found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "none"
    if isinstance(found, ipaddress.IPv6Address):
        # Addresses that are another way to write one of IPv4.
        packed = int(found)
        within = found.ipv4_mapped or found.sixtofour
        if within is None and packed >> 32 in (0x0064FF9B << 64, 0):
            within = ipaddress.IPv4Address(packed & 0xFFFFFFFF) if packed > 1 else None
        found = within or found
    if found.is_loopback:
        return "loopback"
    if found.is_link_local:
        return "link-local"
    if found.is_unspecified or found.is_multicast or found.is_reserved:
        return "none"
    return GLOBAL if found.is_global else "private"


class Reach:
    """The addresses that an upstream and what the user wrote permit.

    Args:
        urls: the URL of the upstream, and those in the config.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        self._urls = tuple(urls)
        self._zones: frozenset[str] | None = None
        self.is_plain = any(urlsplit(url).scheme == "http" for url in self._urls)
        """Whether the user has the upstream spoken to without TLS, and so what belongs to it may be, too."""

    async def look(self) -> None:
        """Find out where the upstream is. A name that cannot be resolved permits nothing besides."""
        zones = {GLOBAL}
        for url in self._urls:
            zones |= {zone(address) for address in await _addresses(urlsplit(url).hostname or "")}
        if "loopback" in zones:
            # What runs on this machine may have its login in the network that this machine is in.
            zones.add("private")
        self._zones = frozenset(zones - {"none"})

    def permits(self, address: str) -> bool:
        """Whether a connection may be made to a numeric address."""
        return zone(address) in (self._zones or {GLOBAL})


async def _addresses(host: str) -> set[str]:
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(info[4][0]) for info in infos}
