"""Whose is it? What an upstream says on its own account, over a connection that serves many or one, finds its downstream here.

A transport that knows the call of a message hands it to the call, and nothing comes here. What comes here is decided by who has calls under
way: a question, and a log line, can only be of a call that had started and has not ended.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, Protocol

import structlog

from meshproxy.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, RpcError
from meshproxy.links.call import Call
from meshproxy.links.link import Link
from meshproxy.relay.downstream import Downstream
from meshproxy.upstream.common import heard
from meshproxy.wire.codec import opened
from meshproxy.wire.protocol import QUESTIONS, admits

log = structlog.get_logger(__name__)

HOLD: Final = 30.0
"""Seconds that a question waits for its owner to become certain."""


Elsewhere = Callable[[str, dict[str, Any]], None]


class Owner(Protocol):
    """What the attribution side needs of the provider that it belongs to."""

    @property
    def name(self) -> str: ...

    @property
    def shares_one_link(self) -> bool:
        """Whether the calls of all clients go over one link, whatever they want to hear."""
        ...

    def on_talk(self) -> None:
        """The upstream talks to its callers."""

    def on_elsewhere(self, downstream: Downstream | None, method: str, params: dict[str, Any]) -> None:
        """A notification about a listing, a resource or the like."""

    def sole_resident(self, link: Link) -> Downstream | None:
        """The one session that has ever used a link which others could have used, too; None if there is no such."""

    def on_link_closed(self, link: Link, downstream: Downstream | None, reason: str) -> None:
        """A link ended by itself."""


class Attribution:
    """The `Listener` of one link: of all, or of one downstream's own.

    `elsewhere` takes the notifications about listings, resources and the like, if they are not the owner's to sort.
    """

    def __init__(self, owner: Owner, downstream: Downstream | None = None, elsewhere: Elsewhere | None = None) -> None:
        self._owner = owner
        self._downstream = downstream
        self._elsewhere = elsewhere or partial(owner.on_elsewhere, downstream)
        self.held: list[asyncio.Event] = []

    def beside(self, elsewhere: Elsewhere) -> "Attribution":
        """Another for a link of its own kind, which hears of the same calls' ends."""
        made = Attribution(self._owner, elsewhere=elsewhere)
        made.held = self.held
        return made

    def on_notification(self, link: Link, method: str, params: dict[str, Any]) -> None:
        if method == "notifications/message":
            self._on_message(link, params)
            return
        call = sole(_possible(link)) if method == "notifications/elicitation/complete" else None
        if call is not None:
            call.on_notification(method, params)
        else:
            self._elsewhere(method, params)

    def _on_message(self, link: Link, params: dict[str, Any]) -> None:
        possible = [*_possible(link)]
        calls = [*heard(link, possible)]
        # A call that wants log lines is kept apart from others that do, and has those that come. Where all share one link, nothing is kept
        # apart, and a line may as well be of a call that wants none, if the upstream does not ask what is wanted.
        call = sole(possible if calls and self._owner.shares_one_link else calls)
        if call is not None:
            self._owner.on_talk()
            call.on_notification("notifications/message", params)
            return
        downstream = self._downstream
        if downstream is None and not possible:
            downstream = self._owner.sole_resident(link)
        if calls or (downstream is not None and self._downstream is None):
            self._owner.on_talk()
        if downstream is not None:
            level = downstream.log_level
            if level is None or admits(level, opened(params.get("level"))):
                downstream.notify("notifications/message", params)
        else:
            log.info(
                "upstream.message",
                upstream=self._owner.name,
                level=opened(params.get("level")),
                data=opened(params.get("data")),
            )

    async def on_request(self, link: Link, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "ping":
            return {}
        if method not in QUESTIONS:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")
        self._owner.on_talk()
        if self._downstream is not None:
            call = sole(link.calls.values())
            if call is not None:
                return await call.on_request(method, params)
            return await self._downstream.send_raw_request(method, params)
        resident = None if sole(_possible(link)) is not None else self._owner.sole_resident(link)
        if resident is not None:
            return await resident.send_raw_request(method, params)
        return await (await self._certain(link, method)).on_request(method, params)

    def on_closed(self, link: Link, reason: str) -> None:
        self._owner.on_link_closed(link, self._downstream, reason)

    async def _certain(self, link: Link, method: str) -> Call:
        """The call that a question belongs to, as soon as all that it may belong to are one client's.

        Only a call that started before the question and has not ended may have asked it; the one that did cannot end before it is answered. That one
        was given up, though, proves nothing: it may have asked before it heard of it.
        """
        calls = {
            number: call for number, call in {**link.given_up, **link.calls}.items() if call and call.owner is not None
        }
        given_up: set[int] = set()
        ended = asyncio.Event()
        self.held.append(ended)
        try:
            async with asyncio.timeout(HOLD):
                while True:
                    given_up |= link.given_up.keys() & calls.keys()
                    calls = {
                        number: call for number, call in calls.items() if number in link.calls or number in given_up
                    }
                    live = [call for number, call in calls.items() if number not in given_up]
                    if not live:
                        raise RpcError(METHOD_NOT_FOUND, f"{method} belongs to no call, so there is nobody to ask")
                    if sole(calls.values()) is not None:
                        return live[-1]
                    if len(live) < len(calls):
                        raise RpcError(
                            INTERNAL_ERROR, f"{method}: a call was just given up, so it is not certain whom this is for"
                        )
                    ended.clear()
                    await ended.wait()
        except TimeoutError:
            raise RpcError(
                INTERNAL_ERROR,
                f"{method}: several clients are calling {self._owner.name!r} at once, so it is not certain whom this is for; "
                f"set 'session: isolated' for the upstream {self._owner.name!r}",
            ) from None
        finally:
            self.held.remove(ended)


def _possible(link: Link) -> Iterator[Call]:
    """The calls that something which an upstream says now may be of."""
    yield from _owned(link.given_up.values())
    yield from _owned(link.calls.values())


def _owned(calls: Iterable[Call | None]) -> Iterator[Call]:
    """The mesh's own count for nothing."""
    return (call for call in calls if call is not None and call.owner is not None)


def sole(calls: Iterable[Call | None]) -> Call | None:
    """The latest of the calls, if all are one owner's; None if there is none or they are of several."""
    latest: Call | None = None
    for call in _owned(calls):
        if latest is not None and call.owner != latest.owner:
            return None
        latest = call
    return latest
