"""`Announcements`: who is told when a listing changes: the sessions of the legacy era, and the listen streams of the modern one."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from meshproxy.catalog.snapshot import Snapshot
from meshproxy.errors import INVALID_PARAMS, RpcError, UpstreamError
from meshproxy.kinds import BY_CHANGED, KINDS
from meshproxy.links.listen_stream import ListenStream
from meshproxy.mesh.composite import CompositeProvider
from meshproxy.relay.downstream import Downstream, RequestContext
from meshproxy.relay.principal import Visitor
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
        # What it will be told of is what differs from what it could see until then.
        self._composite.router.seen_by(downstream.visitor)
        downstream.on_close(partial(self._sessions.__delitem__, downstream.key))

    def announce(self, before: Snapshot) -> None:
        """Tell each who wants it of the listings that differ for it, and of no others. `before` is the snapshot until now."""
        self._tell(_Changes(self._composite, before))

    def announce_to(self, identity: str) -> None:
        """The same where something is different for one principal alone."""
        self._tell(_Changes(self._composite, self._composite.snapshot), identity)

    def _tell(self, changes: "_Changes", identity: str | None = None) -> None:
        for session in list(self._sessions.values()):
            if identity in (None, session.visitor.principal.identity):
                for method in changes.of(session.visitor):
                    session.notify(method, None)
        for stream, wanted in list(self._streams.items()):
            if identity in (None, stream.downstream.visitor.principal.identity):
                for method in changes.of(stream.downstream.visitor):
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
            self._composite.router.seen_by(context.downstream.visitor)
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


class _Changes:
    """What a new snapshot changed, for each visitor; worked out once for all who saw and see the same."""

    def __init__(self, composite: CompositeProvider, before: Snapshot) -> None:
        self._composite = composite
        self._before = before
        self._visitors: dict[Visitor, tuple[str, ...]] = {}
        self._pairs: dict[tuple[int, int], tuple[str, ...]] = {}

    def of(self, visitor: Visitor) -> tuple[str, ...]:
        """The `list_changed` notifications that are due to a visitor, each once."""
        found = self._visitors.get(visitor)
        if found is None:
            # What it could see may have been by other rules. What is its own it has seen as it was then, whatever snapshot that was in.
            if visitor.viewed is not self._before and (visitor.view is None or not self._before.is_personal):
                self._composite.views.look(visitor, self._before)
            seen = visitor.view
            found = self._visitors[visitor] = self._between(seen, self._composite.router.seen_by(visitor))
        return found

    def _between(self, seen: Snapshot, sees: Snapshot) -> tuple[str, ...]:
        pair = (id(seen), id(sees))
        if pair not in self._pairs:
            differing = {KINDS[kind].changed for kind in sees.changed_kinds(seen)}
            self._pairs[pair] = tuple(method for method in BY_CHANGED if method in differing)
        return self._pairs[pair]


def _knows_tasks(downstream: Downstream) -> bool:
    return EXTENSION_TASKS in (mapping(downstream.capabilities.get("extensions")) or {})


def _tagged(context: RequestContext, told: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The `_meta` that says which stream a frame is of."""
    meta = mapping(told.get("_meta")) if told else None
    return {"_meta": {**(meta or {}), META_SUBSCRIPTION: context.request_id}}
