"""`ReadResponse`: a response whose body somebody waits for. Place: http, between `response` and `client`."""

import asyncio

from meshproxy.http.response import Response, too_large

__all__ = ["ReadResponse"]


class ReadResponse(Response):
    """What a client hands out. A body that is not whole is read: ``await read()``, or ``async for chunk in response`` (with back-pressure)."""

    async def read(self) -> bytes:
        """The rest of the body.

        Raises:
            BodyTooLarge: it is larger than the client's ``max_body``; the connection is closed.
            TransportError: it broke off.
        """
        if self._ended and self._error is None:
            if self._streamed and self._max_body is not None and len(self.body) > self._max_body:
                raise too_large(self._max_body)
            return self.body
        taken: list[bytes] = []
        size = 0
        async for chunk in self:
            taken.append(chunk)
            size += len(chunk)
            if self._max_body is not None and size > self._max_body:
                self.close()
                raise too_large(self._max_body)
        self._chunks = [b"".join(taken)]
        return self.body

    def __aiter__(self) -> "ReadResponse":
        return self

    async def __anext__(self) -> bytes:
        """What has arrived of the body since the last time; never empty."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = self.body
        self._chunks = []
        self._size = 0
        self.resume()
        if not chunk:
            raise StopAsyncIteration
        return chunk
