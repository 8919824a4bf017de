"""`Questions`: the requests that an upstream sends us, each answered by a task of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from meshproxy.errors import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from meshproxy.wire.codec import JsonError
from meshproxy.wire.message import id_in
from meshproxy.wire.messages import Id, Request, closed_params, encode_error, encode_result

log = structlog.get_logger(__name__)

Answerer = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Answers a question, by its method and its shallow parameters, or raises `RpcError`."""

PATIENCE: Final = 1.0
"""Seconds that cancelled questions have to end when their link is closed."""


class Questions:
    """The questions of one link that are not answered yet.

    `send` takes each answer; it must not wait.
    """

    def __init__(self, upstream: str, send: Callable[[bytes], None]) -> None:
        self._upstream = upstream
        self._send = send
        self._tasks: dict[Id, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def ask(self, message: Request, answerer: Answerer) -> asyncio.Task[None] | None:
        """Have a question answered. `ping` is answered at once: it asks whether the link lives (basic/utilities/ping)."""
        request_id, method = message.id, message.method
        if method == "ping":
            self._send(encode_result(request_id, {}))
            return None
        try:
            params = closed_params(message)
        except JsonError:
            self._send(encode_error(request_id, RpcError(INVALID_PARAMS, f"the params of {method} must be an object")))
            return None
        task = asyncio.create_task(self._answer(request_id, method, params, answerer))
        self._tasks[request_id] = task
        task.add_done_callback(lambda ended: self._forget(request_id, ended))
        return task

    def cancel(self, request_id: Any) -> bool:
        """The upstream takes a question back, by what may or may not be its id. Says whether somebody is being asked, who hears of it in the next step."""
        named = id_in(request_id)
        found = None if named is None else self._tasks.get(named)
        return found is not None and found.cancel()

    def cancel_all(self) -> None:
        """Nobody waits for any answer any more."""
        for task in self._tasks.values():
            task.cancel()

    async def aclose(self) -> None:
        """Cancel all of them and wait for their end, a moment at most."""
        self.cancel_all()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def _answer(self, request_id: Id, method: str, params: dict[str, Any], answerer: Answerer) -> None:
        try:
            self._send(encode_result(request_id, await answerer(method, params)))
        except RpcError as error:
            self._send(encode_error(request_id, error))
        except Exception:
            log.exception("upstream.question_failed", upstream=self._upstream, method=method)
            self._send(encode_error(request_id, RpcError(INTERNAL_ERROR, "the question could not be answered")))

    def _forget(self, request_id: Id, task: asyncio.Task[None]) -> None:
        if self._tasks.get(request_id) is task:
            del self._tasks[request_id]
