"""`ProxyProvider`: one upstream, kept alive and listed by a task of its own, and the way of every request to it.

The owner task connects, lists, watches, and connects again with growing pauses when the connection is lost. Requests never wait for it
longer than the first connection takes: while an upstream is down, they fail at once.
"""

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, cast

import structlog

from meshproxy.catalog.catalog import Catalog, Mount
from meshproxy.catalog.component import COMPONENTS, ProxyComponent
from meshproxy.errors import AnswerLost, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.kinds import BY_CHANGED, KINDS, Kind
from meshproxy.relay.call import RelayCall
from meshproxy.relay.downstream import Downstream, RequestContext, Result
from meshproxy.relay.handlers import Handlers
from meshproxy.relay.translate import Stamp
from meshproxy.upstream.bridge import Bridge
from meshproxy.upstream.client import BRIDGED, CLIENT, ProxyClient, bridged
from meshproxy.upstream.inbound import Inbound
from meshproxy.upstream.link import Link
from meshproxy.upstream.listing import list_catalog
from meshproxy.upstream.sessions import Sessions
from meshproxy.upstream.subscriptions import Sink, Subscriptions
from meshproxy.wire.codec import opened
from meshproxy.wire.protocol import Era

log = structlog.get_logger(__name__)

SessionMode = Literal["auto", "isolated", "shared"]
ClientFactory = Callable[[], ProxyClient | Awaitable[ProxyClient]]
StatefulFactory = Callable[[Downstream], ProxyClient | Awaitable[ProxyClient]]

BACKOFF: Final = (0.5, 30.0)
"""Seconds before the first attempt to connect again, and the most; each attempt doubles them, give or take a fifth."""
STABLE: Final = 5.0
"""Seconds after which a connection counts as one that held."""
SETTLE: Final = 0.05
"""Seconds for which several `list_changed` of one upstream are gathered into one listing."""


class State(StrEnum):
    """How an upstream is."""

    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    IDLE = "idle"
    """Not connected because nobody uses it: a lazy one, or one that `timeouts.idle` closed."""
    CLOSED = "closed"


class ProxyProvider:
    """One upstream.

    `client` is a `ProxyClient` or a factory of them, sync or async. A factory that takes an argument is given the downstream session and
    makes each its own client, hence its own upstream session; one that takes none makes the one client that all share.

    Attributes:
        name: the upstream's name.
        state: how it is.
        reason: why it is down, in one line; "" otherwise.
        catalog: what it offered when it was listed last; None before.
    """

    def __init__(
        self,
        client: ProxyClient | ClientFactory | StatefulFactory,
        *,
        name: str | None = None,
        session: SessionMode = "auto",
        start: Literal["eager", "lazy"] = "eager",
        forward_headers: tuple[str, ...] = (),
        cache_ttl: float | None = 300.0,
        connect_timeout: float | None = 30.0,
        list_timeout: float | None = 15.0,
        call_timeout: float | None = 300.0,
        idle_timeout: float | None = None,
        stamp: Stamp | None = None,
        scrub: Callable[[str], str] = str,
    ) -> None:
        self._factory = client
        self._per_session = callable(client) and bool(inspect.signature(client).parameters)
        self.name = name or (client.name if isinstance(client, ProxyClient) else "upstream")
        self.session = "isolated" if self._per_session else session
        self.state = State.IDLE if start == "lazy" else State.STARTING
        self.reason = ""
        self.catalog: Catalog | None = None
        self.cache_ttl = cache_ttl
        self.connect_timeout = connect_timeout
        self.list_timeout = list_timeout
        self.call_timeout = call_timeout
        self.idle_timeout = idle_timeout
        self.seconds = 0.0
        self._lazy = start == "lazy"
        self._forward = tuple(header.lower() for header in forward_headers)
        self._scrub = scrub
        self._stamp = stamp or Stamp(CLIENT)
        self._bridge = Bridge(self._stamp)
        self._client: ProxyClient | None = client if isinstance(client, ProxyClient) else None
        self._control: Link | None = None
        self._inbound = Inbound(self)
        self._sessions = Sessions(self._open_isolated)
        self._talks = False
        self._leases = 0
        self._free = asyncio.Event()
        self._free.set()
        self._retiring = False
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._relist = False
        self._lost = ""
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._last_use = time.monotonic()
        self._listeners: list[Callable[[ProxyProvider], None]] = []
        self.subscriptions = Subscriptions()

    def __repr__(self) -> str:
        tools = len(self.catalog[Kind.TOOL]) if self.catalog else 0
        return f"<ProxyProvider {self.name!r} {self.state} tools={tools} leases={self._leases} sessions={len(self._sessions)}>"

    # --- life

    def on_change(self, callback: Callable[["ProxyProvider"], None]) -> None:
        """Call `callback` whenever `state` or `catalog` changed. It must not block."""
        self._listeners.append(callback)

    def start(self) -> None:
        """Begin to connect, in the background. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name=f"upstream {self.name}")

    def want(self) -> None:
        """Somebody needs it: an idle one connects."""
        self._last_use = time.monotonic()
        if self.state is State.IDLE:
            self._set(State.STARTING)
            self._settled.clear()
        self._wanted.set()

    async def settled(self) -> None:
        """Wait until the first attempt to connect and list is over, one way or the other; at once if it is lazy and not wanted."""
        if self.state is State.STARTING:
            await self._settled.wait()

    @property
    def is_up(self) -> bool:
        """Whether it can be used: connected, or idle and ready to be."""
        return self.state in (State.UP, State.IDLE)

    async def retire(self, timeout: float | None) -> None:
        """Take no new work, wait `timeout` seconds at most for what runs, then close."""
        self._retiring = True
        try:
            async with asyncio.timeout(timeout):
                await self._free.wait()
        except TimeoutError:
            log.warning("upstream.drain_timeout", upstream=self.name, calls=self._leases)
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection now. Idempotent."""
        self._retiring = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._bridge.parking.aclose()
        await self._sessions.aclose()
        await self._close_control()
        if self._client is not None:
            await self._client.endpoint.aclose()
        self._set(State.CLOSED)

    def status(self) -> dict[str, Any]:
        """How it is, for people and for `/readyz`."""
        status: dict[str, Any] = {"state": str(self.state)}
        if self.reason:
            status["reason"] = self.reason
        if self._control is not None:
            status |= {"era": str(self._control.era), "protocol": self._control.version}
        if self.catalog is not None:
            status |= {KINDS[kind].plural: count for kind, count in self.catalog.counts().items()}
        status |= {"calls": self._leases, "sessions": len(self._sessions), "seconds": round(self.seconds, 3)}
        if self._client is not None:
            status |= self._client.endpoint.statistics()
        return status

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
        return tuple(
            COMPONENTS[kind].from_mcp(self, item)
            for item in self.catalog[kind]
            if isinstance(item.get(KINDS[kind].key), str)
        )

    def get_tasks(self) -> tuple[ProxyComponent, ...]:
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
        """Carry a request in the upstream's own names; the result is in `mount`'s, and of the era of `context`.

        Without a context it is the mesh's own: no session, no questions, the result as it came. `params` is the caller's to give away.

        Raises:
            RpcError: the upstream's error.
            UpstreamUnavailable: nothing was sent.
            AnswerLost: it was sent, and no answer will come.
        """
        if self._retiring:
            raise UpstreamUnavailable(self.name, "it was removed from the mesh")
        self._leases += 1
        self._free.clear()
        self._last_use = time.monotonic()
        try:
            if context is None:
                return await (self._control_now() or await self._control_soon()).request(method, params)
            if "requestState" in params and context.downstream.era is Era.MODERN:
                parked = await self._bridge.resume(context, method, params)
                if parked is not None:
                    return parked
            return await self._carry(context, method, params, mount or Mount(self.name), headers)
        finally:
            self._leases -= 1
            self._inbound.on_call_ended()
            if not self._leases:
                self._free.set()

    async def _carry(
        self,
        context: RequestContext,
        method: str,
        params: dict[str, Any],
        mount: Mount,
        headers: Mapping[str, str] | None,
    ) -> Result:
        link = self._link_now(context.downstream) or await self._link_soon(context.downstream)
        sent = {name: context.headers[name] for name in self._forward if name in context.headers} | dict(headers or {})
        call = RelayCall(context, mount, self._handlers, self._on_aside, self.call_timeout, sent)
        try:
            return await self._bridge.carry(link, call, method, params)
        except UpstreamUnavailable as error:
            self._suspect(link, error)
            if link.is_open:
                raise
            # It was not sent, so sending it is no repetition: a session that expired opens anew.
            link = await self._link_soon(context.downstream)
            return await self._bridge.carry(link, call, method, params)
        except AnswerLost as error:
            self._suspect(link, error)
            raise

    def _link_now(self, downstream: Downstream) -> Link | None:
        """The link of a downstream if it is open already: the usual case, and the only one that does not wait."""
        if self._is_isolated(downstream):
            return self._sessions.get(downstream.key) if self.state is State.UP else None
        return self._control_now()

    async def _link_soon(self, downstream: Downstream) -> Link:
        control = self._control_now() or await self._control_soon()
        if not self._is_isolated(downstream):
            return control
        return await self._sessions.obtain(downstream)

    def _control_now(self) -> Link | None:
        control = self._control
        return control if control is not None and control.is_open else None

    async def _control_soon(self) -> Link:
        """The control link after a start that is under way, or the reason why there is none."""
        self.start()
        self.want()
        if self.state in (State.STARTING, State.IDLE):
            await self._settled.wait()
        control = self._control_now()
        if control is None:
            raise UpstreamUnavailable(self.name, self.reason or self._lost or "it is not connected")
        return control

    def _is_isolated(self, downstream: Downstream) -> bool:
        """Whether a downstream has a link of its own: only a legacy session can, and only a legacy upstream keeps one."""
        if (
            downstream.era is not Era.LEGACY
            or self.session == "shared"
            or (self._control is not None and self._control.era is Era.MODERN)
        ):
            return False
        return self.session == "isolated" or self._talks or not self._is_command

    @property
    def _is_command(self) -> bool:
        """Whether a connection is a process, and so dear."""
        return self._client is not None and self._client.endpoint.is_process

    @property
    def _handlers(self) -> Handlers:
        return self._client.handlers if self._client is not None else Handlers()

    async def subscribe(self, downstream: Downstream, uri: str, sink: Sink) -> None:
        """Let a downstream hear of updates of a resource, until it unsubscribes or is gone. Errors as `request`."""
        link = self._link_now(downstream) or await self._link_soon(downstream)
        await self.subscriptions.subscribe(link, downstream.key, uri, sink, is_own=self._is_isolated(downstream))

    async def unsubscribe(self, downstream: Downstream, uri: str) -> None:
        """The opposite. Errors as `request`."""
        link = self._link_now(downstream) or await self._link_soon(downstream)
        await self.subscriptions.unsubscribe(link, downstream.key, uri, is_own=self._is_isolated(downstream))

    async def unsubscribe_all(self, downstream: Downstream) -> None:
        """A downstream is gone: forget what it subscribed to, and tell the upstream what nobody wants any more."""
        uris = self.subscriptions.drop(downstream.key)
        control = self._control_now()
        if uris and control is not None:
            await self.subscriptions.trim(control, uris)

    async def set_level(self, downstream: Downstream, level: str) -> None:
        """Tell an isolated session's upstream which log lines its client wants; a shared one is filtered here."""
        if self._is_isolated(downstream):
            link = self._sessions.get(downstream.key)
            if link is not None and "logging" in link.capabilities:
                await link.request("logging/setLevel", {"level": level})

    async def roots_changed(self, downstream: Downstream) -> None:
        """A client's roots changed: tell whoever may have asked it for them."""
        link = self._sessions.get(downstream.key) if self._is_isolated(downstream) else self._control_now()
        if link is not None and link.era is Era.LEGACY:
            await link.notify("notifications/roots/list_changed")

    # --- connections

    async def _make_client(self, downstream: Downstream | None) -> ProxyClient:
        if isinstance(self._factory, ProxyClient):
            return self._factory
        if self._per_session:
            made = cast("StatefulFactory", self._factory)(cast("Downstream", downstream))
        else:
            made = cast("ClientFactory", self._factory)()
        return await made if inspect.isawaitable(made) else made

    async def _open_isolated(self, downstream: Downstream) -> Link:
        client = await self._make_client(downstream) if self._per_session else cast("ProxyClient", self._client)
        inbound = Inbound(self, downstream)
        link = await client.connect(inbound, downstream.capabilities, self.connect_timeout)
        if bridged(downstream.capabilities) or "logging" in link.capabilities:
            await link.listen()
        if downstream.log_level is not None and "logging" in link.capabilities:
            await link.request("logging/setLevel", {"level": downstream.log_level})
        await self.subscriptions.replay(link, downstream.key)
        return link

    async def _supervise(self) -> None:
        """Keep the control link: the only task that opens or closes it."""
        failures = 0
        while True:
            if self.state is State.IDLE:
                await self._wanted.wait()
            begun = time.monotonic()
            try:
                await self._connect()
            except (UpstreamError, RpcError) as error:
                await self._close_control()
                self._down(error.reason if isinstance(error, UpstreamError) else error.message)
            else:
                self.seconds = time.monotonic() - begun
                self._settle(State.UP)
                await self._watch()
                # What held for a while is tried again at once: most losses are restarts.
                if time.monotonic() - begun > STABLE:
                    failures = 0
                    continue
            if self.state is State.DOWN:
                first, most = BACKOFF
                self._wake.clear()
                pause = min(most, first * 2**failures) * random.uniform(0.8, 1.2)  # noqa: S311  # spreads reconnections, guards nothing
                await _wait(self._wake, pause)
                failures += 1

    async def _connect(self) -> None:
        if self._client is None or not isinstance(self._factory, ProxyClient):
            self._client = await self._make_client(cast("Downstream", None))
        self._control = await self._client.connect(self._inbound, BRIDGED, self.connect_timeout)
        self._lost = ""
        self.catalog = await list_catalog(self._control, self.list_timeout)
        await self._control.listen()
        await self.subscriptions.open(self._control, self._on_aside)

    async def _watch(self) -> None:
        """Stay up until the link is lost or unused; list again when the upstream says so, or now and then if it never would."""
        control = cast("Link", self._control)
        while True:
            await _wait(self._wake, self._patience())
            self._wake.clear()
            if self._lost or not control.is_open:
                await self._close_control()
                self._down(self._lost or "the connection was closed")
                return
            if (
                self.idle_timeout is not None
                and not self._leases
                and time.monotonic() - self._last_use >= self.idle_timeout
            ):
                await self._sessions.aclose()
                await self._close_control()
                self._wanted.clear()
                self._settled.clear()
                self._set(State.IDLE)
                return
            if self._relist or self._patience() is not None:
                if self._relist:
                    await asyncio.sleep(SETTLE)
                self._relist = False
                await self._list_again(control)

    async def _list_again(self, control: Link) -> None:
        try:
            catalog = await list_catalog(control, self.list_timeout)
        except (UpstreamError, RpcError) as error:
            log.warning("upstream.listing_failed", upstream=self.name, reason=self._scrub(str(error)))
            return
        if catalog != self.catalog:
            self.catalog = catalog
            self._changed()

    def _patience(self) -> float | None:
        """Seconds until something is due without being asked for."""
        waits = [self.idle_timeout] if self.idle_timeout is not None else []
        if self.cache_ttl is not None and self._control is not None and not _announces(self._control):
            waits.append(self.cache_ttl)
        return min(waits, default=None)

    async def _close_control(self) -> None:
        control, self._control = self._control, None
        await self.subscriptions.aclose()
        if control is not None:
            await control.aclose()

    def _suspect(self, link: Link, error: UpstreamError) -> None:
        """A request failed on the way: look whether the connection still stands."""
        if link is self._control and not self._lost:
            self._lost = error.reason
            self._wake.set()

    # --- what an upstream says on its own account (see `meshproxy.upstream.inbound.Owner`)

    def on_talk(self) -> None:
        if not self._talks:
            self._talks = True
            if self.session == "auto" and self._is_command:
                log.info(
                    "upstream.talks",
                    upstream=self.name,
                    consequence="each client session gets a process of its own from now on",
                )

    def on_elsewhere(self, downstream: Downstream | None, method: str, params: dict[str, Any]) -> None:
        if method in BY_CHANGED:
            self._relist = True
            self._wake.set()
        elif method == "notifications/resources/updated":
            uri = opened(params.get("uri"))
            if isinstance(uri, str):
                self.subscriptions.deliver(downstream.key if downstream else None, uri, params)
        elif method == "notifications/elicitation/complete" and downstream is not None:
            downstream.notify(method, params)

    def on_link_closed(self, link: Link, downstream: Downstream | None, reason: str) -> None:
        if downstream is not None:
            self._sessions.discard(downstream.key)
        elif link is self._control:
            self._lost = reason
            self._wake.set()

    async def ask_standalone(self, downstream: Downstream, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return await downstream.send_raw_request(method, params)

    def _on_aside(self, method: str, params: dict[str, Any]) -> None:
        self.on_elsewhere(None, method, params)

    # --- state

    def _down(self, reason: str) -> None:
        reason = self._scrub(reason)
        if (self.state, self.reason) != (State.DOWN, reason):
            log.warning("upstream.down", upstream=self.name, reason=reason)
        self._lost = ""
        self._settle(State.DOWN, reason)

    def _settle(self, state: State, reason: str = "") -> None:
        self._set(state, reason)
        self._settled.set()

    def _set(self, state: State, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason) or state is State.UP:
            self.state, self.reason = state, reason
            self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener(self)


def _announces(link: Link) -> bool:
    """Whether an upstream promises to say when any of its listings changes."""
    families = [link.capabilities.get(spec.capability) for spec in KINDS.values()]
    return all(family.get("listChanged") is True for family in families if isinstance(family, Mapping))


async def _wait(event: asyncio.Event, timeout: float | None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        pass
