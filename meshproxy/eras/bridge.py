"""`Bridge`: carries one request over one link, whatever the eras on either side, and brings the result into the mesh's names.

The four combinations (see docs/design.md, "Eras"):

    downstream   upstream   how
    legacy       legacy     as it is
    modern       modern     as it is, per-request capabilities and all; `requestState` sealed to the caller
    legacy       modern     the input driver asks the client and repeats the call
    modern       legacy     a call that may ask is parked while the client finds its answer
"""

from collections.abc import Callable
from typing import Any

from meshproxy.catalog.rewrite import rewrite_answer, rewrite_question
from meshproxy.eras.crossing import Publisher, as_told, asked_of_url
from meshproxy.eras.driver import drive
from meshproxy.eras.parked import ParkingLot
from meshproxy.eras.seal import Sealer, binding_of
from meshproxy.eras.translate import Stamp, opened_result, result_type, to_legacy
from meshproxy.errors import (
    INVALID_PARAMS,
    URL_ELICITATION_REQUIRED,
    RpcError,
)
from meshproxy.links.link import Link
from meshproxy.relay.call import RelayCall
from meshproxy.relay.capabilities import may_be_asked
from meshproxy.relay.downstream import RequestContext, Result
from meshproxy.wire.codec import loads, opened
from meshproxy.wire.protocol import INPUT_METHODS, Era


class Bridge:
    """The crossing of one upstream: its parked calls and its seals live here."""

    def __init__(self, stamp: Stamp) -> None:
        self.sealer = Sealer()
        self.parking = ParkingLot(self.sealer)
        self.publisher = Publisher(stamp, self.sealer)

    async def carry(
        self,
        link: Link,
        call: RelayCall,
        method: str,
        params: dict[str, Any],
        release: Callable[[], None] | None = None,
    ) -> Result:
        """Send a request in the upstream's names; the result is in the mesh's, and of the caller's era.

        A link that was lent to this call alone is given back by `release` when the upstream has answered, which may be after this returns.

        Raises:
            RpcError: the upstream's error, as the caller's era spells it.
            UpstreamError: see `Link.request`.
        """
        downstream = call.context.downstream.era
        if link.era is Era.LEGACY and downstream is Era.MODERN:
            return await self._modern_to_legacy(link, call, method, params, release)
        try:
            if link.era is Era.LEGACY:
                answer = await link.request(method, params, call)
                return self.publisher.answer(Era.LEGACY, call, method, params, answer)
            if downstream is Era.MODERN:
                return await self._modern_to_modern(link, call, method, params)
            return await self.legacy_to_modern(link, call, method, params)
        except RpcError as error:
            raise as_told(error, call) from None

    async def resume(self, context: RequestContext, method: str, params: dict[str, Any]) -> Result | None:
        """Take up the parked call that a retry names; None if it names none of this upstream's."""
        binding = binding_of(context, method, params)
        state = opened(params.get("requestState"))
        if not self.parking.holds(state, binding):
            return None
        try:
            return await self.parking.resume(context, binding, state, params.get("inputResponses"))
        except RpcError as error:
            return asked_of_url(error, context)

    async def _modern_to_legacy(
        self, link: Link, call: RelayCall, method: str, params: dict[str, Any], release: Callable[[], None] | None
    ) -> Result:
        context = call.context
        # A legacy upstream knows neither: a retry whose call is not parked here starts anew only if it never had a state.
        if "requestState" in params:
            raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
        params = {key: value for key, value in params.items() if key != "inputResponses"}

        async def start(attended: RequestContext) -> Result:
            call.context = attended
            try:
                answer = await link.request(method, params, call)
            except RpcError as error:
                # Told here, since the call may end long after this request of its client's has.
                raise error if error.code == URL_ELICITATION_REQUIRED else as_told(error, call) from None
            finally:
                if release is not None:
                    release()
            return self.publisher.answer(Era.LEGACY, call, method, params, answer)

        try:
            if method not in INPUT_METHODS or not may_be_asked(context.downstream):
                return await start(context)
            call.wants_progress = True
            return await self.parking.run(context, binding_of(context, method, params), start)
        except RpcError as error:
            return asked_of_url(error, context)

    async def _modern_to_modern(self, link: Link, call: RelayCall, method: str, params: dict[str, Any]) -> Result:
        binding = b""
        if method in INPUT_METHODS and "requestState" in params:
            binding = binding_of(call.context, method, params)
            sealed = opened(params["requestState"])
            params = {**params, "requestState": loads(self.sealer.open(sealed, binding))}
        params = rewrite_question(method, params, call.mount.origin)
        answer = await link.request(method, params, call)
        return self.publisher.answer(Era.MODERN, call, method, params, answer, binding)

    async def legacy_to_modern(
        self,
        link: Link,
        call: RelayCall,
        method: str,
        params: dict[str, Any],
        first: dict[str, Any] | None = None,
    ) -> Result:
        """`first` is what the upstream answered already, if it did."""

        async def attempt(params: dict[str, Any]) -> dict[str, Any]:
            _, result = opened_result(method, await link.request(method, params, call))
            result_type(result, call.context.downstream.capabilities)
            return result

        if method in INPUT_METHODS:
            result = await drive(call, params, attempt, first)
        else:
            result = await attempt(params)
        return rewrite_answer(method, to_legacy(result), call.mount.public)
