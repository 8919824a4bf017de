"""The long way of a request over HTTP: the handler carries it out in the task of the HTTP request itself. Place: serving.

If that takes longer than `QUICK` seconds, it gets a watcher, which notices that the client left.
"""

import asyncio
from typing import Any, Final

from meshproxy.relay.downstream import Handler
from meshproxy.serving.exchange import HttpExchange, rpc_error_of
from meshproxy.wire.messages import encode_error, encode_result
from meshproxy.wire.protocol import HTTP_STATUS

__all__ = ["carry_out"]

QUICK: Final = 0.05


async def carry_out(exchange: HttpExchange, handler: Handler, method: str, params: dict[str, Any]) -> bytes:
    """Run the handler and return its answer, encoded; the exchange's `status` says what HTTP makes of it."""
    exchange.task = task = asyncio.current_task()
    watch = _Watch(exchange)
    try:
        return encode_result(exchange.request_id, await handler.on_request(exchange, method, params))
    except asyncio.CancelledError:
        if exchange.cause is None:
            raise
        error = exchange.cause
    except Exception as exception:  # noqa: BLE001  # whatever a handler raises, its client gets an answer
        error = rpc_error_of(exception, method)
    finally:
        exchange.answered = True
        watch.end()
        if exchange.cause is not None and task is not None:
            task.uncancel()
    exchange.status = HTTP_STATUS.get(error.code, 200)
    return encode_error(exchange.request_id, error)


class _Watch:
    """Looks after a request that takes longer."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(QUICK, self._begin)
        self._watcher: asyncio.Task[None] | None = None

    def end(self) -> None:
        """It is answered."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _begin(self) -> None:
        """Watch the client, and say something before anybody on the way thinks that the connection is dead."""
        self._watcher = self._loop.create_task(self._watch())
        self._timer = self._loop.call_later(self._exchange.settings.keepalive, self._exchange.open_stream)

    async def _watch(self) -> None:
        while (await self._exchange.reply.receive())["type"] != "http.disconnect":
            pass
        self._exchange.disconnected()
