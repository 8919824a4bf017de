"""The HTTP/1.1 client for upstream calls: one origin, kept-alive connections, little CPU. Place: http, below the links.

A request costs one write, one future and no task. What makes it cheap is kept here: the head of the request is built once per client
and method, connections are reused last in, first out, and one timer serves every deadline of every connection.

Nothing is ever sent twice. A kept connection that the server closed is noticed when the loop reads its end; one that was idle for a
while is also asked about before it is used; what remains is a race that ends in ``ConnectionLost(sent=True)`` for the caller to judge.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import cast
from urllib.parse import quote, urlsplit

from meshproxy.http.client_connection import Connection
from meshproxy.http.credentials import REFUSALS, Credentials
from meshproxy.http.dial import Permits, Proxy, basic_auth, default_tls, dial, proxy_for, reason_of
from meshproxy.http.pool import EARLY, SMALL, Pool
from meshproxy.http.reading import ReadResponse
from meshproxy.http.response import OnHead, Response
from meshproxy.http.transport_errors import (
    BadResponse,
    BodyTooLarge,
    ConnectFailed,
    ConnectionLost,
    TransportError,
    TransportTimeout,
)

__all__ = [
    "BadResponse",
    "BodyTooLarge",
    "ConnectFailed",
    "ConnectionLost",
    "HttpClient",
    "Response",
    "TransportError",
    "TransportTimeout",
    "default_tls",
    "encode_headers",
    "target_of",
]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[!-~]*")
_OURS = frozenset(
    ("connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Fields that say where a message ends or belong to one connection: the client's own business."""
_CLOSE_TIMEOUT = 2.0
_MOST_RENEWALS = 3
"""How often one request is sent again with other credentials."""


def encode_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    """Build header lines for `HttpClient.request`, each ended by CRLF.

    Raises:
        ValueError: a name or value cannot be sent, or the field is one that the client sets itself.
    """
    lines: list[bytes] = []
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        lower = name.lower()
        # As bytes: a value may be UTF-8, as many servers take it. A line end in it would forge a header.
        raw = value.strip(" \t").encode("utf-8", "surrogateescape")
        if not _TOKEN.fullmatch(lower) or not _VALUE.fullmatch(raw):
            raise ValueError(
                f"the HTTP header {name!r} cannot be sent: its name or value has a character that is not allowed"
            )
        if lower in _OURS:
            raise ValueError(f"the HTTP header {name!r} cannot be set: it belongs to the connection")
        lines += (lower.encode(), b": ", raw, b"\r\n")
    return b"".join(lines)


class HttpClient:
    """Requests to one origin. Cheap to make; belongs to the loop of its first request.

    Args:
        url: ``http`` or ``https``; its path and query are the default target, its userinfo becomes basic authorization.
        connect_timeout: seconds for name, network, proxy and TLS together.
        headers: sent with every request, before the request's own.
        tls: makes the TLS context, at the first connection; only called for ``https``.
        max_idle: idle connections to keep.
        idle_timeout: seconds to keep one. A server that announces less (``Keep-Alive: timeout=``) is left a second before its time.
        max_body: bytes of a decoded body that is read as a whole; None is no bound. Streamed bodies are their reader's to bound.
        permits: the numeric addresses that may be connected to; None for any.
        socket_path: the Unix socket at which the server is, wherever the URL says that it were.
        credentials: what the server is shown with every request, and what it is shown instead when it refuses that (401, 403).
        is_direct: no proxy is asked, whatever the environment says.

    Attributes:
        pool: its connections, and the way to POST over one of them without a task.

    Raises:
        ValueError: the URL, a header, or the environment's proxy for the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float,
        headers: Mapping[str, str] | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        max_idle: int = 256,
        idle_timeout: float = 55.0,
        max_body: int | None = None,
        permits: Permits | None = None,
        socket_path: str | None = None,
        credentials: Credentials | None = None,
        is_direct: bool = False,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the URL of an HTTP upstream must begin with http:// or https:// and name a host")
        secure = parts.scheme == "https"
        self._host = _ascii_host(parts.hostname)
        self._port = parts.port or (443 if secure else 80)
        self._tls = (tls or default_tls) if secure else None
        is_direct = is_direct or socket_path is not None
        self._proxy: Proxy | None = None if is_direct else proxy_for(parts.scheme, self._host)
        self._connect_timeout = connect_timeout
        self.max_body = max_body
        self._permits = permits
        self._socket_path = socket_path
        self._credentials = credentials
        self._shown = b"" if credentials is None else encode_headers(credentials.headers)

        host = f"[{self._host}]" if ":" in self._host else self._host
        authority = host if self._port == (443 if secure else 80) else f"{host}:{self._port}"
        self._peer = f"{host}:{self._port}"
        # Plain HTTP asks a proxy by absolute URL (RFC 9112, 3.2.2); TLS goes through it by CONNECT.
        self._base = f"http://{authority}" if self._proxy is not None and not secure else ""
        self._target = target_of(url)
        self._lines = self._constant_lines(authority, headers or {}, basic_auth(parts.username, parts.password))
        self._heads: dict[str, bytes] = {}

        self.pool = Pool(self._peer, max_idle, idle_timeout, self._head("POST", None))
        if credentials is not None:
            credentials.followers.add(self._show)

    def __repr__(self) -> str:
        counts = self.statistics()
        return f"<HttpClient {self._peer} connections={counts['connections']} idle={counts['idle']}>"

    def statistics(self) -> dict[str, int]:
        """How many ``connections`` are open, and how many of them are ``idle``."""
        return {"connections": len(self.pool.connections), "idle": len(self.pool.idle)}

    async def request(
        self,
        method: str,
        target: str | None = None,
        headers: bytes | Iterable[tuple[str, str]] = b"",
        body: bytes = b"",
        *,
        timeout: float | None = None,
        on_head: OnHead | None = None,
        stream: bool = False,
    ) -> ReadResponse:
        """Send a request and wait for the answer. Redirects and statuses are the caller's to judge.

        The response is whole, unless it is an event stream or ``stream`` is true: then its head has arrived, and it has to be read to
        its end, released or closed. Cancelling closes the connection.

        Args:
            method: in upper case; GET and DELETE without a body send no length.
            target: path and query, by default the URL's.
            headers: pairs, or what `encode_headers` made of them earlier, which is faster.
            body: sent with its length.
            timeout: seconds until this method returns, connecting included.
            on_head: called in ``data_received`` when the head of the answer is there. If it calls `Response.on_data`, this method
                returns at the end of the body or at `Response.release`, whatever the content type: the whole exchange wakes one task once.
            stream: return at the head, whatever the content type.

        Raises:
            TransportError: see there for what may be sent again.
            UpstreamError: there are no credentials that the server takes; nothing was carried out.
            ValueError: a method, target or header that cannot be sent.
        """
        credentials = self._credentials
        if credentials is None:
            return await self._exchange(method, target, headers, body, timeout, on_head, stream=stream)
        seen, deadline = credentials.serial, None if timeout is None else asyncio.get_running_loop().time() + timeout
        response = await self._exchange(method, target, headers, body, timeout, on_head, stream=stream)
        again = await self.again(
            response, method, target, headers, body, deadline=deadline, on_head=on_head, stream=stream, seen=seen
        )
        return again or response

    async def again(
        self,
        response: Response,
        method: str,
        target: str | None,
        headers: bytes | Iterable[tuple[str, str]],
        body: bytes,
        *,
        deadline: float | None,
        on_head: OnHead | None = None,
        stream: bool = False,
        seen: int | None = None,
    ) -> ReadResponse | None:
        """Another answer to a request of which `response` came, if that refuses our credentials and there are others by now; None for that one.

        A request that is refused for them was not carried out, so sending it again repeats nothing (RFC 9110, 15.5.2).

        Args:
            response: `again` is for refusals, but takes any.
            method: and what follows, as it was sent; see `request`.
            target: likewise.
            headers: likewise.
            body: likewise.
            deadline: in the loop's time, for all of it; None for none.
            on_head: as for `request`.
            stream: as for `request`.
            seen: the serial number of the credentials that it was sent with; None if that is not known.

        Raises:
            UpstreamError: what the credentials say, if there can be none.
            TransportError: as `request`.
        """
        credentials, loop = self._credentials, asyncio.get_running_loop()
        another: ReadResponse | None = None
        for _ in range(_MOST_RENEWALS):
            if credentials is None or response.status not in REFUSALS:
                break
            try:
                async with asyncio.timeout_at(deadline):
                    renewed = await credentials.renew(response.status, response.header("www-authenticate") or "", seen)
            except TimeoutError:
                raise TransportTimeout(f"no new credentials for {self._peer} in time", sent=False) from None
            if not renewed:
                break
            response.release()
            seen = credentials.serial
            left = None if deadline is None else max(deadline - loop.time(), EARLY)
            response = another = await self._exchange(method, target, headers, body, left, on_head, stream=stream)
        return another

    async def _exchange(
        self,
        method: str,
        target: str | None,
        headers: bytes | Iterable[tuple[str, str]],
        body: bytes,
        timeout: float | None,
        on_head: OnHead | None,
        *,
        stream: bool,
    ) -> ReadResponse:
        pool, loop = self.pool, asyncio.get_running_loop()
        head = self._heads.get(method) if target is None else None
        if head is None:
            head = self._head(method, target)
        if not isinstance(headers, bytes):
            headers = encode_headers(headers)
        if pool.is_closed:
            raise ConnectFailed("the client is closed")
        now = loop.time()
        deadline = math.inf if timeout is None else now + timeout
        connection = pool.take(now)
        if connection is None:
            connection = await self._connect(loop, min(deadline, now + self._connect_timeout))
        future: asyncio.Future[ReadResponse] = loop.create_future()
        response = ReadResponse(connection, partial(_settle, future), on_head, stream, self.max_body)
        pool.expect(connection, deadline)
        size = len(body)
        if size == 0 and method not in ("POST", "PUT", "PATCH"):
            connection.send(response, b"".join((head, headers, b"\r\n")), b"")
        elif size <= SMALL:
            connection.send(response, b"".join((head, headers, b"content-length: %d\r\n\r\n" % size, body)), b"")
        else:
            connection.send(response, b"".join((head, headers, b"content-length: %d\r\n\r\n" % size)), body)
        try:
            return await future
        except asyncio.CancelledError:
            response.close()
            raise

    def move(self, url: str) -> None:
        """Have another URL of the same origin for the default target."""
        self._target = target_of(url)
        self._heads.clear()
        self.pool.head = self._head("POST", None)

    def _show(self, headers: Mapping[str, str]) -> None:
        """Have other credentials with every request from now on."""
        self._shown = encode_headers(headers)
        self._heads.clear()
        self.pool.head = self._head("POST", None)

    async def aclose(self) -> None:
        """Close every connection and wait until they are gone. Requests under way fail; later ones are refused."""
        pool = self.pool
        if self._credentials is not None:
            self._credentials.followers.discard(self._show)
        emptied = pool.close()
        if emptied is not None:
            await asyncio.wait([emptied], timeout=_CLOSE_TIMEOUT)
            for connection in list(pool.connections):
                connection.abort()  # a TLS peer that does not say goodbye

    def _constant_lines(self, authority: str, headers: Mapping[str, str], basic: bytes | None) -> bytes:
        """The header lines that every request to this origin begins with."""
        given = {name.lower() for name in headers}
        lines = [] if "host" in given else [b"host: " + authority.encode() + b"\r\n"]
        if basic is not None and "authorization" not in given:
            lines.append(b"authorization: " + basic + b"\r\n")
        if self._base and self._proxy is not None and self._proxy.authorization is not None:
            lines.append(b"proxy-authorization: " + self._proxy.authorization + b"\r\n")
        return b"".join(lines) + encode_headers(headers)

    def _head(self, method: str, target: str | None) -> bytes:
        """The request line and the constant headers, remembered for the default target."""
        where = self._target if target is None else target
        if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(where):
            raise ValueError(
                f"cannot send {method!r} to {where!r}: the target must be a path of visible ASCII characters"
            )
        head = f"{method} {self._base}{where} HTTP/1.1\r\n".encode() + self._lines + self._shown
        if target is None:
            self._heads[method] = head
        return head

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline: float) -> Connection:
        connection = self.pool.connection()
        protocol = cast("asyncio.Protocol", connection)
        try:
            async with asyncio.timeout_at(None if math.isinf(deadline) else deadline):
                tls = None if self._tls is None else self._tls()
                if self._socket_path is not None:
                    await loop.create_unix_connection(lambda: protocol, self._socket_path)
                elif tls is None and self._proxy is not None:
                    await dial(protocol, self._proxy.host, self._proxy.port, tls=None)
                else:
                    await dial(protocol, self._host, self._port, tls=tls, tunnel=self._proxy, permits=self._permits)
        except BaseException as error:
            connection.abort()
            if isinstance(error, TimeoutError) and loop.time() >= deadline - EARLY:
                raise TransportTimeout(f"no connection to {self._peer} in time", sent=False) from error
            if isinstance(error, OSError):
                raise ConnectFailed(f"cannot connect to {self._peer}: {reason_of(error)}") from error
            raise
        if self.pool.is_closed or not connection.is_open():
            connection.abort()
            raise ConnectFailed(f"the connection to {self._peer} was closed as soon as it was open")
        self.pool.connections.add(connection)
        return connection


def _settle(future: "asyncio.Future[ReadResponse]", response: Response, error: TransportError | None) -> None:
    if future.done():  # nobody waits for it any more
        return
    if error is None:
        future.set_result(cast("ReadResponse", response))
    else:
        future.set_exception(error)


def target_of(url: str) -> str:
    """The path and query of a URL, as a request line has them."""
    parts = urlsplit(url)
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
    return (quote(parts.path, safe="/%:@!$&'()*+,;=~") or "/") + query


def _ascii_host(host: str) -> str:
    """The host as it is looked up and sent: a name in other scripts in its ASCII form (RFC 5890)."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{host!r} is not a host name") from None
