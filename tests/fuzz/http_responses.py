"""Responses as bytes, from a live server to our client, with `h11` as the judge of where each of them ends."""

import asyncio
import re
from typing import Any, Self

import h11
from hypothesis import strategies as st
from meshproxy.http.client import HttpClient
from meshproxy.http.transport_errors import TransportError
from tests.fuzz.mutation import mutated
from tests.kit.waiting import DEADLINE

_EOL = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n "])
_STATUS = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 6
    + [
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 X",
        b"HTTP/1.1 404 ",
        b"HTTP/1.1 200",
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 20 X",
        b"HTTP/2 200 OK",
        b"ICY 200 OK",
    ]
)
_FIELD = st.sampled_from(
    [
        b"Content-Type: application/json",
        b"Content-Type: text/event-stream",
        b"Connection: close",
        b"Keep-Alive: timeout=5",
        b"X: a\0b",
        b"X : y",
        b" folded",
        b"no colon",
        b"Content-Length : 3",
    ]
)
_SIZE = st.sampled_from([b"%x"] * 8 + [b"0%x", b"+%x", b"-%x", b"0x%x", b"%x ", b"%x;a=b", b"f" * 17 + b"%x", b""])
_LENGTH = st.sampled_from(
    [b"%d"] * 6 + [b"+%d", b"-%d", b"%d, %d", b"0%d", b"%d_0", b"0x%d", b"", b"99999999999999999999%d"]
)


_REASON = re.compile(rb"(?:\A|(?<=\r\n\r\n))(HTTP/1\.[01] [0-9]{3}) [^\r\n]*")


@st.composite
def _response(draw: Any) -> bytes:
    lines = [draw(_STATUS)]
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=3))
    chunks = [draw(_SIZE).replace(b"%x", b"%x" % len(one)) + draw(_EOL) + one + draw(_EOL) for one in pieces]
    chunked = (
        b"".join(chunks)
        + b"0"
        + draw(_EOL)
        + draw(st.sampled_from([b"", b"X: y\r\n", b"Content-Length: 1\r\n"]))
        + draw(_EOL)
    )
    body = draw(st.sampled_from([b"", b"{}", b"hello", chunked]))
    how = draw(st.sampled_from(["length", "chunked", "close", "both", "twice"]))
    length = b"Content-Length: " + draw(_LENGTH).replace(b"%d", b"%d" % len(body))
    if how in ("length", "both", "twice"):
        lines.append(length)
    if how == "twice":
        lines.append(b"content-length: %d" % draw(st.integers(0, 6)))
    if how in ("chunked", "both"):
        lines.append(
            b"Transfer-Encoding: "
            + draw(
                st.sampled_from(
                    [b"chunked"] * 5 + [b"Chunked", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked"]
                )
            )
        )
        body = chunked
    lines += draw(st.lists(_FIELD, max_size=2))
    first = draw(
        st.sampled_from(
            [b""] * 6
            + [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n"]
        )
    )
    return first + b"".join(line + draw(_EOL) for line in lines) + draw(_EOL) + body


def judge(data: bytes) -> tuple[int, bytes] | None:
    """The status and the body of the answer in `data`, after which the connection ends; None for none."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    reader.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("content-length", "0")]))
    reader.send(h11.EndOfMessage())
    status, body = None, b""
    # What stands behind the status is nobody's business, whatever it is (RFC 9112, 4).
    data = _REASON.sub(rb"\1 OK", data)
    try:
        for piece in (data, b""):
            reader.receive_data(piece)
            while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return None if status is None else (status, body)
                elif isinstance(event, h11.ConnectionClosed):
                    return None
    except h11.RemoteProtocolError:
        return None
    return None


class Target:
    """What our client takes for an answer the judge takes for the same, and every other one is a `TransportError`."""

    examples = 150

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._data = b""

    def __enter__(self) -> Self:
        self._runner.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._data)
        writer.close()

    def strategy(self) -> st.SearchStrategy[Any]:
        return mutated("http-responses", _response())

    def check(self, example: bytes) -> None:
        self._data = example
        found = self._runner.run(self._asked())
        if found is not None:
            assert found == judge(example)

    async def _asked(self) -> tuple[int, bytes] | None:
        client = HttpClient(f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/", connect_timeout=DEADLINE)
        try:
            response = await client.request("POST", timeout=DEADLINE)
            if b"content-encoding" in response.headers:
                return None
            return response.status, await response.read()
        except TransportError:
            return None
        finally:
            await client.aclose()
