"""`answered`: a request whose sender waits for its end. Place: links, under `link`, which is compiled and waits for nothing."""

import asyncio
from functools import partial
from typing import Any

from meshproxy.links.call import Call, Send
from meshproxy.wire.codec import Raw

__all__ = ["answered", "settle"]


async def answered(send: Send, method: str, params: dict[str, Any], call: Call | None) -> Raw:
    """`send` a request and wait for its end; see `Link.request`."""
    answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
    give_up = send(method, params, call, partial(settle, answer))
    try:
        return await answer
    except asyncio.CancelledError:
        give_up()
        raise


def settle(answer: "asyncio.Future[Raw]", outcome: Raw | BaseException) -> None:
    """Hand what a request ended with to who waits for it, if anybody still does."""
    if answer.done():
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
