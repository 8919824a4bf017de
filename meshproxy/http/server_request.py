"""One HTTP/1.1 request: what has come of it, and the answer to one that an application took whole. Place: http.

An application that rather runs has a `Conversation` with it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

from meshproxy.http.stream import Application, Receive, Send

__all__ = ["LARGE", "STATUS", "Head", "Line", "Request", "Server", "Take", "address_in"]

STATUS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
"""The first line of a response."""
LARGE: Final = 64 * 1024
"""Bytes of a body that are not worth copying to send them with the head."""

_JSON: Final = b"content-type: application/json\r\n"

Take: TypeAlias = Callable[["Head", bytes, "Request"], bool]
"""Offers a whole request to an application that may answer it by `Request.answer`, without a task; false if it rather runs as any other."""


class Head:
    """The head of a request, which may be of others after it too.

    Attributes:
        scope: of the request, without its body.
        seen: what the application made of it; None before.
    """

    __slots__ = ("scope", "seen")

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.seen: Any = None


class Dialogue(Protocol):
    """See `meshproxy.http.conversation.Conversation`."""

    @property
    def receive(self) -> Receive: ...

    @property
    def send(self) -> Send: ...

    def run(self, app: Application) -> Coroutine[Any, Any, None]: ...


class Server(Protocol):
    """The server, as its connections see it; see `meshproxy.http.server.Http1Server`."""

    app: Application
    take: Take | None
    tasks: set[asyncio.Task[None]]
    now: float
    head_deadline: float
    date_line: bytes
    is_closing: bool
    is_deaf: bool
    is_secure: bool

    def converse(self, request: "Request") -> Dialogue: ...

    def tell_time(self) -> bytes: ...

    def refusal(self, status: int, reason: bytes = b"") -> bytes: ...

    def admit(self, connection: Any) -> None: ...

    def forget(self, connection: Any) -> None: ...


class Line:
    """The connection, as its requests see it.

    Attributes:
        server: whose it is.
        transport: where requests write their answers.
        is_gone: the client is, or soon will see that the server is.
        room: None, or while the client does not take what it was sent, what is set when it has.
    """

    __slots__ = ("is_gone", "room", "server", "transport")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.Transport
        self.room: asyncio.Event | None = None
        self.is_gone = False

    def taken(self, size: int) -> None:
        """So many bytes of a body wait no more."""
        raise NotImplementedError

    def ended(self, request: "Request") -> None:
        """A request is answered, or its application gave up: the next one's turn."""
        raise NotImplementedError


class Request:
    """Its connection fills `body`, and begins it, or its conversation, when it is its turn.

    Attributes:
        body: what has come of it and has not been given.
        may_stay: the connection may be used for another request after it.
        is_admitted: it is being answered, or waits for that.
        is_complete: its body came to its end.
        is_begun: some of the response is written.
        is_sent: all of it is.
        is_over: nothing more will come, or its client is gone.
        expects: the client waits to be told that its body is wanted.
        news: set when there is something new for `receive`; None while it does not wait.
        on_gone: told once if its client is gone before that.
        task: that of its conversation's `run`.
    """

    __slots__ = (
        "body",
        "connection",
        "expects",
        "is_admitted",
        "is_begun",
        "is_complete",
        "is_over",
        "is_sent",
        "may_stay",
        "news",
        "on_gone",
        "scope",
        "task",
    )

    def __init__(self, connection: Line, scope: dict[str, Any], may_stay: bool) -> None:  # noqa: FBT001  # a keyword costs
        self.body: list[bytes] = []
        self.may_stay = may_stay
        self.is_admitted = False
        self.is_complete = False
        self.is_begun = False
        self.is_sent = False
        self.on_gone: Callable[[], None] | None = None
        self.task: asyncio.Task[None]
        self.connection = connection
        self.scope = scope
        self.expects = False
        self.is_over = False
        self.news: asyncio.Event | None = None

    @property
    def address(self) -> str:
        """Of the client; "" if it has none."""
        return address_in(self.scope)

    @property
    def receive(self) -> Receive:
        """See `meshproxy.serving.reply.Reply`. It begins a conversation, so ask for it once, and for this or `send`."""
        return self.connection.server.converse(self).receive

    @property
    def send(self) -> Send:
        """As `receive`."""
        return self.connection.server.converse(self).send

    def expects_continue(self) -> bool:
        """Whether the client waits to be told that its body is wanted (RFC 9110, 10.1.1)."""
        self.expects = self.scope["http_version"] == "1.1" and any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self.scope["headers"]
        )
        return self.expects

    def cut(self) -> None:
        """Nothing more will come, or its client is gone."""
        self.is_over = True
        self.stir()
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None and not self.is_sent:
            on_gone()

    def stir(self) -> None:
        """There is something new for `receive`."""
        if self.news is not None:
            self.news.set()

    def answer(self, status: int, body: bytes = b"", lines: bytes = b"") -> None:
        """Send a whole response, of JSON, to a request that was not given to `Conversation.run`. `lines` are more of its header."""
        self.splice(status, [body] if body else [], lines)

    def splice(self, status: int, pieces: list[Any], lines: bytes = b"") -> None:
        """The same, of a body in pieces, each of them bytes or another buffer. Large ones are not copied."""
        connection = self.connection
        if connection.is_gone or self.is_begun:
            return
        server = connection.server
        if server.is_closing:
            self.may_stay = False
        size = 0
        for piece in pieces:
            size += len(piece)
        head = b"%b%b%bcontent-length: %d\r\n%b%b\r\n" % (
            STATUS[status],
            server.date_line or server.tell_time(),
            _JSON if size else b"",
            size,
            lines,
            b"" if self.may_stay else b"connection: close\r\n",
        )
        self.is_begun = self.is_sent = True
        self.on_gone = None
        pieces.insert(0, head)
        if size < LARGE:
            connection.transport.write(b"".join(pieces))
        else:
            connection.transport.writelines(pieces)
        connection.ended(self)


def address_in(scope: dict[str, Any]) -> str:
    """The address of the client in an ASGI scope; "" if it has none."""
    client = scope.get("client")
    return str(client[0]) if client else ""
