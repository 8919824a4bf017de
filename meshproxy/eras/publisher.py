"""`Publisher`: an upstream's answers and errors as their callers may have them. Place: eras, under `bridge`."""

import uuid
from collections.abc import Mapping

from meshproxy.catalog.rewrite import rewrite_answer
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
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import RequestContext, Result
from meshproxy.wire.codec import Raw, dumps, mapping, opened
from meshproxy.wire.protocol import CACHEABLE, COMPLETE, INPUT_METHODS, INPUT_REQUIRED, Era

__all__ = ["Publisher", "as_told", "asked_of_url"]


class Publisher:
    """Answers as their callers may have them.

    Attributes:
        stamp: what the mesh says of itself.
    """

    def __init__(self, stamp: Stamp, sealer: Sealer) -> None:
        self.stamp = stamp
        self._sealer = sealer

    def answer(self, call: Call, answer: Raw) -> Result:
        """An upstream's answer, of the era of the call's link, as its caller's era has it.

        It is opened, with its type decoded, if a modern upstream asks a legacy client for input.

        Raises:
            RpcError: it cannot be read, or is of a type that the caller does not know.
        """
        is_legacy = call.context.downstream.era is Era.LEGACY
        if call.era is Era.LEGACY:
            return _public(call, answer) if is_legacy else self._dressed(call, answer)
        return _translated(call, answer) if is_legacy else self._countersigned(call, answer)

    def _dressed(self, call: Call, answer: Raw) -> Result:
        """A legacy upstream's answer as a modern client's."""
        method = call.method
        plain = plain_result(answer) if method == "tools/call" else None
        if plain is not None:
            return self.stamp.onto(plain)
        result = rewrite_answer(method, opened_result(method, answer)[1], call.mount.public)
        result["resultType"] = COMPLETE
        return self.stamp.into(result, cacheable=method in CACHEABLE)

    def _countersigned(self, call: Call, answer: Raw) -> Result:
        """A modern upstream's answer as a modern client's: signed by the mesh, and what it asks sealed to the client."""
        method = call.method
        plain = plain_result(answer) if method == "tools/call" else None
        if plain is not None:
            return self.stamp.onto(plain)
        result = rewrite_answer(method, opened_result(method, answer)[1], call.mount.public)
        kind = result_type(result, call.context.downstream.capabilities)
        if kind == INPUT_REQUIRED and "requestState" in result:
            binding = binding_of(call.context, method, call.params)
            result["requestState"] = self._sealer.seal(dumps(result["requestState"]), binding)
        return self.stamp.into(result, cacheable=method in CACHEABLE and kind != INPUT_REQUIRED)


def _translated(call: Call, answer: Raw) -> Result:
    """A modern upstream's answer as a legacy client's. One that asks for input comes back as it is, opened, its type decoded."""
    method = call.method
    if method == "tools/call" and (plain := plain_result(answer)) is not None:
        encoded = plain_to_legacy(plain)
        if encoded is not None:
            return encoded
    result = opened_result(method, answer)[1]
    kind = result_type(result, call.context.downstream.capabilities)
    if kind == INPUT_REQUIRED and method in INPUT_METHODS:
        return {**result, "resultType": kind}
    return rewrite_answer(method, to_legacy(result), call.mount.public)


def _public(call: Call, answer: Raw) -> Result:
    """A legacy upstream's answer as a legacy client's: as it came, unless there are links in it."""
    method = call.method
    if method == "tools/call" and plain_result(answer) is not None:
        return answer
    alone, result = opened_result(method, answer)
    mapped = rewrite_answer(method, result, call.mount.public)
    return alone if mapped is result else mapped


def as_told(error: RpcError, call: Call) -> RpcError:
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
