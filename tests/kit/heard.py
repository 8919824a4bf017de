"""Messages as they come."""

from collections.abc import Callable
from typing import Any

from tests.kit.waiting import Changes

Json = dict[str, Any]


class Heard:
    """Messages in the order in which they came, and a way to wait for one."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Json]] = []
        self._changes = Changes()

    def add(self, method: str, params: Json) -> None:
        self.all.append((method, params))
        self._changes.made()

    def of(self, method: str) -> list[Json]:
        return [params for heard, params in self.all if heard == method]

    def methods(self) -> list[str]:
        return [method for method, _ in self.all]

    def clear(self) -> None:
        self.all.clear()

    async def until(self, method: str, count: int = 1, *, matches: Callable[[Json], bool] = lambda _: True) -> Json:
        """The parameters of the `count`th message of a method, of those that match, as soon as it came."""

        def found() -> list[Json]:
            return [params for params in self.of(method) if matches(params)][count - 1 : count]

        [params] = await self._changes.until(found, lambda: self.all)
        return params
