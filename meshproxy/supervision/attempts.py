"""`Attempts`: what becomes of the attempts to reach one upstream: how often they failed, and when the next one is. Place: supervision, above `backoff`."""

import asyncio
import random
import time
from typing import Any

from meshproxy.errors import RpcError, UpstreamError
from meshproxy.supervision.backoff import Backoff
from meshproxy.supervision.condition import stamped

__all__ = ["Attempts", "wait", "woken"]


class Attempts:
    """Those of one upstream, by the monotonic clock."""

    def __init__(self) -> None:
        self._backoff = Backoff()

    def status(self) -> dict[str, Any]:
        """How often it failed in a row, and when it is tried again, if that is not now; for people."""
        status: dict[str, Any] = {}
        if self._backoff.failures:
            status["failures"] = self._backoff.failures
        if self._backoff.due is not None:
            status["next_attempt"] = stamped(time.time() + max(0.0, self._backoff.due - time.monotonic()))
        return status

    def may_hurry(self, now: float) -> bool:
        """Whether somebody's need is reason enough to try before the time."""
        return self._backoff.may_hurry(now)

    def succeeded(self, opened_at: float) -> None:
        """It is connected and listed, since then."""
        self._backoff.came_up(opened_at)

    def failed(self, error: UpstreamError | RpcError) -> tuple[str, float]:
        """An attempt failed, or the link was lost: the reason, and the seconds until the next attempt."""
        lasting, asked = (error.is_lasting, error.retry_after) if isinstance(error, UpstreamError) else (False, None)
        chance = random.random()  # noqa: S311  # spreads attempts, guards nothing
        pause = self._backoff.failed(time.monotonic(), chance, asked=asked, is_lasting=lasting)
        reason = error.reason if isinstance(error, UpstreamError) else error.message
        if self._backoff.is_loop:
            reason = f"it ends again and again soon after it has come up: {reason}"
        return reason, pause

    async def rest(self, wake: asyncio.Event) -> None:
        """Wait until it is time for the next one, or somebody wakes us."""
        if self._backoff.due is not None:
            wake.clear()
            await wait(wake, self._backoff.due - time.monotonic())
            self._backoff.tries()


async def woken(wake: asyncio.Event) -> None:
    """Wait until somebody wakes us from now on."""
    wake.clear()
    await wake.wait()


async def wait(event: asyncio.Event, timeout: float | None) -> None:
    """Wait for an event, for so many seconds at most."""
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        pass
