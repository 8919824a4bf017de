"""What is logged while a test runs."""

import asyncio
from typing import Any

import structlog
from tests.kit.waiting import DEADLINE

Json = dict[str, Any]


class Journal:
    """What is logged, and a way to wait for it."""

    def __init__(self) -> None:
        self.all: list[Json] = []
        self._came = asyncio.Event()

    def __call__(self, _logger: Any, level: str, event: Any) -> Any:
        self.all.append({"level": level, **event})
        self._came.set()
        raise structlog.DropEvent

    def of(self, *names: str) -> list[Json]:
        return [event for event in self.all if event["event"] in names]

    async def until(self, *names: str, count: int = 1) -> Json:
        """The `count`th event of these names, as soon as it is there."""
        try:
            async with asyncio.timeout(DEADLINE):
                while len(self.of(*names)) < count:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"{count} of {', '.join(names)} did not come; what came is {self.all}") from None
        return self.of(*names)[count - 1]
