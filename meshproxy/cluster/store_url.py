"""`StoreUrl`: where the store is, as the user writes it. Place: cluster, at its bottom; pure.

    redis://[user:password@]host[:port][/database]                     one server; `valkey://` is the same
    redis+sentinel://[user:password@]host[:port][,host...]/service[/database]   whichever server of a service Sentinel says is its master
    redis+cluster://[user:password@]host[:port][,host...]              a cluster, by any of its nodes

With `rediss` or `valkeys` in front, connections are encrypted. In the query: `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, files as PEM.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

__all__ = ["StoreUrl"]

_FORM: Final = re.compile(
    r"(?P<scheme>(?:redis|valkey)s?)(?:\+(?P<kind>sentinel|cluster))?://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/?#@]+)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]\s]+))(?::(?P<port>\d{1,5}))?")
_PORTS: Final = {"": 6379, "sentinel": 26379, "cluster": 6379}
_FILES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_SHAPE: Final = "write redis://HOST:6379/0, redis+sentinel://HOST:26379,HOST:26379/SERVICE or redis+cluster://HOST:6379,HOST:6379, with rediss for TLS"


@dataclass(frozen=True)
class StoreUrl:
    """See the module.

    Attributes:
        kind: "", `sentinel` or `cluster`.
        hosts: where to ask.
        service: the name that Sentinel knows the servers by.
        files: of TLS, by the names that the client library has for them.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    is_encrypted: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    service: str = ""
    files: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "StoreUrl":
        """Read one.

        Raises:
            ValueError: it is none; the message has the remedy, and nothing of the text.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"is no address of a store; {_SHAPE}")
        kind = match["kind"] or ""
        hosts = tuple(_host(each, _PORTS[kind]) for each in match["hosts"].split(","))
        if not kind and len(hosts) > 1:
            raise ValueError(f"names several servers, and does not say how they belong together; {_SHAPE}")
        parts = [unquote(part) for part in (match["path"] or "").split("/") if part]
        service = ""
        if kind == "sentinel":
            if not parts:
                raise ValueError(f"does not name the service that Sentinel is asked for; {_SHAPE}")
            service = parts.pop(0)
        if len(parts) > (0 if kind == "cluster" else 1) or not all(part.isdecimal() for part in parts):
            raise ValueError(f"has a path that is no number of a database; {_SHAPE}")
        files = tuple(parse_qsl(match["query"] or "", keep_blank_values=True))
        for name, _ in files:
            if name not in _FILES:
                raise ValueError(f"has a query that is none of {', '.join(sorted(_FILES))}")
        user, password = (None if part is None else unquote(part) for part in (match["user"], match["password"]))
        is_encrypted = match["scheme"] in ("rediss", "valkeys")
        database = int(parts[0]) if parts else 0
        return cls(kind, hosts, is_encrypted, user or None, password, database, service, files)

    def __str__(self) -> str:
        """Where it is, for people: without what opens it."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)


def _host(text: str, port: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match["port"] or port) < 65536:
        raise ValueError(f"has a host or a port that is none; {_SHAPE}")
    return match["six"] or match["host"], int(match["port"] or port)
