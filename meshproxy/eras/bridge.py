"""`Bridge`: takes a call over its link, whatever the eras on either side, and brings the outcome back. Place: eras.

The four combinations (see docs/design.md, "Eras"):

    client    upstream   how
    legacy    legacy     as it is
    modern    modern     as it is, per-request capabilities and all; `requestState` sealed to the caller
    legacy    modern     the input driver asks the client and repeats the call
    modern    legacy     a call that may ask is parked while the client finds its answer

Nothing here waits: what has to is in `waiting`.
"""

import time
from typing import Any, Final

from meshproxy.catalog.rewrite import rewrite_question
from meshproxy.eras.parked import ParkingLot
from meshproxy.eras.required_task import request as request_task
from meshproxy.eras.seal import Sealer, binding_of
from meshproxy.eras.translate import ServerSignature, as_told, asked_of_url, publish
from meshproxy.eras.waiting import ask_and_repeat, park, resume
from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.links.link import Link
from meshproxy.relay.call import PENDING, Call, Step, ended
from meshproxy.relay.downstream import Outcome, Result, may_be_asked
from meshproxy.wire.codec import RAW, Raw, loads, opened
from meshproxy.wire.protocol import INPUT_METHODS, INPUT_REQUIRED, Era

__all__ = ["Bridge"]

_monotonic: Final = time.monotonic


class Bridge:
    """The crossing of one upstream: its parked calls and its seals live here.

    Attributes:
        stamp: what the mesh says of itself in results of the modern era.
    """

    def __init__(self, stamp: ServerSignature) -> None:
        self.stamp = stamp
        self.sealer = Sealer()
        self.parking = ParkingLot(self.sealer)
        self._comes: Step = self._came

    def carry(self, call: Call, link: Link) -> None:
        """Send a call in the upstream's names; its outcome is in the mesh's, and of the caller's era.

        It ends with the upstream's error as the caller's era spells it, or with what `Link.send` tells. A call whose parameters have a member `task` is
        of a tool that needs one.
        """
        call.era = link.era
        params = call.params
        needs_task = "task" in params
        if needs_task and link.era is Era.MODERN:
            # That era has no such tasks: the call is all that it takes.
            params = call.params = {key: value for key, value in params.items() if key != "task"}
            needs_task = False
        if call.context.downstream.era is Era.MODERN:
            if link.era is Era.MODERN:
                if "requestState" in params and call.method in INPUT_METHODS:
                    params = self._unsealed(call)
            else:
                if "requestState" in params:
                    # A legacy upstream has none: a retry whose call is not parked here starts anew only if it never had a state.
                    raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
                if "inputResponses" in params:
                    params = call.params = {key: value for key, value in params.items() if key != "inputResponses"}
                if call.method in INPUT_METHODS and may_be_asked(call.context.downstream):
                    call.is_parked = True
                    call.then(self._told)
                    call.wait(park(self.parking, self.publish, call, link), ended)
                    return
        if link.era is Era.MODERN and "inputResponses" in params:
            params = rewrite_question(call.method, params, call.mount.origin)
        call.then(self._comes)
        if needs_task:
            call.wait(request_task(link, call.method, params, call), ended)
        else:
            call.under_way(link.send(call.method, params, call, call.end))

    def publish(self, call: Call, answer: Raw) -> Result:
        """See `meshproxy.eras.translate.publish`."""
        return publish(call, answer, self.stamp, self.sealer)

    def resumes(self, call: Call) -> bool:
        """Take up the parked call that a retry names; false if it names none of this upstream's, and then nothing has happened."""
        binding = binding_of(call.context, call.method, call.params)
        if not self.parking.holds(opened(call.params.get("requestState")), binding):
            return False
        call.then(self._told)
        call.wait(resume(self.parking, call, binding), ended)
        return True

    def _unsealed(self, call: Call) -> dict[str, Any]:
        """The parameters of a retry, with the upstream's own state. Raises `RpcError` for one that is not the caller's."""
        binding = binding_of(call.context, call.method, call.params)
        state = self.sealer.open(opened(call.params["requestState"]), binding)
        return {**call.params, "requestState": loads(state)}

    def _came(self, call: Call, outcome: Outcome) -> Any:
        """On the way back of what was sent: the upstream's answer, or its error, as the caller may have it."""
        if not isinstance(outcome, RAW):
            return self._told(call, outcome)
        record = call.record
        if record is not None:
            record.answered = _monotonic()
        lease = call.lease
        result = publish(call, outcome, self.stamp, self.sealer)
        if (
            isinstance(result, dict)
            and lease is not None
            and call.era is Era.MODERN
            and call.context.downstream.era is Era.LEGACY
            and result.get("resultType") == INPUT_REQUIRED
        ):
            # The client cannot be told so, and has to be asked.
            call.then(self._told)
            call.wait(ask_and_repeat(call, lease.link, result), ended)
            return PENDING
        return result

    def _told(self, call: Call, outcome: Outcome) -> Outcome:
        """On the way back: an error as the caller may have it."""
        record = call.record
        if record is not None:
            record.answered = _monotonic()
        if not isinstance(outcome, RpcError):
            return outcome
        error = outcome
        if call.era is Era.LEGACY and call.context.downstream.era is Era.MODERN:
            try:
                return asked_of_url(error, call.context)
            except RpcError as other:
                error = other
        return as_told(error, call)
