"""`Tasks`: the core tasks of one link that somebody here waits for, and whose is what the upstream says of them. Place: links.

A task of 2025-11-25 (basic/utilities/tasks) outlives the request that made it. What belongs to it comes on any stream and at any time: it
names the task in its `_meta` ("Associating Task-Related Messages"), or is progress under the token of that first request, which
stays valid. So whoever waits is kept among the link's calls for as long as the task lives, under a number of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from meshproxy.errors import METHOD_NOT_FOUND, RpcError
from meshproxy.wire.codec import mapping, text
from meshproxy.wire.protocol import META_RELATED_TASK

__all__ = ["Follower", "Tasks", "related_task"]

MOST_EARLY: Final = 100
"""Notifications that are kept for tasks that are being made."""
_STATUS: Final = "notifications/tasks/status"

Answerer: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Follower(Protocol):
    """Who waits for a task; to the link it is the `Call` of the request that made it, too."""

    def on_status(self, params: dict[str, Any]) -> None:
        """The upstream says how the task is: the parameters of `notifications/tasks/status`. Never blocks."""
        ...

    def on_lost(self, reason: str) -> None:
        """The link has ended."""
        ...

    async def call_off(self) -> None:
        """Tell the upstream that nobody waits any more, within a bound. Raises nothing."""
        ...

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        """See `meshproxy.links.call.Call`."""
        ...

    async def on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """See `meshproxy.links.call.Call`."""
        ...


class Tasks:
    """The tasks of one link.

    Args:
        calls: the link's calls under way.
        given_up: those that it has given up.
        next_id: takes a number that no request of the link has.
    """

    def __init__(self, calls: dict[int, Any], given_up: dict[int, Any], next_id: Callable[[], int]) -> None:
        self._calls = calls
        self._given_up = given_up
        self._next_id = next_id
        self._by_id: dict[str, Follower] = {}
        self._unnamed: dict[int, Follower] = {}
        self._early: list[tuple[str, str, dict[str, Any]]] = []
        self._named = asyncio.Event()
        self._farewells: set[asyncio.Task[None]] = set()

    # For those who wait.

    def enter(self, follower: Follower) -> int:
        """A task is about to be made: the number of its call, which is its progress token."""
        number = self._next_id()
        self._calls[number] = self._unnamed[number] = follower
        return number

    def name(self, number: int, task_id: str) -> bool:
        """It has been made; false, and nothing has happened, if another call waits for a task of that name."""
        if task_id in self._by_id:
            return False
        follower = self._by_id[task_id] = self._unnamed[number]
        for early_id, method, params in self._early:
            if early_id == task_id:
                _hand(follower, method, params)
        self._settle(number)
        return True

    def leave(self, number: int, *, early: bool) -> None:
        """Nobody waits for it any more. If that is `early`, the upstream is told so; until it knows, what it says may still be of this call."""
        follower = self._calls.pop(number)
        self._settle(number)
        self._by_id = {task_id: other for task_id, other in self._by_id.items() if other is not follower}
        if early:
            self._given_up[number] = follower
            farewell = asyncio.ensure_future(follower.call_off())
            self._farewells.add(farewell)
            farewell.add_done_callback(partial(self._on_told, number))

    def _settle(self, number: int) -> None:
        self._unnamed.pop(number, None)
        if not self._unnamed:
            self._early.clear()
        self._named.set()
        self._named = asyncio.Event()

    def _on_told(self, number: int, farewell: "asyncio.Task[None]") -> None:
        self._given_up.pop(number, None)
        self._farewells.discard(farewell)

    # For the link.

    def take(self, method: str, params: dict[str, Any]) -> bool:
        """Hand a notification to whoever it is for; false if it is of no task. One of a task that nobody waits for any more is for nobody."""
        task_id = text(params.get("taskId")) if method == _STATUS else related_task(params)
        if task_id is None:
            return False
        follower = self._by_id.get(task_id)
        if follower is not None:
            _hand(follower, method, params)
        elif self._unnamed and len(self._early) < MOST_EARLY:
            # It may have overtaken the answer that names its task.
            self._early.append((task_id, method, params))
        return True

    def answerer(self, params: Any) -> Answerer | None:
        """Who answers a question with these parameters, which may be closed; None if it is of no task."""
        task_id = related_task(params)
        return None if task_id is None else partial(self._answer, task_id)

    async def _answer(self, task_id: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        # A question may overtake the answer that names its task.
        while task_id not in self._by_id and self._unnamed:
            await self._named.wait()
        follower = self._by_id.get(task_id)
        if follower is None:
            raise RpcError(
                METHOD_NOT_FOUND, f"{method} belongs to a task that nobody waits for, so there is nobody to ask"
            )
        return await follower.on_request(method, params)

    def end(self, reason: str) -> None:
        """The link has ended."""
        for follower in (*self._by_id.values(), *self._unnamed.values()):
            follower.on_lost(reason)

    async def aclose(self, timeout: float) -> None:
        """The link is about to be closed: let the upstream know, within `timeout` seconds, which tasks nobody will ask for."""
        leaving = [asyncio.ensure_future(follower.call_off()) for follower in self._by_id.values()]
        telling = {*leaving, *self._farewells}
        if telling:
            _, late = await asyncio.wait(telling, timeout=timeout)
            for one in late:
                one.cancel()


def _hand(follower: Follower, method: str, params: dict[str, Any]) -> None:
    if method == _STATUS:
        follower.on_status(params)
    else:
        follower.on_notification(method, params)


def related_task(params: Any) -> str | None:
    """The id of the task that a message with these parameters belongs to; None for none."""
    fields = mapping(params)
    meta = mapping(fields["_meta"]) if fields is not None and "_meta" in fields else None
    related = mapping(meta[META_RELATED_TASK]) if meta is not None and META_RELATED_TASK in meta else None
    return text(related.get("taskId")) if related is not None else None
