"""`Crossing`, a request on its short way over one link, and `Publisher`, which brings answers into their callers' era. Place: upstream."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeAlias

from meshproxy.catalog.rewrite import rewrite_answer, rewrite_question
from meshproxy.eras.seal import Sealer, binding_of
from meshproxy.eras.translate import Stamp, opened_result, plain_result, plain_to_legacy, result_type, to_legacy
from meshproxy.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_VERSION,
    URL_ELICITATION_REQUIRED,
    RpcError,
)
from meshproxy.links.link import Link
from meshproxy.relay.call import RelayCall
from meshproxy.relay.capabilities import may_be_asked
from meshproxy.relay.downstream import Done, GiveUp, Outcome, RequestContext, Result
from meshproxy.wire.codec import Raw, dumps, mapping, opened
from meshproxy.wire.protocol import CACHEABLE, COMPLETE, INPUT_METHODS, INPUT_REQUIRED, Era

__all__ = ["Crossing", "Publisher", "as_told", "asked_of_url", "begin", "cancel", "outcome_of"]

Ask: TypeAlias = Callable[[Link, RelayCall, str, dict[str, Any], dict[str, Any]], Coroutine[Any, Any, Result]]
"""Asks a legacy client what a modern upstream wants to know, which is in the last of the arguments, and repeats the request."""


class Publisher:
    """Answers as their callers may have them.

    Attributes:
        stamp: what the mesh says of itself.
    """

    def __init__(self, stamp: Stamp, sealer: Sealer) -> None:
        self.stamp = stamp
        self._sealer = sealer

    def answer(
        self, era: Era, call: RelayCall, method: str, params: dict[str, Any], answer: Raw, binding: bytes = b""
    ) -> Result:
        """An upstream's answer, of its `era`, as its caller's era has it.

        It is opened, with its type decoded, if a modern upstream asks a legacy client for input.

        Raises:
            RpcError: it cannot be read, or is of a type that the caller does not know.
        """
        is_legacy = call.context.downstream.era is Era.LEGACY
        if era is Era.LEGACY:
            return _public(method, answer, call) if is_legacy else self._dressed(method, answer, call)
        if is_legacy:
            return _translated(method, answer, call)
        return self._countersigned(method, answer, call, params, binding)

    def _dressed(self, method: str, answer: Raw, call: RelayCall) -> Result:
        """A legacy upstream's answer as a modern client's."""
        plain = plain_result(answer) if method == "tools/call" else None
        if plain is not None:
            return self.stamp.onto(plain)
        result = rewrite_answer(method, opened_result(method, answer)[1], call.mount.public)
        result["resultType"] = COMPLETE
        return self.stamp.into(result, cacheable=method in CACHEABLE)

    def _countersigned(
        self, method: str, answer: Raw, call: RelayCall, params: dict[str, Any], binding: bytes = b""
    ) -> Result:
        """A modern upstream's answer as a modern client's: signed by the mesh, and what it asks sealed to the client."""
        plain = plain_result(answer) if method == "tools/call" else None
        if plain is not None:
            return self.stamp.onto(plain)
        result = rewrite_answer(method, opened_result(method, answer)[1], call.mount.public)
        kind = result_type(result, call.context.downstream.capabilities)
        if kind == INPUT_REQUIRED and "requestState" in result:
            binding = binding or binding_of(call.context, method, params)
            result["requestState"] = self._sealer.seal(dumps(result["requestState"]), binding)
        return self.stamp.into(result, cacheable=method in CACHEABLE and kind != INPUT_REQUIRED)


def begin(
    publisher: Publisher,
    ask: Ask,
    link: Link,
    call: RelayCall,
    method: str,
    params: dict[str, Any],
    done: Done,
) -> GiveUp | None:
    """As `Bridge.carry`, without a task, see `Link.begin`: where nothing has to be unsealed or parked."""
    downstream = call.context.downstream
    if "requestState" in params:
        return None
    if downstream.era is Era.MODERN and link.era is Era.LEGACY:
        if method in INPUT_METHODS and may_be_asked(downstream):
            return None
        params = {key: value for key, value in params.items() if key != "inputResponses"}
    elif "inputResponses" in params:
        params = rewrite_question(method, params, call.mount.origin)
    crossing = Crossing(publisher, ask, link, call, method, params, done)
    crossing.give_up = link.begin(method, params, call, crossing.ended)
    return None if crossing.give_up is None else crossing.stop


class Crossing:
    """A request that `begin` sent.

    Attributes:
        give_up: gives up what is under way of it; None when nothing is.
    """

    __slots__ = ("_ask", "_call", "_done", "_link", "_method", "_params", "_publisher", "give_up")

    def __init__(
        self,
        publisher: Publisher,
        ask: Ask,
        link: Link,
        call: RelayCall,
        method: str,
        params: dict[str, Any],
        done: Done,
    ) -> None:
        self._publisher = publisher
        self._ask = ask
        self._link = link
        self._call = call
        self._method = method
        self._params = params
        self._done = done
        self.give_up: GiveUp | None = None

    def stop(self) -> None:
        """See `meshproxy.relay.downstream.GiveUp`."""
        if self.give_up is not None:
            self.give_up()

    def ended(self, outcome: Raw | BaseException) -> None:
        """The link is done with it."""
        self.give_up = None
        result: Outcome
        try:
            if isinstance(outcome, BaseException):
                result = self._of_error(outcome)
            else:
                result = self._publisher.answer(self._link.era, self._call, self._method, self._params, outcome)
                if isinstance(result, dict) and self._is_asked(result):
                    self._follow_up(result)
                    return
        except Exception as error:  # noqa: BLE001  # whatever an upstream sends, its caller gets an answer
            result = error
        self._finish(result)

    def _of_error(self, error: BaseException) -> Outcome:
        context = self._call.context
        is_told_by_url = self._link.era is Era.LEGACY and context.downstream.era is Era.MODERN
        return asked_of_url(error, context) if is_told_by_url and isinstance(error, RpcError) else error

    def _is_asked(self, result: dict[str, Any]) -> bool:
        """Whether the upstream wants input of a client that cannot be told so, and has to be asked."""
        is_translated = self._link.era is Era.MODERN and self._call.context.downstream.era is Era.LEGACY
        return is_translated and result.get("resultType") == INPUT_REQUIRED

    def _follow_up(self, result: dict[str, Any]) -> None:
        """Asking takes time, and so a task."""
        asking = asyncio.ensure_future(self._ask(self._link, self._call, self._method, self._params, result))
        self.give_up = partial(cancel, asking)
        asking.add_done_callback(self._on_asked)

    def _on_asked(self, asking: "asyncio.Future[Result]") -> None:
        self.give_up = None
        self._finish(outcome_of(asking))

    def _finish(self, outcome: Outcome) -> None:
        self._done(as_told(outcome, self._call) if isinstance(outcome, RpcError) else outcome)


def cancel(task: "asyncio.Future[Result]") -> None:
    """As `asyncio.Future.cancel`, with nothing to say; see `GiveUp`."""
    task.cancel()


def outcome_of(task: "asyncio.Future[Result]") -> Outcome:
    """How a task ended."""
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


def _translated(method: str, answer: Raw, call: RelayCall) -> Result:
    """A modern upstream's answer as a legacy client's. One that asks for input comes back as it is, opened, its type decoded."""
    if method == "tools/call" and (plain := plain_result(answer)) is not None:
        encoded = plain_to_legacy(plain)
        if encoded is not None:
            return encoded
    result = opened_result(method, answer)[1]
    kind = result_type(result, call.context.downstream.capabilities)
    if kind == INPUT_REQUIRED and method in INPUT_METHODS:
        return {**result, "resultType": kind}
    return rewrite_answer(method, to_legacy(result), call.mount.public)


def _public(method: str, answer: Raw, call: RelayCall) -> Result:
    """A legacy upstream's answer as a legacy client's: as it came, unless there are links in it."""
    if method == "tools/call" and plain_result(answer) is not None:
        return answer
    alone, result = opened_result(method, answer)
    mapped = rewrite_answer(method, result, call.mount.public)
    return alone if mapped is result else mapped


def as_told(error: RpcError, call: RelayCall) -> RpcError:
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


def asked_of_url(error: RpcError, context: RequestContext) -> Result:
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
