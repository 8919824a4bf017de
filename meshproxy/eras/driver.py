"""The input driver: a modern upstream answers a call with questions; the legacy client is asked, and the call is made again with its answers.

The retry is the protocol's own (2026-07-28 basic/patterns/mrtr): an `InputRequiredResult` says that the call was not carried out.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from meshproxy.errors import INTERNAL_ERROR, RpcError
from meshproxy.relay.call import Call
from meshproxy.wire.codec import mapping, opened
from meshproxy.wire.protocol import INPUT_REQUIRED, QUESTIONS

MAX_ROUNDS: Final = 32
"""Rounds after which an upstream that only asks is given up."""
_PAUSES: Final = (0.05, 0.1, 0.25)
"""Seconds before a retry that has nothing new to say but its state."""

Attempt = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def drive(call: Call, params: dict[str, Any], attempt: Attempt, first: dict[str, Any]) -> dict[str, Any]:
    """Repeat a call with `attempt(params)` until its result is complete, asking the client in between. `first` is the result of the first attempt.

    Raises:
        RpcError: the upstream's error, the client's refusal, or -32603 after `MAX_ROUNDS`.
    """
    result, rounds = first, 0
    while opened(result.get("resultType")) == INPUT_REQUIRED:
        if rounds == MAX_ROUNDS:
            raise RpcError(INTERNAL_ERROR, f"the upstream asked for input {MAX_ROUNDS} times without a result")
        questions = mapping(result.get("inputRequests")) or {}
        answers = await _answers(call, questions.values())
        if not questions:
            await asyncio.sleep(_PAUSES[min(rounds, len(_PAUSES) - 1)])
        retry = {key: value for key, value in params.items() if key not in ("inputResponses", "requestState")}
        if answers:
            retry["inputResponses"] = dict(zip(questions, answers, strict=True))
        if "requestState" in result:
            retry["requestState"] = result["requestState"]
        result = await attempt(retry)
        rounds += 1
    return result


async def _answers(call: Call, questions: Iterable[Any]) -> list[dict[str, Any]]:
    """Ask everything at once; if one is refused in a way that ends the call, the client is not kept busy with the others."""
    asking = [asyncio.ensure_future(_answer(call, question)) for question in questions]
    try:
        return await asyncio.gather(*asking)
    finally:
        for one in asking:
            one.cancel()


async def _answer(call: Call, question: Any) -> dict[str, Any]:
    asked = mapping(question) or {}
    method = opened(asked.get("method"))
    if not isinstance(method, str) or method not in QUESTIONS:
        raise RpcError(INTERNAL_ERROR, f"the upstream asked for the unknown input {method!r}")
    params = mapping(asked.get("params")) or {}
    if opened(params.get("mode")) == "url" and "elicitationId" not in params:
        # Required by the legacy era, unknown to the modern one.
        params["elicitationId"] = str(uuid.uuid4())
    try:
        return await call.on_request(method, params)
    except RpcError:
        if method != "elicitation/create":
            raise
        # An answer is all that a retry can carry: a client that cannot say yes or no has cancelled.
        return {"action": "cancel"}
