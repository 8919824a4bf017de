"""`Reply`: where the answer to an HTTP request goes, whatever server it came from. Place: serving."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from meshproxy.errors import REQUEST_CANCELLED, RpcError
from meshproxy.http.server_request import address_in
from meshproxy.http.stream import EventStream, Receive, Scope, Send
from meshproxy.serving.response import respond

__all__ = ["AsgiReply", "Reply"]


class Reply(Protocol):
    """A request of our own server (`meshproxy.http.server_request.Request`), or one of any ASGI server's.

    Attributes:
        on_gone: told if the client is gone before it was answered.
        address: of the client; "" if it has none.
    """

    on_gone: Callable[[], None] | None

    @property
    def address(self) -> str: ...

    @property
    def send(self) -> Send:
        """ASGI's, for an answer that is a stream of events."""
        ...

    def answer(self, status: int, body: bytes = b"", lines: bytes = b"") -> None:
        """Send a whole response of JSON, with further header lines, each of which ends with CRLF. Never blocks."""
        ...

    def splice(self, status: int, pieces: list[Any], lines: bytes = b"") -> None:
        """The same, of a body in pieces, which are the reply's from now on."""
        ...


class Exchange(Protocol):
    """What is being answered; see `meshproxy.serving.exchange.HttpExchange`."""

    stream: EventStream | None

    @property
    def ending(self) -> "asyncio.Future[None]": ...

    def cancel(self, cause: RpcError) -> None: ...


class AsgiReply:
    """A request of an ASGI server, whose coroutine waits in `served` until it is answered."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.on_gone: Callable[[], None] | None = None
        self.send = send
        self.address = address_in(scope)
        self._receive = receive
        self._answer: asyncio.Future[tuple[int, bytes, bytes]] = asyncio.get_running_loop().create_future()

    def answer(self, status: int, body: bytes = b"", lines: bytes = b"") -> None:
        """See `Reply`."""
        if not self._answer.done():
            self._answer.set_result((status, body, lines))

    def splice(self, status: int, pieces: list[Any], lines: bytes = b"") -> None:
        """See `Reply`."""
        self.answer(status, b"".join(pieces), lines)

    async def served(self, exchange: "Exchange | None") -> None:
        """Send what is answered, be it at once or, for `exchange`, when that has ended; its events send themselves."""
        watching = None
        waiting: list[asyncio.Future[Any]] = [self._answer]
        if exchange is not None:
            waiting.append(exchange.ending)
            watching = asyncio.get_running_loop().create_task(self._watch())
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._answer.done():
                status, body, lines = self._answer.result()
                await respond(self.send, status, body, extra=_fields(lines))
            elif exchange is not None and exchange.stream is not None:
                await exchange.stream.drained()
        except asyncio.CancelledError:
            if exchange is not None:
                exchange.cancel(RpcError(REQUEST_CANCELLED, "the server gave the request up"))
            raise
        finally:
            if watching is not None:
                watching.cancel()

    async def _watch(self) -> None:
        """Notice that the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.on_gone is not None:
            self.on_gone()


def _fields(lines: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Header lines as ASGI has them."""
    return tuple((name, value.strip()) for name, _, value in (line.partition(b":") for line in lines.splitlines()))
