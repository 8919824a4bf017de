"""Requests as bytes, to a live server over sockets, with `h11` as the judge of where each of them ends."""

import asyncio
import re
import socket
import struct
from typing import Any, NamedTuple, Self

import h11
from hypothesis import strategies as st
from meshproxy.http.server import Http1Server
from tests.fuzz.mutation import mutated
from tests.kit.waiting import DEADLINE

_EOL = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b""])
_METHOD = st.sampled_from([b"POST"] * 6 + [b"GET", b"DELETE", b"OPTIONS", b"HEAD", b"CONNECT", b"post", b"PRI", b""])
_TARGET = st.sampled_from(
    [b"/mcp"] * 6
    + [
        b"/",
        b"*",
        b"http://localhost/mcp",
        b"http://other:80",
        b"localhost:80",
        b"//x/y",
        b"/a?b=c#d",
        b"/%00",
        b"/\xc3\xa9",
    ]
)
_VERSION = st.sampled_from([b"HTTP/1.1"] * 10 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b""])
_SPELLED = st.sampled_from(
    [
        *(
            b"%d",
            b"%d",
            b"%d",
            b"%d",
            b"+%d",
            b"-%d",
            b" %d",
            b"%d ",
            b"\t%d",
            b"0%d",
            b"0x%x",
            b"%d, %d",
            b"%d,%d",
            b"%d_0",
        ),
        *(b"1%018d", b"99999999999999999999%d", b"%d\x00", b"%d\x0b", b"\xb2%d", b"%d;", b'"%d"'),
    ]
)
_CODING = st.sampled_from(
    [b"chunked"] * 6
    + [
        b"Chunked",
        b"chunked, chunked",
        b"gzip, chunked",
        b"chunked, gzip",
        b"identity",
        b"xchunked",
        b"chunked ",
        b"\x0bchunked",
    ]
    + [b"chunked;q=1", b"", b"chunked,", b", chunked", b'"chunked"']
)
_NAME = st.sampled_from(
    [
        b"Accept",
        b"X-Content-Length",
        b"Mcp-Session-Id",
        b"MCP-Protocol-Version",
        b"Connection",
        b"Expect",
        b"Upgrade",
        b"Host",
        b"TE",
        b"Content-Length ",
        b"Transfer-Encoding ",
        b" Content-Length",
        b"Content\x00Length",
        b"",
        b"X\xc3",
        b"Content-Length\t",
        b"content_length",
    ]
)
_VALUE = st.sampled_from(
    [
        b"*/*",
        b"close",
        b"keep-alive",
        b"100-continue",
        b"h2c",
        b"upgrade",
        b"5",
        b"2025-06-18",
        b"a\x00b",
        b"a\rb",
        b"a\nb",
        b"\xff",
        b"",
        b"x" * 300,
    ]
)
_SIZE = st.sampled_from(
    [b"%x"] * 8
    + [
        b"%X",
        b"0%x",
        b"+%x",
        b"-%x",
        b"0x%x",
        b"%x ",
        b" %x",
        b"%x;a=b",
        b'%x;a="b;c"',
        b"%x ;a",
        b"%x;\r",
        b"%x_0",
        b"f" * 17 + b"%x",
        b"",
    ]
)


class Asked(NamedTuple):
    """A request, as far as two readers have to agree on it."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def _spelled(form: bytes, size: int) -> bytes:
    return (
        form.replace(b"%d", b"%d" % size)
        .replace(b"%018d", b"%018d" % size)
        .replace(b"%x", b"%x" % size)
        .replace(b"%X", b"%X" % size)
    )


@st.composite
def _body_chunked(draw: Any) -> bytes:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=3))
    chunks = [_spelled(draw(_SIZE), len(piece)) + draw(_EOL) + piece + draw(_EOL) for piece in pieces]
    trailer = draw(
        st.sampled_from(
            [b""] * 4 + [b"X: y\r\n", b"Content-Length: 3\r\n", b"Host: other\r\n", b" x\r\n", b"no colon\r\n"]
        )
    )
    last = draw(st.sampled_from([b"0"] * 6 + [b"00", b"0;x", b"+0", b"-0", b"", b"0 "]))
    return b"".join(chunks) + last + draw(_EOL) + trailer + draw(_EOL)


@st.composite
def _request(draw: Any) -> bytes:
    lines = [b" ".join((draw(_METHOD), draw(_TARGET), draw(_VERSION))), b"Host: localhost"]
    how = draw(st.sampled_from(["length", "length", "chunked", "chunked", "none", "both", "twice", "odd"]))
    chunks = draw(_body_chunked())
    body = draw(st.sampled_from([b"", b"hello", b"{}", chunks, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"]))
    length = b"Content-Length: " + _spelled(draw(_SPELLED), len(body))
    coding = b"Transfer-Encoding: " + draw(_CODING)
    if how == "length":
        lines.append(length)
    elif how == "chunked":
        lines.append(coding)
        body = chunks
    elif how == "both":
        lines += draw(st.permutations([length, coding]))
        body = draw(st.sampled_from([body, chunks]))
    elif how == "twice":
        lines += [length, b"content-length: %d" % draw(st.integers(0, 9))]
    elif how == "odd":
        lines.append(draw(_NAME) + b": " + _spelled(draw(_SPELLED), len(body)))
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(
            draw(st.integers(1, len(lines))),
            draw(_NAME) + draw(st.sampled_from([b": ", b":", b" : ", b""])) + draw(_VALUE),
        )
    return b"".join(line + draw(_EOL) for line in lines) + draw(_EOL) + body


def requests() -> st.SearchStrategy[tuple[bytes, list[int]]]:
    """What one client sends on one connection, and where its pieces end."""
    stream = st.lists(_request(), min_size=1, max_size=3).map(b"".join)
    return st.tuples(mutated("http-requests", stream), st.lists(st.integers(0, 400), max_size=3))


class Judged:
    """A live server of an application that keeps what it is asked, and a client that sends what it likes."""

    def __init__(self) -> None:
        self.asked: dict[int, list[Asked]] = {}

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        listener.setblocking(False)
        self.address = listener.getsockname()
        self.server = Http1Server(self._app, keep_alive=DEADLINE, head_timeout=DEADLINE)
        await self.server.start([listener])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.aclose()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        found = Asked(scope["method"].encode(), target, tuple(scope["headers"]), body)
        self.asked.setdefault(scope["client"][1], []).append(found)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def ask(self, data: bytes, cuts: list[int]) -> tuple[list[Asked], bytes]:
        """What the server takes for requests in `data`, and what it answers."""
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, self.address)
            port = client.getsockname()[1]
            answer = b""
            try:
                async with asyncio.timeout(DEADLINE):
                    start = 0
                    for cut in [*sorted(cuts), len(data)]:
                        if piece := data[start:cut]:
                            await loop.sock_sendall(client, piece)
                            await asyncio.sleep(0)
                        start = max(start, cut)
                    client.shutdown(socket.SHUT_WR)
                    while more := await loop.sock_recv(client, 65536):
                        answer += more
            except ConnectionError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return self.asked.pop(port, []), answer


def judge(data: bytes) -> list[Asked | None]:
    """What `h11` takes for requests in `data`, as far as it reads, whether or not a connection is kept after one."""
    found: list[Asked | None] = []
    while data := data.lstrip(b"\r\n"):  # RFC 9112, 2.2
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        # RFC 9112, 3: several blanks may pass for one.
        reader.receive_data(re.sub(rb"\A([A-Z]+) +([^ \r\n]+) +(?=HTTP/)", rb"\1 \2 ", data))
        asked, body = None, b""
        try:
            while not isinstance(event := reader.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    asked = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    return found
        except h11.ProtocolError as error:
            return [*found, None] if "Host" in str(error) else found
        assert asked is not None
        headers = tuple((bytes(name), bytes(value)) for name, value in asked.headers)
        found.append(Asked(asked.method, asked.target, headers, body))
        data = reader.trailing_data[0]
    return found


def agree(ours: list[Asked], theirs: list[Asked | None]) -> None:
    """Whatever we take for a request, the judge takes for the same, in the same place.

    The judge wants one `Host`, and of ours that is the application's business: None is where it stopped for that.
    """
    if theirs and theirs[-1] is None:
        theirs = theirs[:-1]
        ours = ours[: len(theirs)]
    assert len(ours) <= len(theirs), (ours, theirs)
    for mine, other in zip(ours, theirs, strict=False):
        assert other is not None
        assert mine.method == other.method
        assert mine.body == other.body
        assert _fields(mine.headers) == _fields(other.headers)
        # Of a target in absolute form that has no path, the path is "/", whether there is a query or not (RFC 9112, 3.2.1).
        has_no_path = mine.target == b"/" or mine.target.startswith(b"/?")
        assert other.target.endswith(mine.target.removeprefix(b"/") if has_no_path else mine.target)


def _fields(headers: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    # A target in absolute form decides the host; a wish for another protocol is not heard.
    return [
        (name, value.lower() if name == b"transfer-encoding" else value.strip(b" \t"))
        for name, value in headers
        if name not in (b"host", b"upgrade")
    ]


class Target:
    """Any bytes from a client: what we take for requests another parser takes for the same, and no defect shows."""

    examples = 300

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._judged = Judged()

    def __enter__(self) -> Self:
        self._runner.run(self._judged.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._judged.__aexit__())
        self._runner.close()

    def strategy(self) -> st.SearchStrategy[Any]:
        return requests()

    def check(self, example: tuple[bytes, list[int]]) -> None:
        data, cuts = example
        ours, answer = self._runner.run(self._judged.ask(data, cuts))
        agree(ours, judge(data))
        assert b" 500 " not in answer
        assert b"Traceback" not in answer
