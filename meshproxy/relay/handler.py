"""`Handler`: what a downstream transport serves, the whole server without its wire; and `finish`, for who rather awaits a call. Place: relay."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, Outcome, Result
from meshproxy.relay.principal import Visitor

__all__ = ["Handler", "finish"]


class Handler(Protocol):
    """Whoever answers the requests of all clients."""

    def answer(self, call: Call) -> None:
        """Take a request, and end it in this step or a later one. Never blocks and never raises.

        `initialize` and `server/discover` come here too. An `RpcError` or an `UpstreamError` is an error answer; any other exception is a defect,
        which the transport logs and hides.
        """
        ...

    def on_notification(self, downstream: Downstream, method: str, params: dict[str, Any]) -> None:
        """Take note of a notification, in order. Never blocks. `notifications/cancelled` is the transport's own business."""
        ...

    def annotated_schema(self, visitor: Visitor, tool: str) -> dict[str, Any] | None:
        """The input schema of a tool that a visitor may use, if it has `x-mcp-header` annotations, for the check of `Mcp-Param-*` (SEP-2243)."""
        ...


async def finish(call: Call, start: Callable[[Call], None]) -> Result:
    """Start a call that has no step on its way back yet, and wait for its end; cancelling the waiting task gives it up. Raises its error."""
    answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    call.then(partial(_settle, answer))
    call.go(start)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        if not answer.done():
            # What was given up gives back what it was lent before whoever gave it up goes on.
            call.cancel()
            await asyncio.wait((answer,))
        answer.exception()
        raise


def _settle(answer: "asyncio.Future[Result]", _: Call, outcome: Outcome) -> None:
    if answer.done():
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
