"""`Subscriptions`: who waits for updates of which resources of one upstream, and what the upstream was told of it.

An isolated session subscribes over its own link, as it would without a mesh. All others share one subscription for each URI over the control
link, made for the first who wants it and ended after the last.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.links.link import Link
from meshproxy.links.listen_stream import ListenStream
from meshproxy.wire.protocol import Era

log = structlog.get_logger(__name__)

Sink = Callable[[str, dict[str, Any]], None]
"""Takes the origin URI of what was updated, and the notification's parameters."""


class Subscriptions:
    """All subscriptions of one upstream, by the key of whoever holds them."""

    def __init__(self) -> None:
        self._shared: dict[str, dict[str, Sink]] = {}
        self._own: dict[str, dict[str, Sink]] = {}
        self._telling: dict[str, asyncio.Future[None]] = {}
        self._listening: ListenStream | None = None

    def __bool__(self) -> bool:
        """Whether anybody waits for anything."""
        return bool(self._shared or any(self._own.values()))

    async def open(self, control: Link, tell: Callable[[str, dict[str, Any]], None]) -> None:
        """Say it all again to a control link that is new. What it refuses now is no reason to do without the rest of it."""
        await self.aclose()
        if control.era is Era.MODERN:
            self._listening = ListenStream(control, tell)
            try:
                await self._listening.hear(self._shared)
            except RpcError as error:
                log.warning("upstream.not_heard", upstream=control.upstream, reason=error.message)
        else:
            for uri in list(self._shared):
                await _subscribe_again(control, uri)

    async def replay(self, link: Link, holder: str) -> None:
        """Say again to a session's own link what the session subscribed to."""
        for uri in list(self._own.get(holder, ())):
            await _subscribe_again(link, uri)

    async def subscribe(self, link: Link, holder: str, uri: str, sink: Sink, *, is_own: bool) -> None:
        """Let `holder` hear of `uri`. Errors as `Link.request`, and then it does not."""
        if is_own:
            await link.request("resources/subscribe", {"uri": uri})
            self._own.setdefault(holder, {})[uri] = sink
            return
        holders = self._shared.setdefault(uri, {})
        is_first = not holders
        holders[holder] = sink
        if is_first:
            telling = asyncio.ensure_future(self._tell_upstream(link, "resources/subscribe", uri))
            self._telling[uri] = telling
            telling.add_done_callback(lambda done: self._told(uri, done))
        if uri in self._telling:
            try:
                # Who comes second waits for the same answer, and is not spoiled by the first one's leaving.
                await asyncio.shield(self._telling[uri])
            except BaseException:
                self._forget(holder, uri)
                raise

    async def unsubscribe(self, holder: str, uri: str, *, own: Link | None, control: Link | None) -> None:
        """End it, over whichever of the open links it was made. Errors as `Link.request`."""
        if self._own.get(holder, {}).pop(uri, None) is not None:
            if own is not None:
                await own.request("resources/unsubscribe", {"uri": uri})
        elif self._forget(holder, uri) and control is not None:
            await self._tell_upstream(control, "resources/unsubscribe", uri)

    def claim(self, holder: str) -> tuple[str, ...]:
        """`holder` gets a link of its own: what it shared is its own from now on. The answer is what nobody shares any more."""
        shared = [uri for uri, holders in self._shared.items() if holder in holders]
        for uri in shared:
            self._own.setdefault(holder, {})[uri] = self._shared[uri][holder]
        return tuple(uri for uri in shared if self._forget(holder, uri))

    def drop(self, holder: str) -> tuple[str, ...]:
        """Forget everything that a downstream, now gone, subscribed to; the answer is what nobody wants any more."""
        self._own.pop(holder, None)
        return tuple(uri for uri in list(self._shared) if self._forget(holder, uri))

    async def trim(self, link: Link, uris: tuple[str, ...]) -> None:
        """Tell the upstream that nobody wants `uris` any more."""
        for uri in uris:
            if uri not in self._shared:
                await self._tell_upstream(link, "resources/unsubscribe", uri)

    def deliver(self, holder: str | None, uri: str, params: dict[str, Any]) -> None:
        """Hand an update to those who wait for it: to one holder whose own link it came over, or to all who share.

        The URI may be of a part of what was subscribed to (2025-11-25 server/resources, "Subscriptions").
        """
        if holder is not None:
            for subscribed, sink in list(self._own.get(holder, {}).items()):
                if _covers(subscribed, uri):
                    sink(uri, params)
                    return
            return
        told: set[str] = set()
        for subscribed, holders in list(self._shared.items()):
            if _covers(subscribed, uri):
                for key, sink in list(holders.items()):
                    if key not in told:
                        told.add(key)
                        sink(uri, params)

    async def aclose(self) -> None:
        """Close the stream; what was wanted stays known for the next link."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.aclose()

    def _forget(self, holder: str, uri: str) -> bool:
        """Whether `holder` was the last who wanted `uri`."""
        holders = self._shared.get(uri)
        if holders is None or holders.pop(holder, None) is None or holders:
            return False
        del self._shared[uri]
        return True

    def _told(self, uri: str, told: asyncio.Future[None]) -> None:
        if self._telling.get(uri) is told:
            del self._telling[uri]
        if not told.cancelled():
            # Whoever still waits has it too.
            told.exception()

    async def _tell_upstream(self, link: Link, method: str, uri: str) -> None:
        if self._listening is not None:
            agreed = await self._listening.hear(self._shared)
            if uri in self._shared and uri not in agreed:
                raise RpcError(INVALID_PARAMS, f"updates of {uri} cannot be subscribed to", {"uri": uri})
        else:
            await link.request(method, {"uri": uri})


async def _subscribe_again(link: Link, uri: str) -> None:
    try:
        await link.request("resources/subscribe", {"uri": uri})
    except RpcError as error:
        log.warning("upstream.subscription_refused", upstream=link.upstream, uri=uri, reason=error.message)


def _covers(subscribed: str, uri: str) -> bool:
    return uri == subscribed or uri.startswith(subscribed if subscribed.endswith("/") else subscribed + "/")
