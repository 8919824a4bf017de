"""Who may talk to the port: the checks of `Host` and `Origin` against DNS rebinding. Place: serving.

Source: basic/transports, "Security Warning". A web page can make its own name resolve to 127.0.0.1, and then send what it likes to
a local server; its name then stands in both headers.
"""

import ipaddress
from typing import Final

__all__ = ["Guard", "is_loopback"]

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a port that is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Decides on the two headers of a request.

    `hosts` are names that clients may call the server by: "mesh.example.com" with any port, or with one,
    "mesh.example.com:8080"; "*" for any name. `origins` are those of web pages that may call it: "https://app.example.com", a port
    again optional, or "*". On a loopback bind the loopback names are always allowed, and without any `hosts` nothing else is; on
    any other bind and without `hosts`, every name is: which names lead here is then not known.
    """

    def __init__(self, bind: str, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> None:
        local = is_loopback(bind)
        names = {host.lower().removesuffix(":*") for host in hosts}
        pages = {origin.lower().rstrip("/").removesuffix(":*") for origin in origins}
        if local:
            names.update(_LOOPBACK)
            pages.update(f"{scheme}://{name}" for scheme in ("http", "https") for name in _LOOPBACK)
        self._hosts = names
        self._origins = pages
        self._any_host = "*" in names or not names
        self._any_origin = "*" in pages

    def admits_host(self, host: str | None) -> bool:
        """Whether the server goes by this name; a request without one is refused, HTTP/1.1 asks for it (RFC 9112, 3.2)."""
        return self._any_host or (bool(host) and _listed(str(host).lower(), self._hosts))

    def admits_origin(self, origin: str | None) -> bool:
        """Whether a page of this origin may call; what is no page sends none."""
        return not origin or self._any_origin or _listed(origin.lower(), self._origins)


def _listed(value: str, allowed: set[str]) -> bool:
    if value in allowed:
        return True
    name, colon, port = value.rpartition(":")
    return bool(colon) and port.isdigit() and name in allowed
