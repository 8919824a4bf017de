"""`Watchers`: which clients have subscribed to which public URIs. A subscription outlives the provider that it was made at.

A reload may replace the provider of an upstream. The clients that subscribed to its resources are not told, and wait on. So each of their
subscriptions is made again at the provider that serves the URI now.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from meshproxy.catalog.route import Route
from meshproxy.errors import INVALID_PARAMS, MeshError, RpcError
from meshproxy.limits import MAX_SUBSCRIBED
from meshproxy.relay.downstream import Downstream
from meshproxy.upstream.provider import ProxyProvider

log = structlog.get_logger(__name__)

Tell = Callable[[dict[str, Any]], None]
"""Takes the parameters of an update, in public URIs."""

Serve = Callable[[Downstream, str], tuple[Route, ProxyProvider] | None]
"""Says where a public URI leads a client now."""


@dataclass(eq=False)
class _Interest:
    downstream: Downstream
    tell: Tell
    route: Route
    provider: ProxyProvider

    async def begin(self, route: Route, provider: ProxyProvider) -> None:
        def sink(uri: str, told: dict[str, Any]) -> None:
            self.tell({**told, "uri": route.mount.public(uri)})

        await provider.audience.subscribe(self.downstream, route.origin, sink)
        self.route, self.provider = route, provider

    async def end(self) -> None:
        await self.provider.audience.unsubscribe(self.downstream, self.route.origin)


class Watchers:
    """The subscriptions, by downstream and by the public URI that the client gave."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, _Interest]] = {}
        self._moving: dict[_Interest, asyncio.Task[None]] = {}

    async def add(self, downstream: Downstream, uri: str, tell: Tell, route: Route, provider: ProxyProvider) -> None:
        """Subscribe. Errors as `ProxyProvider.request`, and -32602 for a client that waits for too much already."""
        if len(self._held.get(downstream.key, ())) >= MAX_SUBSCRIBED:
            raise RpcError(INVALID_PARAMS, f"a client may be subscribed to {MAX_SUBSCRIBED} resources at most")
        interest = _Interest(downstream, tell, route, provider)
        await interest.begin(route, provider)
        self._held.setdefault(downstream.key, {})[uri] = interest

    async def drop(self, downstream: Downstream, uri: str) -> bool:
        """End one subscription; false if there is none. Errors as `ProxyProvider.request`."""
        interest = self._held.get(downstream.key, {}).pop(uri, None)
        if interest is not None:
            await interest.end()
        return interest is not None

    async def drop_all(self, downstream: Downstream) -> None:
        """End all subscriptions of a downstream that is gone."""
        for provider in {interest.provider for interest in self._held.pop(downstream.key, {}).values()}:
            # An upstream that is gone as well has nothing to be told.
            with suppress(MeshError):
                await provider.audience.unsubscribe_all(downstream)

    def follow(self, providers: Collection[ProxyProvider], serve: Serve) -> None:
        """Move the subscriptions at providers that are not among `providers`, which are the ones that are served from now on."""
        for watchers in self._held.values():
            for uri, interest in watchers.items():
                if interest.provider not in providers and interest not in self._moving:
                    found = serve(interest.downstream, uri)
                    if found is not None:
                        task = asyncio.ensure_future(self._move(interest, uri, *found))
                        self._moving[interest] = task
                        task.add_done_callback(partial(self._moved, interest))

    def _moved(self, interest: _Interest, _task: asyncio.Task[None]) -> None:
        del self._moving[interest]

    async def _move(self, interest: _Interest, uri: str, route: Route, provider: ProxyProvider) -> None:
        try:
            await interest.begin(route, provider)
            if self._held.get(interest.downstream.key, {}).get(uri) is not interest:
                # The client has unsubscribed or left while this was under way.
                await interest.end()
        except MeshError as error:
            # `follow` is called again at the next change of this upstream, and tries again.
            log.info("subscription.not_moved", upstream=provider.name, uri=uri, reason=str(error))
