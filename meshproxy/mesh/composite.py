"""`CompositeProvider`: many providers as one. It owns the snapshot, swaps it, and routes every request by it.

A request reads the snapshot once, and takes its lease on the provider in the same synchronous step.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import structlog

from meshproxy.access.confirmation import Confirmation
from meshproxy.access.views import Views
from meshproxy.catalog.catalog import Mount
from meshproxy.catalog.rewrite import rewrite_question
from meshproxy.catalog.route import Route
from meshproxy.catalog.snapshot import Collision, Member, Snapshot, build_snapshot
from meshproxy.eras.translate import outgoing
from meshproxy.errors import INVALID_PARAMS, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.links.listen_stream import ListenStream
from meshproxy.mesh.callers import Callers, Place, Vet
from meshproxy.mesh.router import Find, Router, not_found, uri_of
from meshproxy.mesh.task_ids import is_task_of, public_id, public_task
from meshproxy.mesh.watchers import Watchers
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, Outcome
from meshproxy.relay.principal import Visitor
from meshproxy.upstream.provider import ProxyProvider

log = structlog.get_logger(__name__)

T = TypeVar("T")
Announce = Callable[[Snapshot], None]
"""Told the snapshot from before, when another one has taken its place."""
AnnounceTo = Callable[[str], None]
"""Told the identity of a principal for whom alone something is different."""


@dataclass(frozen=True)
class Mounted:
    """A provider, and its namespace and filters in the mesh. `vet` leaves out of those what is not to be offered of a catalog."""

    provider: ProxyProvider = field(compare=False)
    mount: Mount
    vet: Vet | None = field(default=None, compare=False)

    @property
    def member(self) -> Member:
        """What a snapshot takes of it: what it offers at this moment."""
        if isinstance(self.provider, Callers):
            place = Place(self.mount, self.vet)
            return Member(self.mount, self.provider, None, own=partial(self.provider.member_for, place))
        catalog, mount = self.provider.catalog, self.mount
        if self.vet is not None and catalog is not None:
            mount = self.vet(mount, catalog)
        return Member(mount, self.provider, catalog, self.provider.is_up)


async def _at_once(_visitor: Visitor, _is_enough: Callable[[], bool]) -> None:
    """Wait for nobody."""


class CompositeProvider:
    """Many providers as one.

    Attributes:
        mounted: the providers, in the order of the config.
        views: what each client sees of the snapshot.
        router: hands each call to the provider that it is for.
        on_session_ended: told the name of an upstream, and how many seconds a session of the legacy era with it has lasted. Whoever watches sets it.
        settle: waits until it is enough or every provider that is starting for a visitor has had its time, before it is said that nobody has
            what is asked for. Whoever serves sets it.
    """

    def __init__(self) -> None:
        self.mounted: tuple[Mounted, ...] = ()
        self.views = Views()
        self.router = Router(self.views.look, Confirmation().ask, self._seek)
        self.settle: Callable[[Visitor, Callable[[], bool]], Awaitable[None]] = _at_once
        self.on_session_ended: Callable[[str, float], None] = lambda _name, _seconds: None
        self._announce: list[Announce] = []
        self._announce_to: list[AnnounceTo] = []
        self._warned: set[Collision] = set()
        self._watchers = Watchers()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<CompositeProvider {[mounted.provider for mounted in self.mounted]}>"

    def session_ended(self, name: str, seconds: float) -> None:
        """A session with an upstream has ended."""
        self.on_session_ended(name, seconds)

    @property
    def snapshot(self) -> Snapshot:
        """What the providers offer together, now."""
        return self.router.snapshot

    def on_announce(self, callback: Announce) -> None:
        """Call `callback` after each swap."""
        self._announce.append(callback)

    def on_own_change(self, callback: AnnounceTo) -> None:
        """Call `callback` after what a principal has for himself has changed."""
        self._announce_to.append(callback)

    def providers_for(self, visitor: Visitor) -> list[tuple[ProxyProvider, Member]]:
        """The providers that a visitor uses, some of which may be his own, and what he is shown of them."""
        found = ((member.source, member) for member in self.router.seen_by(visitor).members)
        return [
            (source, member)
            for source, member in found
            if isinstance(source, ProxyProvider) and not isinstance(source, Callers)
        ]

    def add(self, provider: ProxyProvider, mount: Mount, vet: Vet | None = None) -> None:
        """Add a provider behind the others; see `Mounted`."""
        provider.on_change(lambda _: self.refresh())
        self.swap((*self.mounted, Mounted(provider, mount, vet)))

    def refresh(self) -> None:
        """Build the snapshot anew, since what a provider offers has changed."""
        if not self._is_closed:
            self.swap(self.mounted)

    def close(self) -> None:
        """From now on providers come to their end one after the other, and nobody is there who would want to see what is left."""
        self._is_closed = True

    def preview(self, mounted: Sequence[Mounted]) -> Snapshot:
        """The snapshot that a swap to `mounted` would make. Changes nothing."""
        return build_snapshot([item.member for item in mounted], self.snapshot)

    def swap(self, mounted: Sequence[Mounted]) -> None:
        """Make `mounted` what is served, in one step, and announce the listings that differ, and no others."""
        snapshot = self.preview(mounted)
        before, self.router.snapshot = self.router.snapshot, snapshot
        self.mounted = tuple(mounted)
        for collision in snapshot.collisions:
            if collision not in self._warned:
                log.warning("name.collision", kind=str(collision.kind), name=collision.public, message=str(collision))
        self._warned = set(snapshot.collisions)
        providers = set[ProxyProvider]()
        for item in self.mounted:
            item.provider.shown_as(item.mount.public_of)
            if isinstance(item.provider, Callers):
                item.provider.on_account = self._own_changed
                providers.update(item.provider.accounts)
            else:
                providers.add(item.provider)
        self._watchers.follow(providers, self._served)
        for announce in self._announce:
            announce(before)

    # --- requests, by what they are routed by: those of components are the router's

    def task(self, call: Call) -> None:
        """Ask for, answer or cancel a task of the tasks extension (SEP-2663): its public id names its upstream. Raises `RpcError`."""
        found = self._owner_of_task(call.context.downstream, call.params.get("taskId"))
        if found is None:
            raise RpcError(INVALID_PARAMS, f"{call.method}: unknown task")
        provider, mount, origin = found
        call.params = outgoing(call.params, {"taskId": origin})
        call.mount = mount
        call.then(_task_told)
        provider.carry(call)

    # --- what a client wants to hear of

    async def subscribe(
        self, downstream: Downstream, params: dict[str, Any], tell: Callable[[dict[str, Any]], None]
    ) -> None:
        """Let a downstream hear of updates of a public URI; `tell` takes the parameters of each, in public URIs. Errors as `use`."""
        route = await self.route_of(downstream, params)
        uri = params["uri"]

        def told(update: dict[str, Any]) -> None:
            # It may not be its client's to see any more.
            if self.router.find_uri(downstream, uri) is not None:
                tell(update)

        await self._watchers.add(downstream, uri, told, route, self._provider_of(route))

    async def unsubscribe(self, downstream: Downstream, params: dict[str, Any]) -> None:
        """End what `subscribe` began. Errors as `use`."""
        uri = params.get("uri")
        if not isinstance(uri, str) or not await self._watchers.drop(downstream, uri):
            # Nobody waits for it, which is what was asked for, unless there is no such thing.
            await self.route_of(downstream, params)

    async def unsubscribe_all(self, downstream: Downstream) -> None:
        """End what a downstream that is gone wanted to hear of."""
        await self._watchers.drop_all(downstream)

    async def follow_tasks(
        self, downstream: Downstream, ids: Sequence[Any], tell: Callable[[dict[str, Any]], None]
    ) -> tuple[list[str], list[ListenStream]]:
        """Let a downstream hear of its tasks; `tell` takes the parameters of each notification, in public ids and URIs.

        The answer is what the upstreams agreed to, and the streams, which the caller closes.
        """
        asked: dict[str, tuple[ProxyProvider, Mount, list[str]]] = {}
        for public in ids:
            if (found := self._owner_of_task(downstream, public)) is not None:
                provider, mount, origin = found
                asked.setdefault(mount.name, (provider, mount, []))[2].append(origin)
        agreed: list[str] = []
        streams: list[ListenStream] = []
        for provider, mount, origins in asked.values():

            def sink(method: str, told: dict[str, Any], mount: Mount = mount) -> None:
                if method == "notifications/tasks" and "taskId" in told:
                    tell(public_task(rewrite_question(method, told, mount.public), mount, downstream.visitor))

            try:
                heard, stream = await provider.audience.follow_tasks(downstream, origins, sink)
            except (RpcError, UpstreamError) as error:
                log.info("upstream.tasks_not_heard", upstream=mount.name, reason=str(error))
                continue
            streams.append(stream)
            agreed += [public_id(mount, origin, downstream.visitor) for origin in origins if origin in heard]
        return agreed, streams

    async def route_of(self, downstream: Downstream, params: dict[str, Any]) -> Route:
        """The route of the public URI in `params`. Raises `RpcError`: see `not_found`."""
        uri = uri_of(params)
        find = partial(self.router.find_uri, downstream, uri)
        return find() or await self._seek(downstream, find, not_found(downstream, uri))

    async def _seek(self, downstream: Downstream, find: Find, missing: RpcError) -> Route:
        """What `find` finds once a provider that is starting has come up with it. Raises `missing` if none of them has it in time."""
        await self.settle(downstream.visitor, lambda: find() is not None)
        route = find()
        if route is None:
            raise missing
        return route

    def _owner_of_task(self, downstream: Downstream, public: Any) -> tuple[ProxyProvider, Mount, str] | None:
        """Where a task of this client is, and what it is called there."""
        name, _, origin = public.partition("/") if isinstance(public, str) else ("", "", "")
        name = name.partition(":")[0]
        for member in self.router.seen_by(downstream.visitor).members:
            if member.mount.home + quote(member.mount.name, safe="") == name and isinstance(
                member.source, ProxyProvider
            ):
                is_his = is_task_of(downstream.visitor, member.mount, origin, public)
                return (member.source, member.mount, origin) if is_his else None
        return None

    def _served(self, downstream: Downstream, uri: str) -> tuple[Route, ProxyProvider] | None:
        route = self.router.find_uri(downstream, uri)
        return None if route is None else (route, self._provider_of(route))

    def _provider_of(self, route: Route) -> ProxyProvider:
        if isinstance(route.source, ProxyProvider):
            return route.source
        raise UpstreamUnavailable(route.mount.name, "nothing of it can be subscribed to")

    def _own_changed(self, identity: str) -> None:
        if not self._is_closed:
            for announce in self._announce_to:
                announce(identity)


def _task_told(call: Call, outcome: Outcome) -> Outcome:
    """On the way back: a task as the mesh names it."""
    if isinstance(outcome, dict) and "taskId" in outcome:
        return public_task(outcome, call.mount, call.context.downstream.visitor)
    return outcome
