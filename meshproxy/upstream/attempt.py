"""`Attempt`: a request that `ProxyProvider.begin` took, over one lane, and over another if it never left. Place: upstream, under `provider`."""

import asyncio
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

from meshproxy.catalog.catalog import Mount
from meshproxy.eras.bridge import Bridge
from meshproxy.eras.crossing import begin as begin_crossing
from meshproxy.eras.crossing import cancel, outcome_of
from meshproxy.errors import RpcError, UpstreamError
from meshproxy.relay.call import RelayCall
from meshproxy.relay.downstream import Done, Downstream, GiveUp, Outcome, RequestContext, Result
from meshproxy.upstream.lanes import Lane, Lanes

__all__ = ["begin"]


class Owner(Protocol):
    """The provider, as its attempts see it."""

    def call_over(
        self, context: RequestContext, mount: Mount, lane: Lane, headers: Mapping[str, str] | None
    ) -> RelayCall:
        """What goes back of a request that goes up over `lane`."""
        ...

    def needs_level(self, downstream: Downstream, lane: Lane) -> bool:
        """Whether an upstream that others use too must be told first which log lines a request wants."""
        ...

    def went_wrong(self, lane: Lane, downstream: Downstream, error: BaseException) -> bool:
        """A request over `lane` ended with an error. Says whether it was not sent and may be, over another."""
        ...

    def scrubbed(self, error: RpcError | UpstreamError) -> RpcError | UpstreamError:
        """An error without the secrets of the config."""
        ...

    def take_lease(self) -> None:
        """A request is under way."""
        ...

    def give_lease(self) -> None:
        """It is over."""
        ...

    def request(
        self,
        method: str,
        params: dict[str, Any],
        context: RequestContext,
        mount: Mount,
        headers: Mapping[str, str] | None,
    ) -> Coroutine[Any, Any, Result]:
        """See `ProxyProvider.request`."""
        ...


def begin(
    owner: Owner,
    lanes: Lanes,
    bridge: Bridge,
    method: str,
    params: dict[str, Any],
    context: RequestContext,
    mount: Mount,
    headers: Mapping[str, str] | None,
    done: Done,
) -> GiveUp | None:
    """See `ProxyProvider.begin`."""
    downstream = context.downstream
    use = (method, params.get("name"))
    lane = lanes.at_hand(downstream, use)
    if lane is None:
        return None
    if downstream.log_level is not None and owner.needs_level(downstream, lane):
        lane.give()
        return None
    call = owner.call_over(context, mount, lane, headers)
    attempt = Attempt(owner, lanes, lane, use, params, call, done)
    attempt.give_up = begin_crossing(
        bridge.publisher, bridge.legacy_to_modern, lane.link, call, method, params, attempt.ended
    )
    if attempt.give_up is None:
        lane.give()
        return None
    owner.take_lease()
    return attempt.stop


class Attempt:
    """A request under way.

    Attributes:
        give_up: gives up what is under way of it; None when nothing is.
    """

    __slots__ = ("_call", "_done", "_lane", "_lanes", "_owner", "_params", "_use", "give_up")

    def __init__(
        self,
        owner: Owner,
        lanes: Lanes,
        lane: Lane,
        use: tuple[str, Any],
        params: dict[str, Any],
        call: RelayCall,
        done: Done,
    ) -> None:
        self._owner = owner
        self._lanes = lanes
        self._lane = lane
        self._use = use
        self._params = params
        self._call = call
        self._done = done
        self.give_up: GiveUp | None = None

    def stop(self) -> None:
        """See `meshproxy.relay.downstream.GiveUp`."""
        if self.give_up is not None:
            self.give_up()

    def ended(self, outcome: Outcome) -> None:
        """What was sent has ended: the request has too, unless it never left and can be sent over another lane."""
        self.give_up = None
        result: Outcome | None
        try:
            result = self._judged(outcome)
        except Exception as defect:  # noqa: BLE001  # the caller has an answer even then, and the lease comes back
            result = defect
        if result is None:
            self._try_again()
        else:
            self._finish(result)

    def _judged(self, outcome: Outcome) -> Outcome | None:
        """What the request ends with; None if it was not sent and can be."""
        if not isinstance(outcome, BaseException):
            self._lane.give()
            self._lanes.use_ended(self._use)
            return outcome
        if self._owner.went_wrong(self._lane, self._call.context.downstream, outcome):
            return None
        return self._owner.scrubbed(outcome) if isinstance(outcome, (RpcError, UpstreamError)) else outcome

    def _try_again(self) -> None:
        call = self._call
        again = asyncio.ensure_future(
            self._owner.request(self._use[0], self._params, call.context, call.mount, call.headers)
        )
        self.give_up = partial(cancel, again)
        again.add_done_callback(self._on_second_ended)

    def _on_second_ended(self, again: "asyncio.Future[Result]") -> None:
        self.give_up = None
        self._finish(outcome_of(again))

    def _finish(self, outcome: Outcome) -> None:
        self._owner.give_lease()
        self._done(outcome)
