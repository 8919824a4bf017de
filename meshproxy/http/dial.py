"""How a connection to a server comes about: names, both IP versions, proxies, TLS. Place: http, below the client.

Proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, in either case), except for loopback hosts,
which are always reached directly.
"""

import asyncio
import base64
import functools
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from urllib.parse import unquote_to_bytes, urlsplit

from meshproxy.http.loopback import is_loopback
from meshproxy.http.transport_errors import ConnectFailed

__all__ = ["Permits", "Proxy", "basic_auth", "default_tls", "dial", "proxy_for", "reason_of"]

_HEAD_START = 0.25
"""Seconds that one address has before the next is tried as well (RFC 8305, 5)."""
_TLS_SHUTDOWN = 1.0
"""Seconds to wait for the peer's half of a TLS goodbye; nothing depends on it."""
_MAX_CONNECT_ANSWER = 16 * 1024
_KEEP_ALIVE = 60
"""Seconds of silence after which the system asks whether the other machine is still there."""

_Address = tuple[int, tuple[str, int] | tuple[str, int, int, int]]
Permits = Callable[[str], bool]
"""Whether a numeric address may be connected to."""


@functools.cache
def default_tls() -> ssl.SSLContext:
    """The TLS context for all upstreams, made at the first use because that takes 30 ms.

    It verifies against the system's authorities; OpenSSL puts SSL_CERT_FILE and SSL_CERT_DIR in their place.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; ``authorization`` is the value of its ``Proxy-Authorization`` header."""

    host: str
    port: int
    authorization: bytes | None


def basic_auth(username: str | None, password: str | None) -> bytes | None:
    """The value of an authorization header for the userinfo of a URL, which is percent-encoded; None if there is none."""
    if username is None:
        return None
    pair = unquote_to_bytes(username) + b":" + unquote_to_bytes(password or "")
    return b"Basic " + base64.b64encode(pair)


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """The proxy that the environment names for a server, or None to connect directly.

    Raises:
        ValueError: it names one of a kind that is not supported.
    """
    # Looked at first because urllib.request takes longer to import than everything else here.
    if not any(value and name.lower().endswith("_proxy") for name, value in os.environ.items()) or is_loopback(host):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - see above

    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(
            f"the environment names a {parts.scheme} proxy for {host}, and only http:// proxies are supported; "
            f"set {scheme.upper()}_PROXY to one, or add {host} to NO_PROXY"
        )
    return Proxy(parts.hostname, parts.port or 80, basic_auth(parts.username, parts.password))


async def dial(
    protocol: asyncio.Protocol,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    tunnel: Proxy | None = None,
    permits: Permits | None = None,
) -> None:
    """Connect ``protocol`` to a server; on return its ``connection_made`` has been called.

    Args:
        protocol: what will speak over the connection.
        host: the server's name or address.
        port: the server's port.
        tls: speak TLS to the server, which must have a certificate for ``host``.
        tunnel: with TLS, reach it through this proxy with CONNECT (RFC 9110, 9.3.6).
        permits: asked of each address that the name stands for; those that it refuses are not connected to. A proxy resolves names itself.

    Raises:
        ConnectFailed: the proxy refused, or no address is permitted.
        OSError: of the network, the resolver, or TLS (``ssl.SSLError``).
    """
    loop = asyncio.get_running_loop()
    if tls is None:
        await loop.create_connection(lambda: protocol, sock=await _open_socket(host, port, permits))
    elif tunnel is None:
        await loop.create_connection(
            lambda: protocol,
            sock=await _open_socket(host, port, permits),
            ssl=tls,
            server_hostname=host,
            ssl_shutdown_timeout=_TLS_SHUTDOWN,
        )
    else:
        await _dial_through(protocol, host, port, tls, tunnel)


async def _dial_through(protocol: asyncio.Protocol, host: str, port: int, tls: ssl.SSLContext, proxy: Proxy) -> None:
    loop = asyncio.get_running_loop()
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1".encode(), b"host: " + authority.encode()]
    if proxy.authorization is not None:
        lines.append(b"proxy-authorization: " + proxy.authorization)
    answer = _ConnectAnswer(loop.create_future())
    connected = await _open_socket(proxy.host, proxy.port)
    raw, _ = await loop.create_connection(lambda: answer, sock=connected)
    try:
        raw.write(b"\r\n".join(lines) + b"\r\n\r\n")
        _check_connect(await answer.status, proxy, authority)
        transport = await loop.start_tls(raw, protocol, tls, server_hostname=host, ssl_shutdown_timeout=_TLS_SHUTDOWN)
    except BaseException:
        raw.abort()
        raise
    if transport is None:
        raise ConnectFailed(f"the tunnel through {proxy.host}:{proxy.port} was closed as soon as it was open")
    protocol.connection_made(transport)  # start_tls leaves that to its caller


def _check_connect(status: int, proxy: Proxy, authority: str) -> None:
    if not 200 <= status < 300:
        advice = "; check its credentials" if status == 407 else ""
        raise ConnectFailed(f"the proxy {proxy.host}:{proxy.port} answered {status} to CONNECT {authority}{advice}")


class _ConnectAnswer(asyncio.Protocol):
    """Reads the head of a proxy's answer to CONNECT, and no byte more."""

    def __init__(self, status: asyncio.Future[int]) -> None:
        self.status = status
        self._head = bytearray()

    def data_received(self, data: bytes) -> None:
        if self.status.done():
            return
        self._head += data
        line = self._head.partition(b"\r\n")[0]
        head_ended = self._head.endswith(b"\r\n\r\n")
        words = line.split(None, 2)
        if head_ended and len(words) >= 2 and words[0].startswith(b"HTTP/1.") and words[1].isdigit():
            self.status.set_result(int(words[1]))
        elif b"\r\n\r\n" in self._head or len(self._head) > _MAX_CONNECT_ANSWER:
            # A body comes only with a refusal, whose status says enough.
            refused = len(words) >= 2 and words[1].isdigit() and not words[1].startswith(b"2")
            if refused:
                self.status.set_result(int(words[1]))
            else:
                self.status.set_exception(ConnectFailed("the proxy's answer to CONNECT is not HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.status.done():
            self.status.set_exception(ConnectFailed("the proxy closed the connection before it answered CONNECT"))


async def _open_socket(host: str, port: int, permits: Permits | None = None) -> socket.socket:
    """A connected TCP socket, the first of the host's addresses that answers ("happy eyeballs", RFC 8305).

    The loops' own way is not used because uvloop's has no head starts: it waits for one address after the other.
    """
    addresses = await _addresses(host, port)
    if permits is not None:
        # Here, and not before: a name may stand for something else the next time that it is asked for.
        addresses = [address for address in addresses if permits(address[1][0])]
        if not addresses:
            raise ConnectFailed(f"{host} is at an address that must not be connected to from here")
    if len(addresses) == 1:
        return await _connect(addresses[0])
    waiting = iter(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    try:
        while True:
            address = next(waiting, None)
            if address is not None:
                running.add(asyncio.create_task(_connect(address)))
            elif not running:
                raise _combined(failures)
            done, running = await asyncio.wait(
                running, timeout=None if address is None else _HEAD_START, return_when=asyncio.FIRST_COMPLETED
            )
            winner: socket.socket | None = None
            for task in done:
                error = task.exception()
                if error is not None:
                    failures.append(error)
                elif winner is None:
                    winner = task.result()
                else:
                    task.result().close()
            if winner is not None:
                return winner
    finally:
        for task in running:
            task.add_done_callback(_close_loser)
            task.cancel()


def _close_loser(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _combined(failures: list[BaseException]) -> OSError:
    """What several addresses refused with, each reason once."""
    return OSError("; ".join(dict.fromkeys(reason_of(failure) for failure in failures)))


def reason_of(error: BaseException) -> str:
    """Why a connection failed, for people. What asyncio says of it repeats the address and hides the reason in a number."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


async def _addresses(host: str, port: int) -> list[_Address]:
    """The addresses of a host, the families in turn and the resolver's favourite first (RFC 8305, 4)."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if literal is not None and "%" not in host:
        return [(socket.AF_INET, (host, port)) if literal.version == 4 else (socket.AF_INET6, (host, port, 0, 0))]
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families: dict[int, list[_Address]] = {}
    for family, _, _, _, address in infos:
        if family in (socket.AF_INET, socket.AF_INET6):
            families.setdefault(family, []).append((family, address))  # type: ignore[arg-type]  # those two have these shapes
    turns: Iterator[tuple[_Address | None, ...]] = zip_longest(*families.values())
    ordered = [address for address in chain.from_iterable(turns) if address is not None]
    if not ordered:
        raise OSError(f"{host} has no address")
    return list(dict.fromkeys(ordered))


async def _connect(address: _Address) -> socket.socket:
    family, where = address
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A stream on which nothing is due would not notice that the other machine is gone.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE)
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made
