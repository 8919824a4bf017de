"""Parked calls: a legacy upstream asks in the middle of a call, and the modern caller answers with its next request.

The upstream's call runs on in a task of the lot's. When it asks, the caller's request ends with an `InputRequiredResult` whose sealed
`requestState` names the call; the retry brings the answers and takes the call up again (2026-07-28 basic/patterns/mrtr). A state is good
for one retry: a call whose state is unknown is never run again, since it may have had effects.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from meshproxy.eras.seal import Sealer
from meshproxy.errors import INTERNAL_ERROR, INVALID_PARAMS, REQUEST_CANCELLED, RpcError
from meshproxy.relay.downstream import RequestContext, Result
from meshproxy.wire.codec import mapping
from meshproxy.wire.messages import Id
from meshproxy.wire.protocol import INPUT_REQUIRED

MAX_PARKED: Final = 1000
"""Calls that wait for answers at one time, of one principal; each holds an upstream's request open."""
BREATH: Final = 0.02
"""Seconds after a question in which another one belongs to the same round: what is asked at once comes in packets of their own."""
_TOKEN: Final = 16

Start = Callable[[RequestContext], Awaitable[Result]]


class ParkingLot:
    """All parked calls of one mesh."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._parked: dict[bytes, ParkedCall] = {}

    def __len__(self) -> int:
        return len(self._parked)

    async def run(self, context: RequestContext, binding: bytes, start: Start) -> Result:
        """Make a call that may ask: its result, or the questions that it asks first."""
        principal = context.downstream.visitor.principal.identity
        if sum(call.principal == principal for call in self._parked.values()) >= MAX_PARKED:
            raise RpcError(INTERNAL_ERROR, "too many calls of yours wait for answers; answer or abandon some first")
        return await self._attend(ParkedCall(context, start), context, binding)

    async def resume(self, context: RequestContext, binding: bytes, state: Any, responses: Any) -> Result:
        """Take a parked call up again with the client's answers.

        Raises:
            RpcError: -32602 if the state is not one that this caller may use now, or an answer is no object.
        """
        token = self._sealer.open(state, binding)
        answers = {} if responses is None else mapping(responses)
        if answers is None or any(mapping(answer) is None for answer in answers.values()):
            raise RpcError(INVALID_PARAMS, "inputResponses must be an object of result objects")
        call = self._parked.pop(token, None)
        if call is None:
            raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
        call.answer(answers)
        return await self._attend(call, context, binding)

    def holds(self, state: Any, binding: bytes) -> bool:
        """Whether a state names a call that is parked here now."""
        try:
            return self._sealer.open(state, binding) in self._parked
        except RpcError:
            return False

    async def aclose(self) -> None:
        """Give up every call that is parked."""
        parked, self._parked = self._parked, {}
        for call in parked.values():
            await call.abandon()

    async def _attend(self, call: "ParkedCall", context: RequestContext, binding: bytes) -> Result:
        try:
            questions = await call.attend(context)
        except asyncio.CancelledError:
            await call.abandon()
            raise
        if questions is None:
            return call.task.result()
        token = secrets.token_bytes(_TOKEN)
        self._parked[token] = call
        call.park(self._sealer.ttl, lambda: self._parked.pop(token, None))
        return {
            "resultType": INPUT_REQUIRED,
            "inputRequests": questions,
            "requestState": self._sealer.seal(token, binding),
        }


class ParkedCall(RequestContext):
    """A call that outlives the requests that attend to it; to the upstream's side it is the request itself."""

    def __init__(self, context: RequestContext, start: Start) -> None:
        self.downstream = context.downstream
        self.request_id: Id = context.request_id
        self.headers: Mapping[str, str] = context.headers
        # That of whichever request attends now.
        self.progress_token: Id | None = context.progress_token
        self.principal = context.downstream.visitor.principal.identity
        self._attended: RequestContext | None = context
        self._open: dict[str, tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]] = {}
        self._count = 0
        self._changed: asyncio.Event = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self.task: asyncio.Task[Result] = asyncio.ensure_future(start(self))
        self.task.add_done_callback(lambda _: self._changed.set())

    @property
    def can_send_request(self) -> bool:
        return not self.task.done()

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        # While nobody attends, there is no stream to say it on: the modern era has none but a request's own.
        if self._attended is not None:
            self._attended.notify(method, params)

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        self._count += 1
        key = f"input-{self._count}"
        # The id of a URL elicitation, and its completion, do not exist in the modern era.
        told = {name: value for name, value in (params or {}).items() if name != "elicitationId"}
        question: dict[str, Any] = {"method": method} if params is None else {"method": method, "params": told}
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._open[key] = (question, answer)
        self._changed.set()
        try:
            return await answer
        finally:
            self._open.pop(key, None)

    async def attend(self, context: RequestContext) -> dict[str, Any] | None:
        """Wait until the call is done (None) or asks something (the input requests, by key)."""
        self._attended = context
        self.progress_token = context.progress_token
        # What a client can do, each request says anew.
        self.downstream = context.downstream
        if self._expiry is not None:
            self._expiry.cancel()
        try:
            while not self.task.done():
                if self._open:
                    await self._settled()
                if self._open and not self.task.done():
                    return {key: question for key, (question, _) in self._open.items()}
                self._changed.clear()
                if not self.task.done():
                    await self._changed.wait()
            return None
        finally:
            self._attended = self.progress_token = None

    async def _settled(self) -> None:
        """Wait until no more is asked in the same breath: one round of the client is worth more than a moment of ours."""
        asked = 0
        while asked < self._count and not self.task.done():
            asked = self._count
            await asyncio.wait({self.task}, timeout=BREATH)

    def answer(self, answers: Mapping[str, Any]) -> None:
        """Hand in what the client answered; what it left out is asked again, and what nobody asked is ignored."""
        for key, value in answers.items():
            _, answer = self._open.pop(key, (None, None))
            if answer is not None and not answer.done():
                answer.set_result(mapping(value) or {})

    def park(self, ttl: float, forget: Callable[[], object]) -> None:
        """Wait for the retry for `ttl` seconds, then give up."""

        def expire() -> None:
            forget()
            self._ending = asyncio.ensure_future(self.abandon())

        self._expiry = asyncio.get_running_loop().call_later(ttl, expire)

    async def abandon(self) -> None:
        """Cancel the call at the upstream; its questions end as cancelled."""
        if self._expiry is not None:
            self._expiry.cancel()
        self.task.cancel()
        for _, answer in self._open.values():
            if not answer.done():
                answer.set_exception(RpcError(REQUEST_CANCELLED, "the client gave the call up"))
        await asyncio.wait({self.task})
        if not self.task.cancelled():
            # Nobody is there to hear how it failed.
            self.task.exception()
