"""`SessionStream`: the event stream of a legacy session for what belongs to no call, kept up as long as its session lives.

Source: 2025-11-25 basic/transports, "ListenStream for Messages from the Server" and "Resumability and Redelivery".
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from meshproxy.errors import UpstreamError
from meshproxy.http.client import Response, TransportError, encode_headers
from meshproxy.http.response import OnHead
from meshproxy.links.exchange import Exchange, is_stream
from meshproxy.links.headers import RESUME_HEADER

OPENING: Final = 1.0
"""Seconds that `open` waits for the stream; an upstream may withhold the head until it has something to say."""
MAX_UNREACHABLE: Final = 3
"""Attempts in a row that found nobody, until the session is given up."""
RETRY: Final = 1.0
"""Seconds before a stream is opened again if the upstream names no time."""
MAX_RETRY: Final = 30.0


class SessionStream:
    """One stream at a time, by a task of its own.

    Args:
        get: asks for an event stream, see `HttpClient.request`; an `UpstreamError` says that there is none.
        head: makes the header lines of the session's requests for an event stream.
        stream: takes the messages apart.
        on_lost: told the reason if nobody is there any more, and None if the session is not known any more.
    """

    def __init__(
        self,
        get: Callable[[bytes, OnHead], Awaitable[Response]],
        head: Callable[[], bytes],
        stream: Exchange,
        on_lost: Callable[[str | None], None],
    ) -> None:
        self._get = get
        self._head = head
        self._stream = stream
        self._on_lost = on_lost
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._was_open = False

    async def open(self) -> None:
        """Begin, and wait a moment for the stream to be there. That there is none is no error: it is the upstream's choice."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())
            self._task.add_done_callback(lambda _: self._settle())
        await asyncio.wait([self._opened], timeout=OPENING)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = unreachable = 0
        while True:
            last, begun = self._stream.last_event_id, loop.time()
            head = self._head() if last is None else self._head() + encode_headers({RESUME_HEADER: last})
            try:
                response = await self._get(head, self._on_head)
            except UpstreamError:
                return
            except TransportError as error:
                unreachable = 0 if error.sent else unreachable + 1
                if unreachable == MAX_UNREACHABLE:
                    self._on_lost(str(error))
                    return
            else:
                unreachable = 0
                # Many servers of the TypeScript SDK's examples say 400 of a session that they do not know.
                if response.status == 404 or (response.status == 400 and self._was_open):
                    self._on_lost(None)
                    return
                if not is_stream(response) and response.status < 500 and response.status != 429:
                    # There is none: 405, or something else that will not change.
                    return
            self._settle()
            await asyncio.sleep(pause(self._stream.retry, failures))
            failures = 0 if loop.time() - begun > MAX_RETRY else failures + 1

    def _on_head(self, response: Response) -> None:
        self._stream.on_head(response)
        self._was_open = self._was_open or is_stream(response)
        self._settle()

    def _settle(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)


def pause(retry: int | None, failures: int) -> float:
    """Seconds to wait before a stream is opened again: `retry` milliseconds if the upstream asks so, longer after failures."""
    asked = RETRY if retry is None else retry / 1000
    return min(asked * 2.0**failures, MAX_RETRY)
