"""One client's connection to the HTTP/1.1 server: what reads requests, with `httptools`, and takes their turns. Place: http.

Requests that a client sends ahead are answered in order (RFC 9112, 9.3.2). Framing that two readers could read differently is
refused (RFC 9112, 6.3): the parser is strict, and is never told to be otherwise. What cannot be read is answered in its turn, and
then the connection is closed. A request is begun when there is something of its body, or the client waits to send it. One that came whole
is offered to the application's `Take` first, and if its head is a familiar one, without having been parsed.
"""

import asyncio
import socket
from typing import Any, Final
from urllib.parse import unquote

import httptools

from meshproxy.http.heads import FamiliarHead, familiar
from meshproxy.http.server_request import Head, Request, Server
from meshproxy.http.server_tls import shown_by
from meshproxy.http.server_turns import DEAF, HIGH_WATER, Turns

__all__ = ["Connection"]

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's target and headers."""
MAX_FIELDS: Final = 256
"""Lines of a request's headers."""
SLICE: Final = 16 * 1024
"""Bytes that are parsed before it is looked whether more may wait: the smallest requests are eighteen bytes, and each takes a kilobyte and more."""
HALF_CLOSED: Final = 1.0
"""Seconds that an answer has once its client has closed its side: simple clients do that and wait, but those who left look the same."""

# Of 2.3: since 2.4 a `send` to a client that is gone would have to raise.
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_TOO_LARGE: Final = b"The request's headers are too large"


class _Refused(Exception):
    """A request whose head was understood, and which this server does not take."""

    def __init__(self, status: int, reason: bytes) -> None:
        super().__init__()
        self.status = status
        self.reason = reason


class Connection(Turns):
    """Reads requests, as an `asyncio.Protocol`, and lets one at a time be answered."""

    __slots__ = (
        "_client",
        "_familiar",
        "_fields",
        "_first",
        "_head",
        "_is_moving",
        "_local",
        "_name",
        "_seen",
        "_target",
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._familiar: FamiliarHead[Head] | None = None
        self._first = b""  # the read that a head began with
        self._head: Head | None = None  # of what is being read
        self._is_moving = False  # the last read began a head or brought some of a body
        self._seen = 0  # bytes of the reads since one did
        self._client: tuple[str, int] | None = None
        self._name: str | None = None
        self._local: tuple[str, int] | None = None

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a stream, so a Transport
        self._client = _address(transport.get_extra_info("peername"))
        self._local = _address(transport.get_extra_info("sockname"))
        if self.server.is_secure:
            self._name, self.authority = shown_by(transport)
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio does it only where the listener was made with its protocol named.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.admit(self)
        if self.server.is_deaf:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        # A parser and its connection hold each other, as do a request and its.
        self._parser = DEAF
        self._reading = self._familiar = None
        self._ahead.clear()
        self._rest = b""
        self.server.forget(self)
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
        if self._current is not None:
            self._current.cut()

    def eof_received(self) -> bool:
        if self._current is None or self._current.is_begun or self._reading is not None:
            return False
        self._parser = DEAF
        self._timer = self._loop.call_later(HALF_CLOSED, self.transport.abort)
        return True

    def data_received(self, data: bytes) -> None:
        self._quiet_since = self.server.now
        if self._current is None and self._reading is None and self._deadline is None:
            if self._familiar is not None and self._is_begun(self._familiar, data):
                return
            self._first = data
        if self._rest:
            self._rest += data
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Read as much as may wait to be answered; the rest is kept."""
        place = 0
        while place < len(data):
            piece = data if len(data) <= SLICE else data[place : place + SLICE]
            place += len(piece)
            self._seen += len(piece)
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade(piece[upgrade.args[0] :] + data[place:])
                place = 0
            except httptools.HttpParserCallbackError as error:
                refused = error.__context__
                if not isinstance(refused, _Refused):
                    raise
                self._refuse(refused.status, refused.reason)
                return
            except httptools.HttpParserError:
                # After "Connection: close" whatever comes is an error for the parser, and nothing for us (RFC 9112, 9.6).
                if self._parser is not DEAF:
                    self._refuse(400, b"This is no HTTP/1.1 request")
                return
            if self._is_held and place < len(data):
                self._rest = data[place:]
                break
        if self._deadline is None and self._reading is None:
            self._seen = 0
        else:
            self._look_at_rest()

    def read_rest(self) -> None:
        """There is room for what was kept: as much of it as may wait, and then for what comes."""
        rest, self._rest = self._rest, b""
        self._is_resuming = False
        if self.is_gone:
            return
        self._is_held = False
        self._read(rest)
        if not self._is_held and not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.room = asyncio.Event()

    def resume_writing(self) -> None:
        room, self.room = self.room, None
        if room is not None:
            room.set()
        if self._current is None and self._ahead:
            self._begin_next()

    # --- httptools

    def on_message_begin(self) -> None:
        self._target = b""
        self._fields = []
        self._is_moving = True
        self._deadline = self.server.head_deadline

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser.should_upgrade():
            return  # it comes again, see `_without_upgrade`
        # What the parser calls headers after these are trailers, and must not pass for headers (RFC 9110, 6.5.1).
        fields, self._fields = self._fields, []
        self._deadline = None
        self._due = self.server.head_deadline
        self._brought = 0
        if self._seen > MAX_HEAD or len(fields) > MAX_FIELDS or not self._is_moving:
            self._check_size(fields)
        version = parser.get_http_version()
        if version != "1.1":
            _check_version(version, fields)
        for name, value in fields:
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                raise _Refused(400, b"This server knows no transfer coding but chunked")  # RFC 9112, 6.1
        path, _, query = self._target.partition(b"?")
        if not path.startswith(b"/"):
            path = _path_of(path, fields)
        text = path.decode("latin-1")
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": "https" if self.server.is_secure else "http",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": fields,
            "client": self._client,
            "client_name": self._name,
            "server": self._local,
        }
        self._head = Head(scope)
        self._reading = Request(self, scope, parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        request = self._reading
        if request is None:
            return
        self._is_moving = True
        self._waiting += len(body)
        self._brought += len(body)
        request.body.append(body)
        if request.is_admitted:
            request.stir()
        if self._waiting > HIGH_WATER:
            self._hold()

    def on_message_complete(self) -> None:
        request, self._reading = self._reading, None
        if request is None:
            return  # what asks for an upgrade ends with its head
        request.is_complete = True
        if not request.may_stay:
            self._parser = DEAF
        if request.is_admitted:
            request.stir()
        elif not self._is_taken(request):
            self._admit(request)

    # --- for requests

    def ended(self, request: Request) -> None:
        """A request is answered, or its application gave up: the next one's turn."""
        self._current = None
        self._quiet_since = self.server.now
        if self.is_gone:
            return
        if request.body:
            self.taken(sum(map(len, request.body)))
            request.body.clear()
        if not request.is_sent:
            self._leave(b"" if request.is_begun else self._refusal or self.server.refusal(500))
        elif not request.may_stay or self.server.is_closing:
            self._leave()
        elif self._ahead:
            if self.room is None:
                self._begin_next()
        elif self._parser is DEAF:
            self._leave(self._refusal)

    # ---

    def _look_at_rest(self) -> None:
        """A read ended within a request: see that its head, its trailers and its framing do not go on for ever."""
        if self._is_moving:
            self._is_moving = False
            self._seen = 0
        elif self._seen > MAX_HEAD and self._parser is not DEAF:
            self._refuse(431, _TOO_LARGE)
        request = self._reading
        if request is not None and not request.is_admitted and (request.body or request.expects_continue()):
            self._admit(request)

    def _check_size(self, fields: list[tuple[bytes, bytes]]) -> None:
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in fields)
        if size > MAX_HEAD or len(fields) > MAX_FIELDS:
            raise _Refused(431, _TOO_LARGE)

    def _without_upgrade(self, rest: bytes) -> bytes:
        """A request that asks for another protocol, as one that does not (RFC 9110, 7.8), with what follows its head.

        Java's client asks for HTTP/2 with its first request. The parser takes what follows for that protocol's, body and all.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(501, b"This server is no tunnel")
            return b""
        line = b"%b %b HTTP/%b\r\n" % (method, self._target, self._parser.get_http_version().encode())
        fields = [b"%b: %b\r\n" % field for field in self._fields if field[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)  # the one that was told "close" takes nothing more
        return b"".join((line, *fields, b"\r\n", rest))

    def _is_begun(self, known: FamiliarHead[Head], data: bytes) -> bool:
        """Whether `data` is a whole request with the head of one before; if so, it is begun."""
        found = known.measure(data)
        if found is None or found[0] + found[1] != len(data) or self._parser is DEAF or self.room is not None:
            return False
        body, head = data[found[0] :], known.meaning
        request = Request(self, head.scope, may_stay=True)
        request.is_complete = True
        self._current = request
        if self.server.take is None or not self.server.take(head, body, request):
            self._current = None
            request = Request(self, dict(head.scope), may_stay=True)
            request.is_complete = True
            request.body.append(body)
            self._waiting += len(body)
            self._admit(request)
        return True

    def _is_taken(self, request: Request) -> bool:
        """Whether a request, which was parsed and came whole, is taken by the application's `Take`."""
        take, head, first = self.server.take, self._head, self._first
        self._head = None
        self._first = b""
        if take is None or head is None or self._current is not None or self.room is not None or self._ahead:
            return False
        if head.scope["http_version"] != "1.1":
            return False
        pieces, request.body = request.body, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._waiting -= len(body)
        self._current = request
        if not take(head, body, request):
            self._current = None
            self._waiting += len(body)
            request.body = pieces
            return False
        if request.may_stay and first.endswith(body):
            self._familiar = familiar(first, head)
        return True


def _address(value: Any) -> tuple[str, int] | None:
    """A socket's address as the scope has it: two parts, and None for what has no port."""
    return value[:2] if isinstance(value, tuple) else None


def _check_version(version: str, fields: list[tuple[bytes, bytes]]) -> None:
    if version != "1.0":
        raise _Refused(505, b"This server speaks HTTP/1.1")
    if any(name == b"transfer-encoding" for name, _ in fields):
        # A proxy of that age passes on what it does not understand, and frames by something else (RFC 9112, 6.1).
        raise _Refused(400, b"HTTP/1.0 has no Transfer-Encoding")


def _path_of(target: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
    """The path of a target in absolute form, whose host is the request's whatever `Host` says (RFC 9112, 3.2.2)."""
    authority, _, path = target.partition(b"://")[2].partition(b"/")
    if not authority:
        return target  # "*"
    host = (b"host", authority.rpartition(b"@")[2])
    fields[:] = [host, *(field for field in fields if field[0] != b"host")]
    return b"/" + path
