"""One request over HTTP while it is carried out, as both eras share it. Place: serving.

The handler runs in the task of the HTTP request itself, and the answer is one JSON body: nothing else is made for a call that is
quick and silent. What takes longer than `QUICK` seconds gets a watcher, which notices that the client left; what has something
to say before its answer, or is silent for the keep-alive time, gets an event stream.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog

from meshproxy.errors import INTERNAL_ERROR, RpcError, UpstreamError
from meshproxy.relay.downstream import Downstream, Handler, RequestContext
from meshproxy.serving.response import JSON
from meshproxy.serving.settings import HttpSettings
from meshproxy.serving.stream import EventStream, Receive, Send
from meshproxy.wire.messages import Id, encode_error, encode_result
from meshproxy.wire.protocol import HTTP_STATUS, META_PROGRESS

__all__ = ["HeaderView", "HttpExchange", "progress_token_of", "rpc_error_of"]

log = structlog.get_logger(__name__)

QUICK: Final = 0.05


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


def progress_token_of(params: Mapping[str, Any]) -> Id | None:
    """What a request wants its progress told under; None for none, or for what is no token."""
    meta = params.get("_meta")
    token = meta.get(META_PROGRESS) if meta else None
    return token if isinstance(token, int | str) and not isinstance(token, bool) else None


def rpc_error_of(error: Exception, method: str) -> RpcError:
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
        status: of the response, as long as it is not a stream.
        stream: where events go, once there is one.
        task: that of the HTTP request, in which the handler runs; None before.
    """

    __slots__ = (
        "_cause",
        "_receive",
        "_send",
        "_settings",
        "_timer",
        "_watcher",
        "answered",
        "downstream",
        "headers",
        "progress_token",
        "request_id",
        "status",
        "stream",
        "task",
    )

    def __init__(
        self,
        downstream: Downstream,
        request_id: Id,
        params: dict[str, Any],
        raw_headers: list[tuple[bytes, bytes]],
        receive: Receive,
        send: Send,
        settings: HttpSettings,
    ) -> None:
        self.downstream = downstream
        self.request_id = request_id
        self.progress_token = progress_token_of(params)
        self.headers = HeaderView(raw_headers)
        self.answered = False
        self.status = 200
        self.stream: EventStream | None = None
        self._receive = receive
        self._send = send
        self._settings = settings
        self.task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._cause: RpcError | None = None

    async def carry_out(self, handler: Handler, method: str, params: dict[str, Any]) -> bytes:
        """Run the handler and return its answer, encoded; `status` says what HTTP makes of it."""
        self.task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(QUICK, self._settle_in)
        try:
            return encode_result(self.request_id, await handler.on_request(self, method, params))
        except asyncio.CancelledError:
            if self._cause is None:
                raise
            error = self._cause
        except Exception as exception:  # noqa: BLE001  # whatever a handler raises, its client gets an answer
            error = rpc_error_of(exception, method)
        finally:
            self.answered = True
            self._timer.cancel()
            if self._watcher is not None:
                self._watcher.cancel()
            if self._cause is not None and self.task is not None:
                self.task.uncancel()
        self.status = HTTP_STATUS.get(error.code, 200)
        return encode_error(self.request_id, error)

    def cancel(self, cause: RpcError) -> None:
        """Cancel the handler, if it still runs; `cause` is then the answer."""
        if self._cause is None and not self.answered and self.task is not None:
            self._cause = cause
            self.task.cancel()

    async def respond(self, body: bytes, status: int) -> None:
        """Send the whole response as JSON."""
        headers = [JSON, (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    @abstractmethod
    def open_stream(self) -> None:
        """Answer with an event stream; nothing if there is one."""

    @abstractmethod
    def disconnected(self) -> None:
        """The client closed its connection before it had the answer."""

    def _settle_in(self) -> None:
        """It takes longer: watch the client, and say something before anybody on the way thinks that the connection is dead."""
        loop = asyncio.get_running_loop()
        self._watcher = loop.create_task(self._watch())
        self._timer = loop.call_later(self._settings.keepalive, self.open_stream)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.disconnected()
