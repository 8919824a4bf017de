"""One request over HTTP while it is carried out, as both eras share it. Place: serving.

The answer is one JSON body; what has something to say before its answer, or is silent for the keep-alive time, gets an event stream.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import structlog

from meshproxy.errors import INTERNAL_ERROR, RpcError, UpstreamError
from meshproxy.http.deadlines import Deadlines
from meshproxy.http.stream import EventStream
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import FAILED, Downstream, Outcome, RequestContext
from meshproxy.relay.handler import Handler
from meshproxy.serving.reply import Reply
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.messages import Id, encode_error, result_pieces
from meshproxy.wire.protocol import HTTP_STATUS, META_PROGRESS

__all__ = ["HeaderView", "HttpExchange", "progress_token_of", "rpc_error_of", "speak"]

log = structlog.get_logger(__name__)


class HeaderView(Mapping[str, str]):
    """The raw headers of a request as a mapping of lower-case names; nothing is decoded before it is asked for."""

    __slots__ = ("_raw",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode("latin-1", "replace")
        values = [value for key, value in self._raw if key == wanted]
        if not values:
            raise KeyError(name)
        return b", ".join(values).decode("latin-1").strip()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1") for key, _ in self._raw))

    def __len__(self) -> int:
        return len({key for key, _ in self._raw})


def progress_token_of(params: dict[str, Any]) -> Id | None:
    """What a request wants its progress told under; None for none, or for what is no token."""
    meta = params.get("_meta")
    token = meta.get(META_PROGRESS) if meta else None
    return token if isinstance(token, (int, str)) and not isinstance(token, bool) else None


def rpc_error_of(error: BaseException, method: str) -> RpcError:
    """What a client is told of an exception of the handler: of a defect, nothing but that there is one."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, UpstreamError):
        return error.rpc
    log.error("request.failed", method=method, exc_info=error)
    return RpcError(INTERNAL_ERROR, "Internal error")


class HttpExchange(RequestContext):
    """The part of a `RequestContext` that is the same in both eras.

    Attributes:
        answered: set when the handler is done; from then on nothing may be said.
        call: what the handler was given; None before and after.
        cause: why it was cancelled; None if it was not.
        reply: where the response goes.
        status: of the response, as long as it is not a stream.
        stream: where events go, once there is one.
    """

    __slots__ = (
        "_ending",
        "_raw_headers",
        "_silence",
        "answered",
        "call",
        "cause",
        "reply",
        "settings",
        "status",
        "stream",
    )

    def __init__(
        self,
        downstream: Downstream,
        request_id: Id,
        params: dict[str, Any],
        raw_headers: list[tuple[bytes, bytes]],
        reply: Reply,
        settings: HttpSettings,
    ) -> None:
        self.downstream = downstream
        self.request_id = request_id
        self.progress_token = progress_token_of(params)
        self._raw_headers = raw_headers
        self.answered = False
        self.status = 200
        self.stream: EventStream | None = None
        self.reply = reply
        self.settings = settings
        self.call: Call | None = None
        self.cause: RpcError | None = None
        self._silence: Deadlines[HttpExchange] | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]  # made when it is asked for, which is hardly ever
        return HeaderView(self._raw_headers)

    def start(self, handler: Handler, method: str, params: dict[str, Any], silence: "Deadlines[HttpExchange]") -> None:
        """Let the handler answer. `silence` is told how long nothing may be said meanwhile."""
        self._silence = silence
        silence.add(self, self.settings.keepalive)
        self.reply.on_gone = self.disconnected
        self.call = call = Call(self, method, params)
        call.then(self._ended)
        handler.answer(call)

    @abstractmethod
    def deliver(self, answer: list[Any]) -> None:
        """Send the answer, on whatever there is by now. It comes in pieces, see `result_pieces`."""

    @property
    def ending(self) -> "asyncio.Future[None]":
        """Done when the request is answered."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_future()
            if self.answered:
                self._ending.set_result(None)
        return self._ending

    def _ended(self, call: Call, outcome: Outcome) -> None:
        self.answered = True
        self.call = None
        if self._silence is not None:
            self._silence.discard(self)
        if not isinstance(outcome, FAILED):
            answer = result_pieces(self.request_id, outcome)
        else:
            error = self.cause or rpc_error_of(outcome, call.method)
            self.status = HTTP_STATUS.get(error.code, 200)
            answer = [encode_error(self.request_id, error)]
        self.deliver(answer)
        if self._ending is not None:
            self._ending.set_result(None)

    def cancel(self, cause: RpcError) -> None:
        """Give the call up, if it still runs; `cause` is then the answer."""
        if self.cause is None and self.call is not None:
            self.cause = cause
            self.call.cancel()

    @abstractmethod
    def open_stream(self) -> None:
        """Answer with an event stream; nothing if there is one."""

    @abstractmethod
    def disconnected(self) -> None:
        """The client closed its connection before it had the answer."""


def speak(exchange: HttpExchange) -> None:
    """A request has been silent for the keep-alive time."""
    exchange.open_stream()
