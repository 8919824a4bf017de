"""`rest`: the pause before a call is repeated. Place: guard, beside `guard`, which waits for nothing itself."""

import asyncio
from contextlib import suppress
from typing import Final

__all__ = ["rest"]

PATIENCE: Final = 2.0
"""Seconds that a repeat waits for an upstream which is being connected to again: most losses are restarts."""


async def rest(seconds: float, connected: asyncio.Event) -> None:
    """Wait so many seconds, and then a little longer while the upstream is not connected, since a call would fail at once."""
    await asyncio.sleep(seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await connected.wait()
