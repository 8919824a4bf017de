"""`Bridge`: carries one request over one link, whatever the eras on either side, and brings the result into the mesh's names.

The four combinations (see docs/design.md, "Eras"):

    downstream   upstream   how
    legacy       legacy     as it is
    modern       modern     as it is, per-request capabilities and all; `requestState` sealed to the caller
    legacy       modern     the input driver asks the client and repeats the call
    modern       legacy     a call that may ask is parked while the client finds its answer
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from meshproxy.catalog.rewrite import rewrite_answer, rewrite_question
from meshproxy.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_VERSION,
    URL_ELICITATION_REQUIRED,
    RpcError,
)
from meshproxy.relay.call import RelayCall
from meshproxy.relay.capabilities import may_be_asked
from meshproxy.relay.downstream import GiveUp, Outcome, RequestContext, Result
from meshproxy.relay.driver import drive
from meshproxy.relay.parked import ParkingLot
from meshproxy.relay.seal import Sealer, binding_of
from meshproxy.relay.translate import Stamp, opened_result, plain_result, plain_to_legacy, result_type, to_legacy
from meshproxy.upstream.link import Link
from meshproxy.wire.codec import Raw, dumps, loads, mapping, opened
from meshproxy.wire.protocol import CACHEABLE, COMPLETE, INPUT_METHODS, INPUT_REQUIRED, Era


class Bridge:
    """The crossing of one upstream: its parked calls and its seals live here."""

    def __init__(self, stamp: Stamp) -> None:
        self.stamp = stamp
        self.sealer = Sealer()
        self.parking = ParkingLot(self.sealer)

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
                return _public(method, await link.request(method, params, call), call)
            if downstream is Era.MODERN:
                return await self._modern_to_modern(link, call, method, params)
            return await self._legacy_to_modern(link, call, method, params)
        except RpcError as error:
            raise _as_told(error, call) from None

    def begin(
        self, link: Link, call: RelayCall, method: str, params: dict[str, Any], done: Callable[[Outcome], None]
    ) -> GiveUp | None:
        """As `carry`, without a task, see `Link.begin`: where nothing has to be unsealed or parked."""
        downstream = call.context.downstream.era
        if "requestState" in params:
            return None
        if downstream is Era.MODERN and link.era is Era.LEGACY:
            if method in INPUT_METHODS and may_be_asked(call.context.downstream):
                return None
            params = {key: value for key, value in params.items() if key != "inputResponses"}
        elif downstream is Era.MODERN:
            params = rewrite_question(method, params, call.mount.origin)
        give_up: Callable[[], object] | None = None

        def ended(outcome: Raw | BaseException) -> None:
            nonlocal give_up
            result: Outcome
            try:
                if isinstance(outcome, BaseException):
                    result = outcome
                    if downstream is Era.MODERN and link.era is Era.LEGACY and isinstance(outcome, RpcError):
                        result = _asked_of_url(outcome, call.context)
                elif link.era is Era.LEGACY:
                    is_legacy = downstream is Era.LEGACY
                    result = _public(method, outcome, call) if is_legacy else self._dressed(method, outcome, call)
                elif downstream is Era.MODERN:
                    result = self._signed(method, outcome, call, params)
                else:
                    result = _translated(method, outcome, call)
                    if isinstance(result, dict) and result.get("resultType") == INPUT_REQUIRED:
                        # The client is to be asked, which takes time.
                        asking = asyncio.ensure_future(self._legacy_to_modern(link, call, method, params, result))
                        asking.add_done_callback(lambda task: done(_told(outcome_of(task), call)))
                        give_up = asking.cancel
                        return
            except Exception as error:  # noqa: BLE001  # whatever an upstream sends, its caller gets an answer
                result = error
            done(_told(result, call))

        def stop() -> None:
            if give_up is not None:
                give_up()

        give_up = link.begin(method, params, call, ended)
        return None if give_up is None else stop

    async def resume(self, context: RequestContext, method: str, params: dict[str, Any]) -> Result | None:
        """Take up the parked call that a retry names; None if it names none of this upstream's."""
        binding = binding_of(context, method, params)
        state = opened(params.get("requestState"))
        if not self.parking.holds(state, binding):
            return None
        try:
            return await self.parking.resume(context, binding, state, params.get("inputResponses"))
        except RpcError as error:
            return _asked_of_url(error, context)

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
                raise error if error.code == URL_ELICITATION_REQUIRED else _as_told(error, call) from None
            finally:
                if release is not None:
                    release()
            return self._dressed(method, answer, call)

        try:
            if method not in INPUT_METHODS or not may_be_asked(context.downstream):
                return await start(context)
            call.wants_progress = True
            return await self.parking.run(context, binding_of(context, method, params), start)
        except RpcError as error:
            return _asked_of_url(error, context)

    def _dressed(self, method: str, answer: Raw, call: RelayCall) -> Result:
        """A legacy upstream's answer as a modern client's."""
        plain = plain_result(answer) if method == "tools/call" else None
        if plain is not None:
            return self.stamp.onto(plain)
        result = rewrite_answer(method, opened_result(method, answer), call.mount.public)
        result["resultType"] = COMPLETE
        return self.stamp.into(result, cacheable=method in CACHEABLE)

    async def _modern_to_modern(self, link: Link, call: RelayCall, method: str, params: dict[str, Any]) -> Result:
        binding = b""
        if method in INPUT_METHODS and "requestState" in params:
            binding = binding_of(call.context, method, params)
            sealed = opened(params["requestState"])
            params = {**params, "requestState": loads(self.sealer.open(sealed, binding))}
        params = rewrite_question(method, params, call.mount.origin)
        return self._signed(method, await link.request(method, params, call), call, params, binding)

    def _signed(
        self, method: str, answer: Raw, call: RelayCall, params: dict[str, Any], binding: bytes = b""
    ) -> Result:
        """A modern upstream's answer as a modern client's: signed by the mesh, and what it asks sealed to the client."""
        plain = plain_result(answer) if method == "tools/call" else None
        if plain is not None:
            return self.stamp.onto(plain)
        result = rewrite_answer(method, opened_result(method, answer), call.mount.public)
        kind = result_type(result, call.context.downstream.capabilities)
        if kind == INPUT_REQUIRED and "requestState" in result:
            binding = binding or binding_of(call.context, method, params)
            result["requestState"] = self.sealer.seal(dumps(result["requestState"]), binding)
        return self.stamp.into(result, cacheable=method in CACHEABLE and kind != INPUT_REQUIRED)

    async def _legacy_to_modern(
        self,
        link: Link,
        call: RelayCall,
        method: str,
        params: dict[str, Any],
        first: dict[str, Any] | None = None,
    ) -> Result:
        """`first` is what the upstream answered already, if it did."""

        async def attempt(params: dict[str, Any]) -> dict[str, Any]:
            result = opened_result(method, await link.request(method, params, call))
            result_type(result, call.context.downstream.capabilities)
            return result

        if method in INPUT_METHODS:
            result = await drive(call, params, attempt, first)
        else:
            result = await attempt(params)
        return rewrite_answer(method, to_legacy(result), call.mount.public)


def outcome_of(task: "asyncio.Future[Result]") -> Outcome:
    """How a task ended."""
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


def _told(outcome: Outcome, call: RelayCall) -> Outcome:
    return _as_told(outcome, call) if isinstance(outcome, RpcError) else outcome


def _translated(method: str, answer: Raw, call: RelayCall) -> Result:
    """A modern upstream's answer as a legacy client's. One that asks for input comes back as it is, opened, its type decoded."""
    if method == "tools/call" and (plain := plain_result(answer)) is not None:
        encoded = plain_to_legacy(plain)
        if encoded is not None:
            return encoded
    result = opened_result(method, answer)
    kind = result_type(result, call.context.downstream.capabilities)
    if kind == INPUT_REQUIRED and method in INPUT_METHODS:
        return {**result, "resultType": kind}
    return rewrite_answer(method, to_legacy(result), call.mount.public)


def _public(method: str, answer: Raw, call: RelayCall) -> Result:
    """A legacy upstream's answer as a legacy client's: as it came, unless there are links in it."""
    if method == "tools/call" and plain_result(answer) is not None:
        return answer
    result = opened_result(method, answer)
    mapped = rewrite_answer(method, result, call.mount.public)
    return answer if mapped is result else mapped


def _as_told(error: RpcError, call: RelayCall) -> RpcError:
    """An upstream's error as its caller may hear it."""
    modern = call.context.downstream.era is Era.MODERN
    if error.code in (HEADER_MISMATCH, UNSUPPORTED_VERSION):
        # About our connection to the upstream, not about anything that the client did.
        return RpcError(INTERNAL_ERROR, f"the upstream refused the mesh's request: {error.message}")
    data = mapping(error.data)
    if data is not None and isinstance(uri := opened(data.get("uri")), str):
        error = RpcError(error.code, error.message, {**data, "uri": call.mount.public(uri)})
    if modern and error.code == RESOURCE_NOT_FOUND:
        return RpcError(INVALID_PARAMS, error.message, error.data)
    if modern and error.code == URL_ELICITATION_REQUIRED:
        return RpcError(INTERNAL_ERROR, error.message, error.data)
    return error


def _asked_of_url(error: RpcError, context: RequestContext) -> Result:
    """What a -32042 (2025-11-25 client/elicitation) is in the modern era: its URLs as input requests.

    Raises:
        RpcError: `error` itself if it is another one; -32603 in its place if there is no URL or the caller cannot be shown one.
    """
    if error.code != URL_ELICITATION_REQUIRED:
        raise error
    asked = opened((mapping(error.data) or {}).get("elicitations"))
    able = mapping(context.downstream.capabilities.get("elicitation")) or {}
    questions = {
        f"url-{uuid.uuid4().hex}": {
            "method": "elicitation/create",
            "params": {key: value for key, value in item.items() if key != "elicitationId"},
        }
        for item in (asked if isinstance(asked, list) else ())
        if isinstance(item, dict)
    }
    if not questions or not isinstance(able.get("url"), Mapping):
        raise RpcError(INTERNAL_ERROR, error.message, error.data)
    return {"resultType": INPUT_REQUIRED, "inputRequests": questions}
