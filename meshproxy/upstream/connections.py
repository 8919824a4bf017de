"""`Connections`: makes the links of one upstream: the control link, those of sessions, those that are lent, and the one of the other era."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from meshproxy.errors import UpstreamUnavailable
from meshproxy.links.known import Known
from meshproxy.links.link import Link
from meshproxy.links.stderr import Stderr
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import BRIDGED, Downstream, bridged
from meshproxy.relay.handlers import Handlers
from meshproxy.upstream.attribution import Attribution, Elsewhere, Owner
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.log_levels import LogLevels, set_level
from meshproxy.upstream.mirror import Mirror
from meshproxy.wire.protocol import Era

ClientFactory = Callable[[], ProxyClient | Awaitable[ProxyClient]]
StatefulFactory = Callable[[Downstream], ProxyClient | Awaitable[ProxyClient]]
BringAlong = Callable[[Link, str], Awaitable[None]]


def the_one_client(
    client: ProxyClient | ClientFactory | StatefulFactory | None, factory: ClientFactory | StatefulFactory | None
) -> ProxyClient | ClientFactory | StatefulFactory:
    """Choose what was given of a client and a factory of clients.

    Raises:
        TypeError: it was not exactly one of them, or what was given is none.
    """
    if (client is None) == (factory is None):
        raise TypeError("give a ProxyClient or a factory of them: client, or client_factory")
    given = factory if client is None else client
    if not isinstance(given, ProxyClient) and not callable(given):
        raise TypeError(
            f"a provider takes a ProxyClient or a factory of them, not {type(given).__name__}; wrap it: ProxyClient(...)"
        )
    return given


class Connections:
    """See the module; `factory` is what `ProxyProvider` was made with.

    `attribution` hears what the links say that are no session's own, and `elsewhere` takes the notifications of no call that the link of the other era
    brings. `forward` are the lower-case names of headers that clients bring themselves. `bring_along` lets a link hear of what the session of a key has subscribed to, and `replay` a shared one of the other era.

    Attributes:
        client: what the control link was made with last; None before.
        per_session: whether each session has a client of its own.
        known: what was found out about the upstream.
        handlers: what becomes of what the upstream says over a link.
        handlers_of: the same, of the links of sessions that have clients of their own.
    """

    def __init__(
        self,
        factory: ProxyClient | ClientFactory | StatefulFactory,
        owner: Owner,
        attribution: Attribution,
        log_levels: LogLevels,
        timeout: float | None,
        forward: tuple[str, ...] = (),
        *,
        elsewhere: Elsewhere,
        bring_along: BringAlong,
        replay: Callable[[Link], Awaitable[None]],
    ) -> None:
        self.per_session = not isinstance(factory, ProxyClient) and bool(inspect.signature(factory).parameters)
        self.client: ProxyClient | None = factory if isinstance(factory, ProxyClient) else None
        self.known = factory.endpoint.known if isinstance(factory, ProxyClient) else Known()
        self.mirror = Mirror(owner.name, self.known)
        self._factory = factory
        self._owner = owner
        self._attribution = attribution
        self._log_levels = log_levels
        self._timeout = timeout
        self._forward = forward
        self._elsewhere = elsewhere
        self._bring_along = bring_along
        self._replay = replay
        self._of_sessions: dict[Link, ProxyClient] = {}
        self.handlers_of: dict[Link, Handlers] = {}
        self.handlers = Handlers() if self.client is None else self.client.handlers
        self.is_dear = self.client is not None and self.client.endpoint.is_process

    def stderr(self) -> Stderr | None:
        """What a command writes to standard error; None for what is none."""
        return None if self.client is None else self.client.endpoint.kept_stderr

    def keep_stderr(self, size: int) -> None:
        """From now on keep so many bytes of what a command writes to standard error."""
        if self.client is not None:
            self.client.endpoint.keep_stderr(size)

    def shown_by(self, downstream: Downstream) -> Mapping[str, str] | None:
        """The headers by which a client shows itself to the upstream; None if there are none that clients bring."""
        headers = downstream.headers
        return {name: headers[name] for name in self._forward if name in headers} if self._forward else None

    def forwarded(self, call: Call) -> Mapping[str, str]:
        """The headers of a call, with those of its client's that are passed on."""
        shown, lease = self.shown_by(call.context.downstream) or {}, call.lease
        if lease is not None and lease.owner is not None:
            lease.link.identify(shown)
        return {**shown, **call.headers}

    async def open_control(self) -> Link:
        """The control link. Raises `UpstreamUnavailable`, and what the factory raises."""
        before, self.client = self.client, await self._make_client(None)
        self.client.endpoint.known = self.known
        self.is_dear = self.client.endpoint.is_process
        self.handlers = self.client.handlers
        if before is not None and before.endpoint is not self.client.endpoint:
            await before.endpoint.aclose()
        return await self._open_shared()

    async def open_exclusive(self, shown: Mapping[str, str] | None) -> Link:
        """A link that is lent to one call at a time, of whoever is `shown` by these headers."""
        link = await self._open_shared(shown)
        try:
            # Many servers ask on the session's own stream, though it is about a call.
            await link.listen()
        except BaseException:
            await link.aclose()
            raise
        return link

    async def open_counterpart(self) -> Link:
        """A link of the legacy era that sessions share."""
        client, listener = cast("ProxyClient", self.client), self._attribution.beside(self._elsewhere)
        link = await self.mirror.open(lambda: client.connect(listener, BRIDGED, self._timeout, Era.LEGACY))
        try:
            async with asyncio.timeout(self._timeout):
                await self._log_levels.tell(link)
                await self._replay(link)
        except BaseException as error:
            await link.aclose()
            if isinstance(error, TimeoutError):
                raise UpstreamUnavailable(
                    self._owner.name, "it did not take levels and subscriptions in time"
                ) from None
            raise
        return link

    async def open_session(self, downstream: Downstream, era: Era | None) -> Link:
        """The link of a session's own, in the one era that is wanted, or else in the upstream's."""
        client = await self._make_client(downstream) if self.per_session else cast("ProxyClient", self.client)
        declared = bridged(downstream)
        listener, shown = Attribution(self._owner, downstream), self.shown_by(downstream)
        if era is Era.LEGACY:
            link = await self.mirror.open(lambda: client.connect(listener, declared, self._timeout, era, shown))
        else:
            link = await client.connect(listener, declared, self._timeout, headers=shown)
        if self.per_session:
            self._of_sessions[link], self.handlers_of[link] = client, client.handlers
        try:
            if declared or "logging" in link.capabilities:
                await link.listen()
            if link.era is Era.LEGACY:
                async with asyncio.timeout(self._timeout):
                    if downstream.log_level is not None and "logging" in link.capabilities:
                        await set_level(link, downstream.log_level)
                    await self._bring_along(link, downstream.key)
        except TimeoutError:
            await self.close_session(link)
            raise UpstreamUnavailable(
                self._owner.name, "it did not take a session's level and subscriptions in time"
            ) from None
        except BaseException:
            await self.close_session(link)
            raise
        return link

    async def close_session(self, link: Link) -> None:
        """Close such a one, and what was made for it alone."""
        await link.aclose()
        client = self._of_sessions.pop(link, None)
        self.handlers_of.pop(link, None)
        if client is not None:
            others = (self.client, *self._of_sessions.values())
            if not any(other is not None and other.endpoint is client.endpoint for other in others):
                # Made for this session, and of no use to any other.
                await client.endpoint.aclose()

    async def _open_shared(self, shown: Mapping[str, str] | None = None) -> Link:
        client = cast("ProxyClient", self.client)
        return await client.connect(self._attribution, BRIDGED, self._timeout, headers=shown)

    async def _make_client(self, downstream: Downstream | None) -> ProxyClient:
        client = await self._made_client(downstream)
        if self._forward:
            client.endpoint.let_callers_bring(self._forward)
        return client

    async def _made_client(self, downstream: Downstream | None) -> ProxyClient:
        if isinstance(self._factory, ProxyClient):
            return self._factory
        if self.per_session:
            made = cast("Callable[[Downstream | None], ProxyClient | Awaitable[ProxyClient]]", self._factory)(
                downstream
            )
        else:
            made = cast("ClientFactory", self._factory)()
        return await made if inspect.isawaitable(made) else made
