"""`Audience`: who wants to hear what of one upstream, and how the upstream is told. Place: upstream, under `provider`.

Clients subscribe to resources, choose how much is logged, follow their tasks, and say that their roots changed. Some of that goes over a link of their own,
some over one that they share with others, and some must be said anew when a link is.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from meshproxy.errors import METHOD_NOT_FOUND, RpcError
from meshproxy.links.link import Link
from meshproxy.links.listen_stream import ListenStream, Tell
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, bridged
from meshproxy.upstream.attribution import Elsewhere
from meshproxy.upstream.connections import Connections
from meshproxy.upstream.link_choice import LinkChoice
from meshproxy.upstream.log_levels import LogLevels
from meshproxy.upstream.subscriptions import Sink, Subscriptions
from meshproxy.wire.protocol import Era

__all__ = ["Audience"]


class Audience:
    """See the module.

    `of_control` and `of_counterpart` take the notifications of no call that come over the links that clients share, the control link and the one of the
    other era. The links of the upstream are made with this, and so are to be given with `join`.

    Attributes:
        subscriptions: who waits for updates of which resources, over the control link or links of their own.
        counter_subscriptions: the same of sessions that share a link of the other era (`meshproxy.upstream.mirror`).
        log_levels: which log lines are wanted.
    """

    def __init__(self, of_control: Elsewhere, of_counterpart: Elsewhere) -> None:
        self.subscriptions = Subscriptions()
        self.counter_subscriptions = Subscriptions()
        self.log_levels = LogLevels()
        self._of_control = of_control
        self._of_counterpart = of_counterpart
        self._choice: LinkChoice
        self._connections: Connections
        self._in_use: Callable[[], AbstractContextManager[None]]

    def __bool__(self) -> bool:
        """Whether anybody waits for anything, so that the upstream is in use."""
        return bool(self.subscriptions or self.counter_subscriptions)

    def join(
        self, connections: Connections, choice: LinkChoice, in_use: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """From now on these are the upstream's links, which are not closed within `in_use`."""
        self._connections, self._choice, self._in_use = connections, choice, in_use

    # --- what clients want

    async def subscribe(self, downstream: Downstream, uri: str, sink: Sink) -> None:
        """Let a downstream hear of updates of a resource, until it unsubscribes or is gone.

        Raises:
            RpcError: the upstream refuses.
            UpstreamError: there is no link, or it ended.
        """
        with self._in_use():
            place = await self._choice.place(downstream)
            shared = self.counter_subscriptions if place.is_counterpart else self.subscriptions
            await shared.subscribe(place.link, downstream.key, uri, sink, is_own=place.is_own)

    async def unsubscribe(self, downstream: Downstream, uri: str) -> None:
        """The opposite. Errors as `subscribe`."""
        own = self._choice.sessions.get(downstream.key)
        with self._in_use():
            for shared, link in self._shared():
                await shared.unsubscribe(downstream.key, uri, own=own, control=link)

    async def unsubscribe_all(self, downstream: Downstream) -> None:
        """A downstream is gone: forget what it subscribed to, and tell the upstream what nobody wants any more."""
        for shared, link in self._shared():
            uris = shared.drop(downstream.key)
            if uris and link is not None:
                await shared.trim(link, uris)

    async def follow_tasks(
        self, downstream: Downstream, ids: Sequence[str], tell: Tell
    ) -> tuple[frozenset[str], ListenStream]:
        """Hear of a client's tasks (SEP-2663) until the stream is closed: those that the upstream agreed to, and the stream.

        Raises:
            RpcError: the upstream refuses, or has no tasks.
            UpstreamError: as `subscribe`.
        """
        control = await self._choice.control()
        if control.era is Era.LEGACY:
            raise RpcError(METHOD_NOT_FOUND, "a legacy upstream has no tasks of this kind")
        listening = ListenStream(control, tell, bridged(downstream), self._connections.shown_by(downstream))
        try:
            return await listening.hear_tasks(ids), listening
        except BaseException:
            await listening.aclose()
            raise

    async def set_level(self, downstream: Downstream, level: str) -> None:
        """Tell the upstream which log lines a session wants; over a link that others use too, what any of them wants."""
        self.log_levels.want(downstream, level)
        own, link = self._choice.sessions.get(downstream.key), self._choice.present(downstream)
        if own is None and link is not None:
            await self.log_levels.tell(link)
        elif own is not None and own.era is Era.LEGACY and "logging" in own.capabilities:
            await own.request("logging/setLevel", {"level": level})

    async def tell_level(self, call: Call) -> None:
        """Let the upstream know which log lines a call wants, over a link that others use too."""
        if call.lease is not None:
            self.log_levels.want(call.context.downstream, str(call.context.downstream.log_level))
            await self.log_levels.tell(call.lease.link)

    async def roots_changed(self, downstream: Downstream) -> None:
        """A client's roots changed: tell whoever may have asked it for them."""
        link = self._choice.present(downstream)
        if link is not None and link.era is Era.LEGACY:
            await link.notify("notifications/roots/list_changed")

    # --- what a new link is told

    async def brought_along(self, own: Link, holder: str) -> None:
        """Let a session's own link hear of what the session subscribed to before it had one."""
        for shared, link in self._shared():
            unshared = shared.claim(holder)
            await shared.replay(own, holder)
            if link is not None:
                await shared.trim(link, unshared)

    async def on_counterpart(self, counterpart: Link) -> None:
        """A link of the other era is open."""
        await self.counter_subscriptions.open(counterpart, self._of_counterpart)

    async def on_control(self, control: Link) -> None:
        """The control link is open."""
        await self.subscriptions.open(control, self._of_control)
        await self.log_levels.tell(control)

    def deliver(self, holder: str | None, uri: str, params: dict[str, object]) -> None:
        """A resource was updated; over the link of a session's own, if there is a holder."""
        self.subscriptions.deliver(holder, uri, params)
        if holder is not None:
            # What it shared before it had a link of its own.
            self.counter_subscriptions.deliver(holder, uri, params)

    def _shared(self) -> tuple[tuple[Subscriptions, Link | None], ...]:
        """What clients share to hear of resources, and the open links over which they do."""
        return (
            (self.subscriptions, self._choice.open_control()),
            (self.counter_subscriptions, self._choice.shared.counterpart.link),
        )
