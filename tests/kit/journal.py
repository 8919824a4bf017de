"""What is logged while a test runs."""

from typing import Any

import structlog
from tests.kit.waiting import Changes

Json = dict[str, Any]


class Journal:
    """What is logged, and a way to wait for it."""

    def __init__(self) -> None:
        self.all: list[Json] = []
        self._changes = Changes()

    def __call__(self, _logger: Any, level: str, event: Any) -> Any:
        self.all.append({"level": level, **event})
        self._changes.made()
        raise structlog.DropEvent

    def of(self, *names: str) -> list[Json]:
        return [event for event in self.all if event["event"] in names]

    async def until(self, *names: str, count: int = 1) -> Json:
        """The `count`th event of these names, as soon as it is there."""
        found = await self._changes.until(lambda: self.of(*names)[count - 1 : count], lambda: self.all)
        return dict(found[0])
