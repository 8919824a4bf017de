"""A link whose every answer the test decides."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.links.call import Call, Done, GiveUp
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.faults import Faults
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.wire.codec import Raw, dumps
from meshproxy.wire.protocol import LATEST_LEGACY, LATEST_MODERN, Era
from tests.kit.clients import decoded
from tests.kit.waiting import Changes

Answer = Callable[[dict[str, Any], Call | None], Any]

ALL: dict[str, Any] = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
}


class Wire(Link):
    """`answers` holds, by method, a result, an error, or a function of the parameters and the call, sync or async.

    `sent` are the requests as they left, `told` the notifications.
    """

    def __init__(self, era: Era = Era.LEGACY, capabilities: dict[str, Any] | None = None, **answers: Any) -> None:
        self.upstream = "up"
        self.faults = Faults("up")
        self.era = era
        self.version = LATEST_LEGACY if era is Era.LEGACY else LATEST_MODERN
        self.server = {"capabilities": ALL if capabilities is None else capabilities}
        self.send = self._send
        self.calls: dict[int, Call | None] = {}
        self.given_up: dict[int, Call | None] = {}
        self.answers: dict[str, Any] = {name.replace("__", "/"): answer for name, answer in answers.items()}
        self.sent: list[tuple[str, Any]] = []
        self.told: list[tuple[str, Any]] = []
        self.listens = 0
        self.closed: str | None = None
        self._count = 0
        self.changes = Changes()
        self._open_requests: set[asyncio.Future[Any]] = set()

    def next_id(self) -> int:
        self._count += 1
        return self._count

    def _send(self, method: str, params: dict[str, Any], call: Call | None, done: Done) -> GiveUp:
        task = asyncio.ensure_future(self._carried(method, params, call))
        task.add_done_callback(
            lambda _: done(asyncio.CancelledError() if task.cancelled() else task.exception() or task.result())
        )
        return lambda: task.cancel() and None

    async def _carried(self, method: str, params: dict[str, Any], call: Call | None) -> Raw:
        if self.closed is not None:
            raise UpstreamUnavailable(self.upstream, self.closed)
        number = self.next_id()
        self.calls[number] = call
        self.sent.append((method, decoded(params)))
        self.changes.made()
        answer = self.answers.get(method, {})
        try:
            if callable(answer):
                answer = answer(params, call)
            if isinstance(answer, Awaitable):
                answering = asyncio.ensure_future(answer)
                self._open_requests.add(answering)
                try:
                    answer = await answering
                except asyncio.CancelledError:
                    if self.closed is not None and not (asyncio.current_task() or answering).cancelling():  # type: ignore[union-attr]
                        raise AnswerLost(self.upstream, self.closed) from None
                    raise
                finally:
                    answering.cancel()
                    self._open_requests.discard(answering)
        finally:
            del self.calls[number]
        if isinstance(answer, RpcError):
            raise answer
        return answer if isinstance(answer, Raw) else Raw(dumps(answer))

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        self.told.append((method, params))

    async def listen(self) -> None:
        self.listens += 1

    async def aclose(self) -> None:
        self.close("the link is closed")

    def close(self, reason: str) -> None:
        """End it as the other side would."""
        if self.closed is None:
            self.closed = reason
            self.is_open = False
            if self.tasks is not None:
                self.tasks.end(reason)
            for answering in self._open_requests:
                answering.cancel()

    def of(self, method: str) -> list[Any]:
        return [params for sent, params in self.sent if sent == method]

    async def until(self, method: str, count: int = 1) -> Any:
        """The parameters of the `count`th request of a method, as soon as it was sent."""
        [params] = await self.changes.until(lambda: self.of(method)[count - 1 : count], lambda: self.sent)
        return params


class Gate:
    """An answer that waits until it is let through."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = {} if answer is None else answer
        self.entered, self.open, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, _params: dict[str, Any], _call: Call | None) -> Any:
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self.answer


class WireEndpoint(Endpoint):
    """An upstream that is reached over the next of some wires; `listeners` are those who hear of what it says."""

    def __init__(self, *wires: Wire, name: str = "up") -> None:
        super().__init__(name)
        self.wires = list(wires)
        self.listeners: list[Listener] = []
        self.declared: list[dict[str, Any]] = []
        self.closed = 0
        self.ready = asyncio.Event()
        self.ready.set()

    async def connect(
        self,
        *,
        client: dict[str, Any],
        capabilities: dict[str, Any],
        listener: Listener,
        timeout: float | None,
        era: Era | None = None,
    ) -> Link:
        await self.ready.wait()
        if not self.wires:
            raise UpstreamUnavailable(self.name, "there is no wire left")
        self.listeners.append(listener)
        self.declared.append(capabilities)
        return self.wires.pop(0)

    async def aclose(self) -> None:
        """Count it: each wire is closed by whoever opened it."""
        self.closed += 1

    def statistics(self) -> dict[str, Any]:
        return {}
