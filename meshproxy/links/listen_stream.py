"""`ListenStream`: the `subscriptions/listen` stream of a modern upstream, kept open, and exchanged when there is more or less to hear.

A stream's filter cannot change (2026-07-28 basic/patterns/subscriptions), so the next one is acknowledged before the last one is closed.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog

from meshproxy.errors import MeshError, RpcError
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call
from meshproxy.links.link import Link
from meshproxy.wire.codec import opened

log = structlog.get_logger(__name__)

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
ACKNOWLEDGE_TIMEOUT: Final = 10.0
REOPEN_PAUSE: Final = 1.0
OVERLAP: Final = 0.5
"""Seconds for which a stream may still have to say what the one that it replaced has said already."""

Tell = Callable[[str, dict[str, Any]], None]


class ListenStream:
    """What is heard on one link; `tell` takes each notification.

    `capabilities` are those of the client that it is heard for, if it is heard for one alone, and `headers` what that shows itself by.
    """

    def __init__(
        self,
        link: Link,
        tell: Tell,
        capabilities: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._link = link
        self._tell = tell
        self._capabilities = capabilities
        self._headers = headers
        self._task: asyncio.Task[None] | None = None
        self._stream: _Stream | None = None

    async def hear(self, uris: Iterable[str]) -> frozenset[str]:
        """Hear of every listing, and of updates of `uris`: those of them that the upstream agreed to.

        Raises:
            UpstreamError, RpcError: the upstream did not open the stream.
        """
        wanted: dict[str, Any] = {
            f"{family}ListChanged": True
            for family in ("tools", "prompts", "resources")
            if _promises(self._link.capabilities.get(family), "listChanged")
        }
        subscribed = list(uris)
        if subscribed:
            wanted["resourceSubscriptions"] = subscribed
        return await self._exchange(wanted, "resourceSubscriptions")

    async def hear_tasks(self, ids: Iterable[str]) -> frozenset[str]:
        """Hear of tasks (SEP-2663): those of them that the upstream agreed to. Errors as `hear`."""
        return await self._exchange({"taskIds": list(ids)}, "taskIds")

    async def _exchange(self, wanted: dict[str, Any], key: str) -> frozenset[str]:
        """Hear of `wanted` and no longer of what was wanted before; the answer is what was agreed to under a key."""
        stream = _Stream(self._tell, wanted, self._capabilities, self._headers)
        task = asyncio.create_task(self._keep(stream)) if wanted else None
        before, self._task = self._task, task
        last, self._stream = self._stream, stream
        stream.replaces = last
        try:
            if task is not None:
                await stream.settled(task)
        except BaseException:
            if self._task is task:
                # What was heard is heard still.
                before, self._task = task, before
                self._stream = last
            else:
                await _cancel(task)
            raise
        finally:
            await _cancel(before)
            asyncio.get_running_loop().call_later(OVERLAP, stream.is_alone, stream.said)
        agreed = stream.agreed.get(key)
        return frozenset(item for item in agreed if isinstance(item, str)) if isinstance(agreed, list) else frozenset()

    async def aclose(self) -> None:
        task, self._task = self._task, None
        await _cancel(task)

    async def _keep(self, stream: "_Stream") -> None:
        while self._link.is_open:
            try:
                await self._link.request("subscriptions/listen", {"notifications": stream.wanted}, stream)
            except MeshError as error:
                if not stream.acknowledged.is_set():
                    raise
                log.info("upstream.listen_lost", upstream=self._link.upstream, reason=str(error))
            if not stream.acknowledged.is_set():
                # It ended what it never agreed to: it has nothing to say.
                return
            await asyncio.sleep(REOPEN_PAUSE)


class _Stream(Call):
    """That of a listen request, of one and the same again where a stream is lost.

    Attributes:
        replaces: the one before it, until this one is acknowledged.
        said: how often each has been said meanwhile by this one or, where it was more often, by the other; None while there is no other.
    """

    capabilities: dict[str, Any] | None = None
    log_level: str | None = None

    def __init__(
        self,
        tell: Tell,
        wanted: dict[str, Any],
        capabilities: dict[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        self.wanted = wanted
        self.agreed: dict[str, Any] = {}
        # Somebody's, and not the mesh's own, where it has headers of his.
        self.owner = None if headers is None else self
        self.headers = headers or {}
        self.capabilities = capabilities
        self.timeout = None
        self.max_result = MAX_MESSAGE
        self.wants_progress = False
        self.replaces: _Stream | None = None
        self.said: dict[tuple[str, Any], int] | None = None
        self._own: dict[tuple[str, Any], int] = {}
        self.acknowledged = asyncio.Event()
        self._tell = tell

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        if method == ACKNOWLEDGED:
            if self.replaces is not None:
                said: dict[tuple[str, Any], int] = {}
                self.replaces.overlap(said)
                self.overlap(said)
                self.replaces = None
            if self.acknowledged.is_set():
                self._look_again()
            agreed = opened(params.get("notifications"))
            self.agreed = agreed if isinstance(agreed, dict) else {}
            self.acknowledged.set()
        elif self._is_news(method, params):
            self._tell(method, params)

    def overlap(self, said: dict[tuple[str, Any], int]) -> None:
        """From now on, until the older one is closed, another stream says the same."""
        self.said, self._own = said, {}

    def is_alone(self, said: dict[tuple[str, Any], int] | None) -> None:
        """That has been so for long enough."""
        if self.said is said:
            self.said = None

    def _is_news(self, method: str, params: dict[str, Any]) -> bool:
        """Whether the other stream has not said it: each says it once for each time that it happens."""
        if self.said is None:
            return True
        key = (method, opened(params.get("uri")))
        count = self._own[key] = self._own.get(key, 0) + 1
        if count <= self.said.get(key, 0):
            return False
        self.said[key] = count
        return True

    def _look_again(self) -> None:
        """What was missed while there was no stream is not sent again."""
        for family in ("tools", "prompts", "resources"):
            if f"{family}ListChanged" in self.wanted:
                self._tell(f"notifications/{family}/list_changed", {})

    async def on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:  # the seam's form
        raise RpcError(-32601, f"Method not found: {method}")

    def on_stream_ended(self) -> None:
        """Only the legacy era has such an end."""

    async def settled(self, task: asyncio.Task[None]) -> None:
        """Wait until it is acknowledged, or `task` failed."""
        acknowledged = asyncio.ensure_future(self.acknowledged.wait())
        try:
            await asyncio.wait({acknowledged, task}, timeout=ACKNOWLEDGE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            acknowledged.cancel()
        if task.done():
            task.result()


def _promises(family: Any, feature: str) -> bool:
    return isinstance(family, Mapping) and family.get(feature) is True


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
