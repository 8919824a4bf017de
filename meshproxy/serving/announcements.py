"""`Announcements`: who is told when a listing changes: the sessions of the legacy era, and the listen streams of the modern one."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from meshproxy.errors import INVALID_PARAMS, RpcError, UpstreamError
from meshproxy.links.listen_stream import ListenStream
from meshproxy.mesh.composite import CompositeProvider
from meshproxy.relay.downstream import Downstream, RequestContext
from meshproxy.wire.codec import mapping
from meshproxy.wire.protocol import EXTENSION_TASKS, META_SUBSCRIPTION

_FLAGS: Final = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}


_UPDATED: Final = "notifications/resources/updated"
_TASKS: Final = "notifications/tasks"


class Announcements:
    """All who listen."""

    def __init__(self, composite: CompositeProvider) -> None:
        self._composite = composite
        self._sessions: dict[str, Downstream] = {}
        self._streams: dict[RequestContext, frozenset[str]] = {}
        self._closing = asyncio.Event()

    def add_session(self, downstream: Downstream) -> None:
        """Tell a legacy client, from its `initialized` until it is gone."""
        self._sessions[downstream.key] = downstream
        downstream.on_close(partial(self._sessions.__delitem__, downstream.key))

    def announce(self, methods: tuple[str, ...]) -> None:
        """Send each of these `list_changed` to all who want it."""
        for session in list(self._sessions.values()):
            for method in methods:
                session.notify(method, None)
        for stream, wanted in list(self._streams.items()):
            for method in methods:
                if method in wanted:
                    stream.notify(method, _tagged(stream))

    async def listen(self, context: RequestContext, params: dict[str, Any]) -> None:
        """Serve one `subscriptions/listen` until the client leaves, or the mesh does (2026-07-28 basic/patterns/subscriptions).

        Acknowledged is what can be honoured: every listing, and the resources and tasks that their upstreams tell of.
        """
        asked = mapping(params.get("notifications"))
        if asked is None:
            raise RpcError(INVALID_PARAMS, "subscriptions/listen: 'notifications' must be an object")
        flags = {flag: True for flag in _FLAGS if asked.get(flag) is True}
        honoured: dict[str, Any] = dict(flags)
        held: list[tuple[str, dict[str, Any]]] = []

        def tell(method: str, told: dict[str, Any]) -> None:
            # Nothing precedes the acknowledgement.
            if context in self._streams:
                context.notify(method, told | _tagged(context, told))
            else:
                held.append((method, told))

        uris, ids = asked.get("resourceSubscriptions"), asked.get("taskIds")
        streams: list[ListenStream] = []
        try:
            subscribed = (
                [uri for uri in uris if await self._subscribe(context, uri, partial(tell, _UPDATED))]
                if isinstance(uris, list)
                else []
            )
            if subscribed:
                honoured["resourceSubscriptions"] = subscribed
            if isinstance(ids, list) and _knows_tasks(context.downstream):
                followed, streams = await self._composite.follow_tasks(context.downstream, ids, partial(tell, _TASKS))
                honoured["taskIds"] = followed
            context.notify("notifications/subscriptions/acknowledged", {"notifications": honoured} | _tagged(context))
            self._streams[context] = frozenset(_FLAGS[flag] for flag in flags)
            for method, told in held:
                tell(method, told)
            await self._closing.wait()
        finally:
            self._streams.pop(context, None)
            await asyncio.gather(*(stream.aclose() for stream in streams))
            await self._composite.unsubscribe_all(context.downstream)

    def close(self) -> None:
        """End every listen stream in good order."""
        self._closing.set()

    async def _subscribe(self, context: RequestContext, uri: Any, tell: Any) -> bool:
        try:
            await self._composite.subscribe(context.downstream, {"uri": uri}, tell)
        except (RpcError, UpstreamError):
            return False
        return True


def _knows_tasks(downstream: Downstream) -> bool:
    return EXTENSION_TASKS in (mapping(downstream.capabilities.get("extensions")) or {})


def _tagged(context: RequestContext, told: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The `_meta` that says which stream a frame is of."""
    meta = mapping(told.get("_meta")) if told else None
    return {"_meta": {**(meta or {}), META_SUBSCRIPTION: context.request_id}}
