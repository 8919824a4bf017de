"""Clients of both eras that call all the time, as the protocol says, and none of whose calls may fail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx2
from tests.kit.messages import call, heads, modern, request
from tests.kit.waiting import DEADLINE, eventually, within

__all__ = ["Callers", "callers"]

BEGINNING = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class Callers:
    """`done` says how many calls have gone well, and `begun` how many sessions were begun."""

    def __init__(self) -> None:
        self.done = 0
        self.begun = 0
        self.failed: list[str] = []
        self.stopping = asyncio.Event()

    async def some_more(self, count: int = 20) -> None:
        """Wait for so many further calls."""
        until = self.done + count
        await eventually(lambda: self.done >= until or self.failed)
        assert self.failed == []


@contextlib.asynccontextmanager
async def callers(url: str, count: int = 6) -> AsyncIterator[Callers]:
    """So many, until the block ends: half of them of each era, and of each half one half over a connection that it keeps while it may."""
    all_ = Callers()

    async def post(kept: httpx2.AsyncClient | None, body: object, **headers: str) -> httpx2.Response:
        if kept is not None:
            return await kept.post(url, json=body, headers=heads(**headers))
        async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as once:
            return await once.post(url, json=body, headers=heads(**headers))

    async def call_on(kept: httpx2.AsyncClient | None, *, is_modern: bool) -> None:
        session: dict[str, str] = {}
        while not all_.stopping.is_set():
            body, headers = modern(call("a_echo", 7)) if is_modern else (call("a_echo", 7), session)
            if not headers:
                answer = await post(kept, request("initialize", BEGINNING))
                session = {"mcp_session_id": answer.headers["mcp-session-id"], "mcp_protocol_version": "2025-11-25"}
                all_.begun += 1
                continue
            answer = await post(kept, body, **headers)
            if answer.status_code == 404 and not is_modern:
                # Its session is gone: "MUST start a new session" (basic/transports, 2025-11-25).
                session = {}
            elif answer.status_code != 200 or "result" not in answer.json():
                all_.failed.append(answer.text)
            else:
                all_.done += 1

    async def one(number: int) -> None:
        try:
            if number % 4 < 2:
                async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as kept:
                    await call_on(kept, is_modern=number % 2 == 0)
            else:
                await call_on(None, is_modern=number % 2 == 0)
        except httpx2.HTTPError as error:
            all_.failed.append(repr(error))

    tasks = [asyncio.ensure_future(one(number)) for number in range(count)]
    try:
        await all_.some_more()
        yield all_
        all_.stopping.set()
        await within(asyncio.gather(*tasks))
        assert all_.failed == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
