"""`Callback`: where the browser comes back to after a login, a port of this machine alone (RFC 8252, 7.3). Place: cli, under `auth`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from meshproxy.login.flow import answer_of

__all__ = ["PATH", "callback"]

PATH: Final = "/callback"
_MOST: Final = 16 * 1024
"""Bytes of a request's head."""
_HEADERS: Final = (
    "content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\n"
    "content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
)
_PAGE: Final = "<!doctype html><title>meshproxy</title><p>{}</p>"

Answer = dict[str, str]


@contextlib.asynccontextmanager
async def callback(port: int, is_ours: Callable[[Answer], bool]) -> "AsyncIterator[tuple[int, asyncio.Future[Answer]]]":
    """Listen on a port of 127.0.0.1, 0 for a free one: which it is, and what the browser will bring.

    Whatever else comes is refused and changes nothing: any page can send a browser here.

    Raises:
        OSError: the port cannot be had.
    """
    brought: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.partition("\r\n")[0].split(" ")
            answer = answer_of(target) if method == "GET" and target.partition("?")[0] == PATH else {}
            if brought.done() or not is_ours(answer):
                status, text = "404 Not Found", "There is nothing here."
            else:
                brought.set_result(answer)
                status, text = "200 OK", "You can close this window, and go back to where you came from."
            body = _PAGE.format(text).encode()
            writer.write(f"HTTP/1.1 {status}\r\n{_HEADERS}content-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=_MOST)
    try:
        yield server.sockets[0].getsockname()[1], brought
    finally:
        server.close()
        brought.cancel()
