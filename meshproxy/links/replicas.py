"""`ReplicatedEndpoint`: one upstream that is at several URLs, each as good as the others (`urls`). Place: links.

A session of the legacy era is opened at the replica that has the fewest, and stays there. The modern era has no sessions: each request goes to the replica
with the fewest under way. One that cannot be reached rests for a while, and what it was not sent goes to the next; what was sent is never sent again.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeGuard, cast

import structlog

from meshproxy.errors import AnswerLost, AnswerTooLarge, AnswerTooLate, UpstreamUnavailable
from meshproxy.http.credentials import Credentials
from meshproxy.links.call import Call, Done, GiveUp
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.links.negotiation import EraRefusedError, RequestRefusedError
from meshproxy.links.redirects import shown
from meshproxy.links.streamable import HttpEndpoint, StreamableLink
from meshproxy.wire.codec import Raw
from meshproxy.wire.protocol import Era

__all__ = ["ReplicatedEndpoint"]

log = structlog.get_logger(__name__)

REST: Final = (1.0, 30.0)
"""Seconds that a replica rests after its first failure, and at most; each failure in a row doubles them."""
PATIENCE: Final = 5.0
"""Seconds after which another replica is tried while one is still being connected to, so that one that hangs holds up nothing."""


class Replica:
    """One URL, and how it is.

    Attributes:
        endpoint: the way in to it.
        under_way: how many requests without a session are.
        used: the number of the last one.
        failures: how many there were in a row.
    """

    def __init__(self, endpoint: HttpEndpoint) -> None:
        self.endpoint = endpoint
        self.under_way = 0
        self.used = 0
        self.failures = 0
        self._until = 0.0

    def rests(self, now: float) -> bool:
        """Whether others are to be tried before it."""
        return now < self._until

    def sessions(self) -> int:
        """How many links there are to it."""
        return int(self.endpoint.statistics()["links"])

    def failed(self, reason: str) -> None:
        """It could not be reached, or did not answer: it rests."""
        now = asyncio.get_running_loop().time()
        if self.rests(now):
            # What was under way with the first that failed, and tells nothing new.
            return
        first, most = REST
        seconds = min(most, first * float(1 << min(self.failures, 10)))
        self.failures += 1
        self._until = now + seconds
        log.warning(
            "upstream.replica_rests",
            upstream=self.endpoint.name,
            url=shown(self.endpoint.url),
            reason=reason,
            seconds=seconds,
        )

    def answered(self) -> None:
        """It answered."""
        if self.failures:
            self.failures = 0
            self._until = 0.0
            log.info("upstream.replica_back", upstream=self.endpoint.name, url=shown(self.endpoint.url))


def is_gone(outcome: Raw | BaseException) -> TypeGuard[UpstreamUnavailable]:
    """Whether a request did not reach its replica, for no fault of its own."""
    return (
        isinstance(outcome, UpstreamUnavailable) and outcome.is_fault and not isinstance(outcome, RequestRefusedError)
    )


class ReplicatedEndpoint(Endpoint):
    """Several URLs.

    Args:
        name: the upstream's configured name.
        urls: of the MCP endpoints, in the order of the config.
        headers: as of `HttpEndpoint`.
    """

    def __init__(self, name: str, urls: Sequence[str], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(name)
        self.replicas = [Replica(HttpEndpoint(name, url, headers)) for url in urls]
        for replica in self.replicas:
            replica.endpoint.faults = self.faults

    def order(self) -> list[Replica]:
        """Where to open a link: first who does not rest, then who has the fewest."""
        now = asyncio.get_running_loop().time()
        return sorted(self.replicas, key=lambda replica: (replica.rests(now), replica.sessions()))

    async def connect(self, **how: Any) -> Link:
        return await self._connected(how, None)

    async def connect_as(self, headers: Mapping[str, str], **how: Any) -> Link:
        return await self._connected(how, headers)

    async def _connected(self, how: dict[str, Any], headers: Mapping[str, str] | None) -> Link:
        loop = asyncio.get_running_loop()
        timeout: float | None = how["timeout"]
        until = None if timeout is None else loop.time() + timeout
        error: UpstreamUnavailable | None = None
        order = self.order()
        for replica in order:
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                break
            # The last one has all the time that is left.
            patience = left if replica is order[-1] else PATIENCE if left is None else min(left, PATIENCE)
            relay = _Relay(how["listener"])
            try:
                link = await self.open(replica, {**how, "timeout": patience, "listener": relay}, headers)
            except EraRefusedError:
                raise
            except UpstreamUnavailable as problem:
                replica.failed(problem.reason)
                error = error or problem
                continue
            self.known.era = link.era if how.get("era") is None else self.known.era
            if link.era is Era.LEGACY:
                return self._homed(replica, link)
            return BalancedLink(self, replica, link, relay, how, headers)
        raise error or UpstreamUnavailable(self.name, "no replica of it could be reached in time")

    async def open(self, replica: Replica, how: dict[str, Any], headers: Mapping[str, str] | None) -> StreamableLink:
        """A link to one replica. Raises as `connect`."""
        endpoint = replica.endpoint
        if how.get("era") is None:
            endpoint.known.era = endpoint.known.era or self.known.era
        opening = endpoint.connect(**how) if headers is None else endpoint.connect_as(headers, **how)
        link = cast("StreamableLink", await opening)
        replica.answered()
        return link

    def _homed(self, replica: Replica, link: StreamableLink) -> Link:
        """The link of a session, which ends when its replica cannot be reached any more, so that another is opened elsewhere."""
        inner = link.send

        def send(method: str, params: dict[str, Any], call: Call | None, done: Done) -> GiveUp:
            def ended(outcome: Raw | BaseException) -> None:
                if is_gone(outcome):
                    replica.failed(outcome.reason)
                    link.lose(outcome.reason)
                done(outcome)

            return inner(method, params, call, ended)

        link.send = send
        return link

    def let_callers_bring(self, names: Collection[str]) -> None:
        for replica in self.replicas:
            replica.endpoint.let_callers_bring(names)

    def bear(self, credentials: Credentials) -> None:
        """See `WebEndpoint.bear`: the replicas are one server, and are shown the same."""
        for replica in self.replicas:
            replica.endpoint.bear(credentials)

    async def aclose(self) -> None:
        await asyncio.gather(*(replica.endpoint.aclose() for replica in self.replicas))

    def statistics(self) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        told = []
        for replica in self.replicas:
            state = "resting" if replica.rests(now) else "up" if not replica.failures else "doubtful"
            told.append({"url": shown(replica.endpoint.url), "state": state, **replica.endpoint.statistics()})
        sums = {key: sum(each[key] for each in told) for key in ("links", "connections", "idle")}
        return {**sums, "replicas": told}


class BalancedLink(Link):
    """What the modern era has in place of a session: an agreement with each replica. Made by its endpoint.

    It has the agreement with the first replica from the start, and those with the others when they are first needed.
    """

    is_adopted = True

    def __init__(
        self,
        endpoint: ReplicatedEndpoint,
        replica: Replica,
        link: Link,
        relay: "_Relay",
        how: dict[str, Any],
        headers: Mapping[str, str] | None,
    ) -> None:
        self.upstream = endpoint.name
        self.faults = endpoint.faults
        self.era = link.era
        self.version = link.version
        self.server = link.server
        self.calls = {}
        self.given_up = {}
        self.tells_calls_apart = True
        self.send = self._send
        self._endpoint = endpoint
        self._how = how
        self._headers = headers
        self._links = {replica: link}
        self._opening: dict[Replica, asyncio.Task[None]] = {}
        self._number = 0
        relay.link = self
        relay.on_closed_member = partial(self._closed, replica)
        for other in endpoint.replicas:
            if other is not replica:
                self._open_soon(other)

    def __repr__(self) -> str:
        return f"<BalancedLink {self.upstream!r} replicas={len(self._links)}/{len(self._endpoint.replicas)}>"

    @property
    def repeats_parameters(self) -> bool:
        return True

    def next_id(self) -> int:
        self._number += 1
        return self._number

    def _send(self, method: str, params: dict[str, Any], call: Call | None, done: Done) -> GiveUp:
        attempt = _Attempt(self, method, params, call, done)
        attempt.go_on(None)
        return attempt.give_up

    def choose(self, tried: Collection[Replica]) -> tuple[Replica, Link] | None:
        """The replica that a request goes to next: the least busy that does not rest, or, if all do, the least busy; None if each was tried."""
        now = asyncio.get_running_loop().time()
        best: Replica | None = None
        for replica in self._endpoint.replicas:
            link = self._links.get(replica)
            if link is None or not link.is_open:
                self._open_soon(replica)
            elif replica not in tried and (best is None or self._rank(replica, now) < self._rank(best, now)):
                best = replica
        return None if best is None else (best, self._links[best])

    @staticmethod
    def _rank(replica: Replica, now: float) -> tuple[bool, int, int]:
        # Of those that are as busy, the one that waits longest.
        return (replica.rests(now), replica.under_way, replica.used)

    async def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        """The modern era has no notifications from client to server over HTTP."""

    def identify(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        for link in self._links.values():
            link.identify(headers)

    async def aclose(self) -> None:
        self.is_open = False
        tasks = list(self._opening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.aclose() for link in links))

    def _open_soon(self, replica: Replica) -> None:
        """Agree with a replica, in the background, unless that is under way or it rests."""
        if self.is_open and replica not in self._opening and not replica.rests(asyncio.get_running_loop().time()):
            task = self._opening[replica] = asyncio.get_running_loop().create_task(self._agree(replica))
            task.add_done_callback(lambda _: self._opening.pop(replica, None))

    async def _agree(self, replica: Replica) -> None:
        relay = _Relay(self._how["listener"], self, partial(self._closed, replica))
        how = {**self._how, "listener": relay, "era": Era.MODERN}
        try:
            self._links[replica] = await self._endpoint.open(replica, how, self._headers)
        except UpstreamUnavailable as error:
            replica.failed(error.reason)

    def _closed(self, replica: Replica, reason: str) -> bool:
        """The agreement with one has ended; says whether none is left."""
        self._links.pop(replica, None)
        replica.failed(reason)
        if not self._links:
            self.is_open = False
        return not self._links


class _Attempt:
    """One request over a balanced link, until one replica has taken it."""

    __slots__ = (
        "_call",
        "_done",
        "_give_up",
        "_link",
        "_method",
        "_number",
        "_params",
        "_replica",
        "_tried",
        "_weight",
    )

    def __init__(self, link: BalancedLink, method: str, params: dict[str, Any], call: Call | None, done: Done) -> None:
        self._link = link
        self._method = method
        self._params = params
        self._call = call
        self._done = done
        self._number = link.next_id()
        self._tried: list[Replica] = []
        self._replica: Replica | None = None
        self._give_up: GiveUp | None = None
        # A stream of what changes is open for as long as the link is, and no work.
        self._weight = 0 if method == "subscriptions/listen" else 1
        link.calls[self._number] = call

    def go_on(self, before: UpstreamUnavailable | None) -> None:
        """Send it to the next replica; `before` is why the last one did not take it."""
        chosen = self._link.choose(self._tried)
        if chosen is None:
            reason = before or UpstreamUnavailable(self._link.upstream, "no replica of it can be reached")
            if before is None:
                asyncio.get_running_loop().call_soon(self._end, reason)
            else:
                self._end(reason)
            return
        replica, link = chosen
        self._tried.append(replica)
        self._replica = replica
        replica.under_way += self._weight
        replica.used = self._number
        self._give_up = link.send(self._method, self._params, self._call, self._ended)

    def give_up(self) -> None:
        """See `Link.send`."""
        if self._give_up is not None:
            self._give_up()

    def _ended(self, outcome: Raw | BaseException) -> None:
        replica = self._replica
        if replica is not None:
            self._replica = None
            replica.under_way -= self._weight
            if is_gone(outcome):
                replica.failed(outcome.reason)
                self.go_on(outcome)
                return
            if isinstance(outcome, AnswerLost):
                if not isinstance(outcome, AnswerTooLate | AnswerTooLarge):
                    replica.failed(outcome.reason)
            elif not isinstance(outcome, BaseException):
                replica.answered()
        self._end(outcome)

    def _end(self, outcome: Raw | BaseException) -> None:
        self._link.calls.pop(self._number, None)
        self._done(outcome)


class _Relay(Listener):
    """What a replica's link says, said by the link that its owner knows."""

    def __init__(
        self, listener: Listener, link: Link | None = None, on_closed_member: Callable[[str], bool] | None = None
    ) -> None:
        self._listener = listener
        self.link = link
        self.on_closed_member = on_closed_member

    def on_notification(self, link: Link, method: str, params: dict[str, Any]) -> None:
        self._listener.on_notification(self.link or link, method, params)

    async def on_request(self, link: Link, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._listener.on_request(self.link or link, method, params)

    def on_closed(self, link: Link, reason: str) -> None:
        if self.on_closed_member is None or self.on_closed_member(reason):
            self._listener.on_closed(self.link or link, reason)
