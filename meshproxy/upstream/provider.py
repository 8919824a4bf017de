"""`ProxyProvider`: one upstream, and the way of every request to it. Which link carries which is for `LinkChoice` to say."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import structlog

from meshproxy.catalog.catalog import Catalog, Mount
from meshproxy.catalog.component import COMPONENTS, ProxyComponent
from meshproxy.eras.bridge import Bridge
from meshproxy.eras.required_task import request as request_task
from meshproxy.eras.translate import ServerSignature
from meshproxy.errors import RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.guard.rules import Rules
from meshproxy.kinds import BY_CHANGED, KINDS, Kind
from meshproxy.links.link import Link
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, RequestContext, Result
from meshproxy.relay.handler import finish
from meshproxy.supervision.starts import Starts, Urgency
from meshproxy.supervision.states import AVAILABLE, DOWN, State
from meshproxy.supervision.supervisor import Supervisor
from meshproxy.upstream.attribution import Attribution
from meshproxy.upstream.audience import Audience
from meshproxy.upstream.carrier import Carrier
from meshproxy.upstream.client import CLIENT, ProxyClient, StatefulProxyClient
from meshproxy.upstream.connections import ClientFactory, Connections, StatefulFactory, the_one_client
from meshproxy.upstream.link_choice import LinkChoice, SessionMode
from meshproxy.upstream.recollection import Recollection
from meshproxy.wire.codec import opened
from meshproxy.wire.scrubbing import without_secrets

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
        carry: carries a `Call` in the upstream's own names; its outcome is in those of its mount, and of the era of its client. It ends with the upstream's
            error, an `RpcError`; `UpstreamUnavailable`, nothing was sent; or `AnswerLost`, no answer will come. What cannot even be tried is raised.
        limit: takes the `Rules` that its calls go by from now on; those in flight and those that wait for their turn keep what they have.
        stderr, keep_stderr: what a command writes to standard error, secrets included, None for what is none; and how many bytes of it to keep.
        on_login: told that there are credentials for it (None), or that there are none until somebody logs in.
        audience, recollection, entered: who wants to hear what of it, what of it outlives the mesh, and how often it came into each state.
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
        rules: Rules | None = None,
        stamp: ServerSignature | None = None,
        scrub: Callable[[str], str] = str,
        starts: Starts | None = None,
    ) -> None:
        client = the_one_client(client, client_factory)
        self.name = name or (client.name if isinstance(client, ProxyClient) else "upstream")
        forward = tuple(header.lower() for header in forward_headers)
        self._bridge = Bridge(stamp or ServerSignature(CLIENT))
        self._scrub, self._attribution = scrub, Attribution(self)
        self.audience = Audience(partial(self.on_elsewhere, None), self._on_counterpart_said)
        self._connections = Connections(
            client,
            self,
            self._attribution,
            self.audience.log_levels,
            connect_timeout,
            forward,
            elsewhere=self._on_counterpart_said,
            bring_along=self.audience.brought_along,
            replay=self.audience.on_counterpart,
        )
        self._supervisor = Supervisor(
            self.name,
            self._connections.open_control,
            self._on_control_opened,
            self._on_control_closing,
            lambda: bool(self._carrier.running or len(self._bridge.parking) or self.audience),
            lazy=start == "lazy",
            list_timeout=list_timeout,
            idle_timeout=idle_timeout,
            cache_ttl=cache_ttl,
            scrub=scrub,
            place=(starts or Starts()).place(is_program=self._connections.is_dear),
            own=lambda: self._bridge.stamp.token,
        )
        self.entered, self.shown_as = self._supervisor.condition.entered, self._supervisor.listings.shown_as
        self.recollection = Recollection(self._supervisor, self._connections.known)
        self._choice = LinkChoice(
            self.name,
            "isolated" if self._connections.per_session else session,
            self._supervisor,
            self._connections,
            patience=connect_timeout,
            turn=call_timeout,
        )
        self.audience.join(self._connections, self._choice, self._in_use)
        self._carrier = carrier = Carrier(
            self,
            rules or Rules(),
            self._choice,
            self._bridge,
            self._connections,
            self.audience,
            self._supervisor,
            self._attribution,
            forward,
            call_timeout,
        )
        self.carry, self.limit, self.on_login = carrier.carry, carrier.limit, self._supervisor.on_login
        self.stderr, self.keep_stderr = self._connections.stderr, self._connections.keep_stderr

    def __repr__(self) -> str:
        tools = len(self.catalog[Kind.TOOL]) if self.catalog else 0
        return f"<ProxyProvider {self.name!r} {self.state} tools={tools} leases={self._carrier.running} sessions={len(self._choice.sessions)}>"

    # --- how it is

    @property
    def state(self) -> State:
        """How it is."""
        return self._supervisor.state

    @property
    def reason(self) -> str:
        """Why it is down, or what could not be listed while it is up, in one line; "" otherwise."""
        return self._supervisor.condition.reason

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
        return self.state in AVAILABLE

    @property
    def is_down(self) -> bool:
        """Whether it cannot be used, though that was tried."""
        return self.state in DOWN

    def status(self) -> dict[str, Any]:
        """How it is, for people and for `/readyz`."""
        status = self._supervisor.status() | self._carrier.status() | self._choice.status()
        if self._connections.client is not None:
            status |= self._connections.client.endpoint.statistics()
        return status

    # --- life

    def sign_as(self, stamp: ServerSignature) -> None:
        """From now on, results of the modern era name the server that `stamp` is of."""
        self._bridge.stamp = stamp

    def on_change(self, callback: Callable[["ProxyProvider"], None]) -> None:
        """Call `callback` whenever `state` or `catalog` changed, or something was found out. It must not block."""
        self._supervisor.condition.on_change(partial(callback, self))

    def start(self, urgency: Urgency = Urgency.USUAL) -> None:
        """Begin to connect, in the background, when it is its turn. Idempotent."""
        self._supervisor.start(urgency)

    def want(self) -> None:
        """Somebody needs it: an idle one connects."""
        self._supervisor.want()

    async def settled(self) -> None:
        """Wait until the attempt to connect and list that is under way is over, one way or the other."""
        await self._supervisor.settled()

    async def retire(self, timeout: float | None) -> None:
        """Take no new work, wait `timeout` seconds at most for what runs, then close."""
        self._carrier.is_shut = True
        self._supervisor.retire()
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
        await self._choice.aclose()
        if self._connections.client is not None:
            await self._connections.client.endpoint.aclose()

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
        return tuple(
            COMPONENTS[kind].from_mcp(self, item)
            for item in self.catalog[kind]
            if isinstance(item.get(KINDS[kind].key), str)
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
                    link = await self._choice.control()
                    asked = request_task(link, method, params) if "task" in params else link.request(method, params)
                    return await asked
                except (RpcError, UpstreamError) as error:
                    raise self.scrubbed(error) from None
        call = Call(context, method, params)
        call.mount = mount or Mount(self.name)
        call.headers = headers or {}
        return await finish(call, self.carry)

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
        return without_secrets(error, self._scrub)

    # --- connections

    async def _on_control_opened(self, control: Link) -> None:
        if isinstance(self._connections.client, StatefulProxyClient):
            self._choice.isolate()
        await self.audience.on_control(control)

    async def _on_control_closing(self) -> None:
        await self.audience.subscriptions.aclose()
        await self._choice.rest(is_idle=self._supervisor.state is State.IDLE)

    # --- what an upstream says on its own account (see `meshproxy.upstream.attribution.Owner`)

    def on_talk(self) -> None:
        if self._choice.shared.on_talk():
            self.recollection.on_talk()

    def on_elsewhere(self, downstream: Downstream | None, method: str, params: dict[str, Any]) -> None:
        if method in BY_CHANGED:
            self._supervisor.list_soon()
        elif method == "notifications/resources/updated":
            uri = opened(params.get("uri"))
            if isinstance(uri, str):
                self.audience.deliver(downstream.key if downstream else None, uri, params)
        elif method == "notifications/elicitation/complete":
            owner = self._carrier.elicitations.owner(params) or downstream
            if owner is not None:
                owner.notify(method, params)

    def _on_counterpart_said(self, method: str, params: dict[str, Any]) -> None:
        uri = opened(params.get("uri")) if method == "notifications/resources/updated" else None
        if isinstance(uri, str):
            self.audience.counter_subscriptions.deliver(None, uri, params)
        elif method in BY_CHANGED:
            self._supervisor.list_soon(self._choice.shared.counterpart.link)
        else:
            self.on_elsewhere(None, method, params)

    @property
    def shares_one_link(self) -> bool:
        return self._choice.mode == "shared"

    def sole_resident(self, link: Link) -> Downstream | None:
        return self._choice.shared.sole_resident(link)

    def on_link_closed(self, link: Link, downstream: Downstream | None, reason: str) -> None:
        if downstream is not None:
            self._choice.sessions.discard(downstream.key)
        else:
            self._choice.shared.on_closed(link)
            self._supervisor.lose(link, reason)
