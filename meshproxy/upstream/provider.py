"""`ProxyProvider`: one upstream, and the way of every request to it. Which link carries which is for `Lanes` to say."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import structlog

from meshproxy.catalog.catalog import Catalog, Mount
from meshproxy.catalog.component import COMPONENTS, ProxyComponent
from meshproxy.eras.bridge import Bridge
from meshproxy.eras.required_task import request as request_task
from meshproxy.eras.translate import Stamp
from meshproxy.errors import METHOD_NOT_FOUND, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.kinds import BY_CHANGED, KINDS, Kind
from meshproxy.links.link import Link
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, RequestContext, Result, bridged
from meshproxy.relay.handler import finish
from meshproxy.upstream.carrier import Carrier
from meshproxy.upstream.client import CLIENT, ProxyClient, StatefulProxyClient
from meshproxy.upstream.connections import ClientFactory, Connections, StatefulFactory, the_one_client
from meshproxy.upstream.inbound import Inbound
from meshproxy.upstream.lanes import Lanes, SessionMode
from meshproxy.upstream.listening import Listening, Tell
from meshproxy.upstream.scrubbing import scrubbed
from meshproxy.upstream.subscriptions import Sink, Subscriptions
from meshproxy.upstream.supervisor import State, Supervisor
from meshproxy.upstream.verbosity import Verbosity
from meshproxy.wire.codec import opened
from meshproxy.wire.protocol import Era

log = structlog.get_logger(__name__)


class ProxyProvider:
    """One upstream.

    `client`, or `client_factory` by another name, is a `ProxyClient` or a factory of them, sync or async. A factory that takes an argument is
    given the downstream session and makes each its own client, hence its own upstream session; one that takes none makes the one client
    that all share. Each session has one to itself also if that client is a `StatefulProxyClient`.

    Raises:
        TypeError: it is neither, or both were given, or none.

    Attributes:
        name: the upstream's name.
        carry: carries a `Call` in the upstream's own names; its outcome is in those of its mount, and of the era of its client. It ends with the
            upstream's error, an `RpcError`; with `UpstreamUnavailable`, nothing was sent; or with `AnswerLost`, it was sent, and no answer will
            come. What cannot even be tried is raised.
        subscriptions: who waits for updates of which resources.
        counter_subscriptions: the same of sessions that share a link of the other era (`meshproxy.upstream.mirror`).
    """

    def __init__(
        self,
        client: ProxyClient | ClientFactory | StatefulFactory | None = None,
        cache_ttl: float | None = 300.0,
        *,
        client_factory: ClientFactory | StatefulFactory | None = None,
        name: str | None = None,
        session: SessionMode = "auto",
        start: Literal["eager", "lazy"] = "eager",
        forward_headers: tuple[str, ...] = (),
        connect_timeout: float | None = 30.0,
        list_timeout: float | None = 15.0,
        call_timeout: float | None = 300.0,
        idle_timeout: float | None = None,
        stamp: Stamp | None = None,
        scrub: Callable[[str], str] = str,
    ) -> None:
        client = the_one_client(client, client_factory)
        self.name = name or (client.name if isinstance(client, ProxyClient) else "upstream")
        self.subscriptions = Subscriptions()
        self.counter_subscriptions = Subscriptions()
        forward = tuple(header.lower() for header in forward_headers)
        self._scrub = scrub
        self._bridge = Bridge(stamp or Stamp(CLIENT))
        self._inbound = Inbound(self)
        self._verbosity = Verbosity()
        self._connections = Connections(
            client,
            self,
            self._inbound,
            self._verbosity,
            connect_timeout,
            forward,
            elsewhere=self._on_counterpart_said,
            bring_along=self._bring_along,
            replay=self._replay,
        )
        self._supervisor = Supervisor(
            self.name,
            self._connections.open_control,
            self._on_control_opened,
            self._on_control_closing,
            self._is_in_use,
            lazy=start == "lazy",
            list_timeout=list_timeout,
            idle_timeout=idle_timeout,
            cache_ttl=cache_ttl,
            scrub=scrub,
        )
        self._lanes = Lanes(
            self.name,
            "isolated" if self._connections.per_session else session,
            self._supervisor,
            self._connections,
            patience=connect_timeout,
            turn=call_timeout,
        )
        self._carrier = Carrier(
            self,
            self._lanes,
            self._bridge,
            self._connections,
            self._supervisor,
            self._inbound,
            forward,
            call_timeout,
        )
        self.carry = self._carrier.carry

    def __repr__(self) -> str:
        tools = len(self.catalog[Kind.TOOL]) if self.catalog else 0
        return f"<ProxyProvider {self.name!r} {self.state} tools={tools} leases={self._carrier.running} sessions={len(self._lanes.sessions)}>"

    # --- how it is

    @property
    def state(self) -> State:
        """How it is."""
        return self._supervisor.state

    @property
    def reason(self) -> str:
        """Why it is down, or what could not be listed while it is up, in one line; "" otherwise."""
        return self._supervisor.reason

    @property
    def catalog(self) -> Catalog | None:
        """What it offered when it was listed last; None before."""
        return self._supervisor.catalog

    @property
    def completes(self) -> bool:
        """Whether it can be asked to complete arguments, as far as is known."""
        return self.catalog is None or "completions" in self.catalog.capabilities

    @property
    def is_up(self) -> bool:
        """Whether it can be used: connected, or idle and ready to be."""
        return self.state in (State.UP, State.IDLE)

    def status(self) -> dict[str, Any]:
        """How it is, for people and for `/readyz`."""
        status: dict[str, Any] = {"state": str(self.state)}
        if self.reason:
            status["reason"] = self.reason
        control = self._supervisor.link
        if control is not None:
            status |= {"era": str(control.era), "protocol": control.version}
        if self.catalog is not None:
            status |= {KINDS[kind].plural: count for kind, count in self.catalog.counts().items()}
        status |= {
            "calls": self._carrier.running,
            "sessions": len(self._lanes.sessions),
            "mirrored": self._lanes.mirrored(),
            "seconds": round(self._supervisor.seconds, 3),
        }
        if self._connections.client is not None:
            status |= self._connections.client.endpoint.statistics()
        return status

    # --- life

    def sign_as(self, stamp: Stamp) -> None:
        """From now on, results of the modern era name the server that `stamp` is of."""
        self._bridge.stamp = stamp

    def on_change(self, callback: Callable[["ProxyProvider"], None]) -> None:
        """Call `callback` whenever `state` or `catalog` changed. It must not block."""
        self._supervisor.on_change(partial(callback, self))

    def start(self) -> None:
        """Begin to connect, in the background. Idempotent."""
        self._supervisor.start()

    def want(self) -> None:
        """Somebody needs it: an idle one connects."""
        self._supervisor.want()

    async def settled(self) -> None:
        """Wait until the attempt to connect and list that is under way is over, one way or the other."""
        await self._supervisor.settled()

    async def retire(self, timeout: float | None) -> None:
        """Take no new work, wait `timeout` seconds at most for what runs, then close."""
        self._carrier.is_shut = True
        try:
            async with asyncio.timeout(timeout):
                await self._carrier.free.wait()
        except TimeoutError:
            log.warning("upstream.drain_timeout", upstream=self.name, calls=self._carrier.running)
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection now. Idempotent."""
        self._carrier.is_shut = True
        await self._bridge.parking.aclose()
        await self._supervisor.aclose()
        await self._lanes.aclose()
        if self._connections.client is not None:
            await self._connections.client.endpoint.aclose()

    # --- components, for use without a mesh

    async def components(self, kind: Kind) -> tuple[ProxyComponent, ...]:
        """What it offers of one kind, in its own names.

        Raises:
            UpstreamUnavailable: it was never listed and cannot be now.
        """
        self.start()
        self.want()
        await self.settled()
        if self.catalog is None:
            raise UpstreamUnavailable(self.name, self.reason or "it has not been listed")
        key = KINDS[kind].key
        return tuple(
            COMPONENTS[kind].from_mcp(self, item) for item in self.catalog[kind] if isinstance(item.get(key), str)
        )

    async def get_tasks(self) -> tuple[ProxyComponent, ...]:
        """Components that may run as tasks of 2025-11-25: none, every component forbids it."""
        return ()

    # --- requests

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        context: RequestContext | None = None,
        mount: Mount | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Result:
        """`carry` a request and wait for its end. `params` is the caller's to give away.

        Without a context it is the mesh's own: no session, no questions, the result as it came.

        Raises:
            RpcError: the upstream's error.
            UpstreamUnavailable: nothing was sent.
            AnswerLost: it was sent, and no answer will come.
        """
        if context is None:
            with self._in_use():
                try:
                    link = await self._lanes.control()
                    if "task" in params:
                        return await request_task(link, method, params)
                    return await link.request(method, params)
                except (RpcError, UpstreamError) as error:
                    raise self.scrubbed(error) from None
        call = Call(context, method, params)
        call.mount = mount or Mount(self.name)
        call.headers = headers or {}
        return await finish(call, self.carry)

    def forwarded(self, call: Call) -> Mapping[str, str]:
        """See `meshproxy.upstream.carrier.Owner`."""
        shown, lease = self._connections.shown_by(call.context.downstream) or {}, call.lease
        if lease is not None and lease.owner is not None:
            lease.link.identify(shown)
        return {**shown, **call.headers}

    async def tell_level(self, call: Call) -> None:
        """See `meshproxy.upstream.carrier.Owner`."""
        if call.lease is not None:
            self._verbosity.want(call.context.downstream, str(call.context.downstream.log_level))
            await self._verbosity.tell(call.lease.link)

    def _is_in_use(self) -> bool:
        subscribed = self.subscriptions or self.counter_subscriptions
        return bool(self._carrier.running or len(self._bridge.parking) or subscribed)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """What is no call and is not to be closed under its user either."""
        if self._carrier.is_shut:
            raise UpstreamUnavailable(self.name, "it was removed from the mesh")
        self._carrier.enter()
        try:
            yield
        finally:
            self._carrier.leave()

    def scrubbed(self, error: RpcError | UpstreamError) -> RpcError | UpstreamError:
        """An error without the secrets of the config."""
        if isinstance(error, UpstreamError):
            return type(error)(error.upstream, self._scrub(error.reason))
        return RpcError(error.code, self._scrub(error.message), scrubbed(error.data, self._scrub))

    # --- what a client wants to hear of

    async def subscribe(self, downstream: Downstream, uri: str, sink: Sink) -> None:
        """Let a downstream hear of updates of a resource, until it unsubscribes or is gone. Errors as `request`."""
        with self._in_use():
            place = await self._lanes.place(downstream)
            shared = self.counter_subscriptions if place.is_counterpart else self.subscriptions
            await shared.subscribe(place.link, downstream.key, uri, sink, is_own=place.is_own)

    async def unsubscribe(self, downstream: Downstream, uri: str) -> None:
        """The opposite. Errors as `request`."""
        own, key = self._lanes.sessions.get(downstream.key), downstream.key
        with self._in_use():
            for shared, link in self._shared():
                await shared.unsubscribe(key, uri, own=own, control=link)

    async def unsubscribe_all(self, downstream: Downstream) -> None:
        """A downstream is gone: forget what it subscribed to, and tell the upstream what nobody wants any more."""
        for shared, link in self._shared():
            uris = shared.drop(downstream.key)
            if uris and link is not None:
                await shared.trim(link, uris)

    async def follow_tasks(
        self, downstream: Downstream, ids: Sequence[str], tell: Tell
    ) -> tuple[frozenset[str], Listening]:
        """Hear of a client's tasks (SEP-2663) until the stream is closed: those that the upstream agreed to, and the stream.

        Raises:
            RpcError: the upstream refuses, or has no tasks.
            UpstreamError: see `request`.
        """
        control = await self._lanes.control()
        if control.era is Era.LEGACY:
            raise RpcError(METHOD_NOT_FOUND, "a legacy upstream has no tasks of this kind")
        listening = Listening(control, tell, bridged(downstream), self._connections.shown_by(downstream))
        try:
            return await listening.hear_tasks(ids), listening
        except BaseException:
            await listening.aclose()
            raise

    async def set_level(self, downstream: Downstream, level: str) -> None:
        """Tell the upstream which log lines a session wants; over a link that others use too, what any of them wants."""
        self._verbosity.want(downstream, level)
        own, link = self._lanes.sessions.get(downstream.key), self._lanes.present(downstream)
        if own is None and link is not None:
            await self._verbosity.tell(link)
        elif own is not None and own.era is Era.LEGACY and "logging" in own.capabilities:
            await own.request("logging/setLevel", {"level": level})

    async def roots_changed(self, downstream: Downstream) -> None:
        """A client's roots changed: tell whoever may have asked it for them."""
        link = self._lanes.present(downstream)
        if link is not None and link.era is Era.LEGACY:
            await link.notify("notifications/roots/list_changed")

    # --- connections

    def _shared(self) -> tuple[tuple[Subscriptions, Link | None], ...]:
        """What clients share to hear of resources, and the open links over which they do."""
        return (
            (self.subscriptions, self._supervisor.open_link()),
            (self.counter_subscriptions, self._lanes.shared.counterpart_link()),
        )

    async def _bring_along(self, own: Link, holder: str) -> None:
        """Let a session's own link hear of what the session subscribed to before it had one."""
        for shared, link in self._shared():
            unshared = shared.claim(holder)
            await shared.replay(own, holder)
            if link is not None:
                await shared.trim(link, unshared)

    async def _replay(self, counterpart: Link) -> None:
        await self.counter_subscriptions.open(counterpart, self._on_counterpart_said)

    async def _on_control_opened(self, control: Link) -> None:
        if isinstance(self._connections.client, StatefulProxyClient):
            self._lanes.isolate()
        await self.subscriptions.open(control, partial(self.on_elsewhere, None))
        await self._verbosity.tell(control)

    async def _on_control_closing(self) -> None:
        await self.subscriptions.aclose()
        await self._lanes.rest(is_idle=self._supervisor.state is State.IDLE)

    # --- what an upstream says on its own account (see `meshproxy.upstream.inbound.Owner`)

    def on_talk(self) -> None:
        if self._lanes.shared.on_talk():
            consequence = "callers are kept apart, unless 'session: shared'"
            log.info("upstream.talks", upstream=self.name, consequence=consequence)

    def on_elsewhere(self, downstream: Downstream | None, method: str, params: dict[str, Any]) -> None:
        if method in BY_CHANGED:
            self._supervisor.list_soon()
        elif method == "notifications/resources/updated":
            uri = opened(params.get("uri"))
            if isinstance(uri, str):
                holder = downstream.key if downstream else None
                self.subscriptions.deliver(holder, uri, params)
                if holder is not None:
                    # What it shared before it had a link of its own.
                    self.counter_subscriptions.deliver(holder, uri, params)
        elif method == "notifications/elicitation/complete":
            owner = self._carrier.elicitations.owner(params) or downstream
            if owner is not None:
                owner.notify(method, params)

    def _on_counterpart_said(self, method: str, params: dict[str, Any]) -> None:
        uri = opened(params.get("uri")) if method == "notifications/resources/updated" else None
        if isinstance(uri, str):
            self.counter_subscriptions.deliver(None, uri, params)
        elif method in BY_CHANGED:
            self._supervisor.list_soon(self._lanes.shared.counterpart_link())
        else:
            self.on_elsewhere(None, method, params)

    def sole_resident(self, link: Link) -> Downstream | None:
        return self._lanes.shared.sole_resident(link)

    def on_link_closed(self, link: Link, downstream: Downstream | None, reason: str) -> None:
        if downstream is not None:
            self._lanes.sessions.discard(downstream.key)
        else:
            self._lanes.shared.on_closed(link)
            self._supervisor.lose(link, reason)

    async def ask_standalone(self, downstream: Downstream, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return await downstream.send_raw_request(method, params)
