"""`attend_to`: what the machine does to a mesh, noticed by looking now and then: it sleeps, or has no descriptors left. Place: serving.

Deadlines and pauses go by the monotonic clock, so that a wall clock that is set means nothing to them, and a time that the machine slept does not count.
What was reached before it slept is perhaps there no more, or again, so `woken` is called afterwards. Without descriptors the event loop closes connections as it
accepts them, and programs cannot be started; both are tried again as ever, and here it is said, once, what the matter is.
"""

import asyncio
import contextlib
import errno
import os
import resource
import time
from collections.abc import Callable
from typing import Final

import structlog

__all__ = ["attend_to"]

log = structlog.get_logger(__name__)

PAUSE: Final = 5.0
"""Seconds between two looks."""
NAP: Final = 2.0
"""Seconds of sleep that are worth a word."""


def _asleep() -> float:
    """Seconds that the machine has slept, all in all; 0 where the system does not tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) - time.clock_gettime(time.CLOCK_MONOTONIC) if clock is not None else 0.0


async def attend_to(woken: Callable[[], None], *, asleep: Callable[[], float] = _asleep, pause: float = PAUSE) -> None:
    """Look every `pause` seconds, for ever."""
    before, has_room = asleep(), True
    while True:
        await asyncio.sleep(pause)
        now = asleep()
        if now - before > NAP:
            log.info("machine.slept", seconds=round(now - before))
            woken()
        before = now
        had_room, has_room = has_room, _has_room()
        if had_room and not has_room:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            log.error(
                "machine.descriptors_used_up",
                limit=limit,
                consequence="new connections are closed and programs are not started until some are free; raise the limit with ulimit -n",
            )
        elif has_room and not had_room:
            log.info("machine.descriptors_free")


def _has_room() -> bool:
    """Whether a descriptor can be had."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    with contextlib.suppress(OSError):
        os.close(descriptor)
    return True
