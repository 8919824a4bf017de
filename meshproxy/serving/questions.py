"""What was asked of a client and is not answered yet. Place: serving."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from meshproxy.errors import INTERNAL_ERROR, RpcError
from meshproxy.wire.codec import mapping
from meshproxy.wire.mending import own_id
from meshproxy.wire.messages import Answer, Id, encode_notification, encode_request

__all__ = ["Questions"]


class Questions:
    """The requests of a server to one client, by the ids that it gave them: integers, unique as long as the client lives."""

    __slots__ = ("_count", "_open")

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[Id, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, say: Callable[[bytes], None], method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Send a request with `say` and wait for its result, a shallow dictionary; if the waiting ends first, say that too.

        Raises:
            RpcError: the client refused, or is gone.
        """
        self._count += 1
        number = self._count
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        say(encode_request(number, method, params))
        try:
            return await answer
        except asyncio.CancelledError:
            say(encode_notification("notifications/cancelled", {"requestId": number}))
            raise
        finally:
            self._open.pop(number, None)

    def answer(self, answer: Answer) -> None:
        """Hand a client's answer to who waits for it; one that nobody waits for is dropped."""
        number = own_id(answer.id)
        waiting = None if number is None else self._open.get(number)
        if waiting is None or waiting.done():
            return
        outcome = answer.outcome
        if isinstance(outcome, RpcError):
            waiting.set_exception(outcome)
        elif (result := mapping(outcome)) is None:
            waiting.set_exception(RpcError(INTERNAL_ERROR, "the client answered with a result that is no object"))
        else:
            waiting.set_result(result)

    def refuse(self, reason: str) -> None:
        """End every question with an error: the client is gone."""
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_exception(RpcError(INTERNAL_ERROR, reason))
