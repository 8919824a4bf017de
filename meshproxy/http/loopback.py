"""Which hosts are this machine and nobody else's: one rule for what is listened on, what clients call it, and what is dialled. Pure."""

import re
from ipaddress import IPv6Address, ip_address
from typing import Final

_NAME: Final = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*localhost", re.IGNORECASE | re.ASCII)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:[0-9]*)?")


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`: a name or an address, without a port.

    It can if `host` is `localhost` or a name below it (RFC 6761, 6.3), in any case; an address in 127.0.0.0/8; or ::1. IPv6 may
    stand in brackets and may hold an IPv4 address (::ffff:127.0.0.1), and a final dot makes no difference.
    """
    plain = resolvable(host)
    try:
        return ip_address(plain).is_loopback
    except ValueError:
        return plain == "localhost"


def resolvable(host: str) -> str:
    """Give `host` as the system's resolver takes it: without brackets, an IPv4 address as such, and no final dot.

    Every name of this machine becomes `localhost`: few resolvers know the others, and none may lead them elsewhere.
    """
    in_brackets = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if in_brackets else host.removesuffix(".")
    try:
        address = IPv6Address(plain) if in_brackets else ip_address(plain)
    except ValueError:
        return host if in_brackets else "localhost" if _NAME.fullmatch(plain) else plain
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else plain


def without_port(authority: str) -> str:
    """Give the host of `host` or `host:port` (RFC 9110, 7.2); "" if it is neither."""
    found = _AUTHORITY.fullmatch(authority)
    return found[1] if found else ""
