"""Who may talk to the port: the checks of `Host` and `Origin` against DNS rebinding. Place: serving.

Source: basic/transports, "Security Warning". A web page can make its own name resolve to 127.0.0.1, and then send what it likes to
a local server; its name then stands in both headers.
"""

from typing import Final

from meshproxy.http.loopback import is_loopback, without_port

__all__ = ["Guard"]

_SCHEMES: Final = frozenset({"http", "https"})


class Guard:
    """Decides on the two headers of a request.

    `hosts` are names that clients may call the server by: "mesh.example.com" with any port, or with one,
    "mesh.example.com:8080"; "*" for any name. `origins` are those of web pages that may call it: "https://app.example.com", a port
    again optional, or "*". On a loopback bind the loopback names are always allowed, and without any `hosts` nothing else is; on
    any other bind and without `hosts`, every name is: which names lead here is then not known.
    """

    def __init__(self, bind: str, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> None:
        self._is_local = is_loopback(bind)
        self._hosts = frozenset(host.lower().removesuffix(":*") for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/").removesuffix(":*") for origin in origins)
        self._any_host = "*" in self._hosts or not (self._is_local or self._hosts)
        self._any_origin = "*" in self._origins

    def admits_host(self, host: str | None) -> bool:
        """Whether the server goes by this name, if it is one: HTTP/1.1 asks for it (RFC 9112, 3.2)."""
        if not host:
            return False
        return self._any_host or self._is_here(host) or _listed(host.lower(), self._hosts)

    def admits_origin(self, origin: str | None) -> bool:
        """Whether a page of this origin may call; what is no page sends none."""
        if not origin or self._any_origin or _listed(origin.lower(), self._origins):
            return True
        scheme, _, authority = origin.lower().partition("://")
        return scheme in _SCHEMES and self._is_here(authority)

    def _is_here(self, authority: str) -> bool:
        """Whether it is a name of this machine, on a server that this machine alone can reach."""
        return self._is_local and is_loopback(without_port(authority))


def _listed(value: str, allowed: frozenset[str]) -> bool:
    if value in allowed:
        return True
    name, colon, port = value.rpartition(":")
    return bool(colon) and port.isdigit() and name in allowed
