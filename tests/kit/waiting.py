"""Waiting for what must happen, with one deadline for all: tests wait for events, and never for a time to pass."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

DEADLINE = 20.0
"""Seconds after which a test that waits has failed; nothing takes nearly as long."""
_PAUSE = 0.01
"""Seconds between two looks at something that does not change soon."""


async def within(awaitable: Awaitable[T]) -> T:
    """The result of something that must end."""
    async with asyncio.timeout(DEADLINE):
        return await awaitable


async def eventually(condition: Callable[[], Any], *, within: float = DEADLINE) -> Any:
    """Wait for what only polling can tell (a file, a process) to become true, and return it. `condition` may be asynchronous."""
    pause = 0.0
    async with asyncio.timeout(within):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            # The event loop is let turn first, since what is waited for may be at work in it.
            await asyncio.sleep(pause)
            pause = min(pause + 0.001, _PAUSE)


def wait_for(
    condition: Callable[[], Any], process: "subprocess.Popen[Any] | None" = None, log: Path | None = None
) -> Any:
    """What `condition` says as soon as it says something. The test fails if the process that it is about ends before, with its log."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        has_ended = process is not None and process.poll() is not None
        if has_ended or time.monotonic() > deadline:
            what = "it took too long" if process is None else f"{process.args} {'ended' if has_ended else 'hangs'}"
            pytest.fail(f"{what}: {log.read_text() if log else ''}")
        time.sleep(_PAUSE)
    return found


class Changes:
    """Lets tests wait until something is so, in a thing that says when it changes: no polling."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def made(self) -> None:
        """Say that something has changed."""
        self._event.set()

    async def until(self, condition: Callable[[], Any], so_far: Callable[[], Any] = str) -> Any:
        """What `condition` says as soon as it says something, looking after each change. `so_far` is what a failure tells of."""
        try:
            async with asyncio.timeout(DEADLINE):
                while not (found := condition()):
                    self._event.clear()
                    await self._event.wait()
        except TimeoutError:
            raise AssertionError(f"it did not come within {DEADLINE:.0f} s: {so_far()}") from None
        return found
