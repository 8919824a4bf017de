"""`Recorder`: the one place where the end of a request is noted, for whoever listens. Place: relay.

A request is recorded from where a `Handler` is given it, and told when it ends, whichever way: answered, refused, given up. Where nobody listens nothing is made.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import structlog

from meshproxy.errors import URL_ELICITATION_REQUIRED, RpcError, UpstreamError
from meshproxy.observe.record import CANCELLED, DENIED, ERROR, FAILURE, SUCCESS, TOOL_ERROR, Listener, Record
from meshproxy.observe.spelling import beginning
from meshproxy.relay.call import Call, Step
from meshproxy.relay.downstream import FAILED, Outcome
from meshproxy.wire.codec import RAW, JsonError, Raw, mapping, opened, shallow
from meshproxy.wire.protocol import Era

__all__ = ["Hides", "Recorder"]

log = structlog.get_logger(__name__)

_monotonic: Final = time.monotonic
_now: Final = time.time

_KEYS: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "resources/subscribe": "uri",
    "resources/unsubscribe": "uri",
}
"""The parameter that names a component."""
_REASON: Final = 500
"""Characters of an error's words that are kept."""
_LINK: Final = re.compile(r"https?://\S+")
"""What a user is sent to (2025-11-25 client/elicitation, "URL Mode"): it is for him alone, and may be all that somebody needs who would be taken for him."""
_HIDDEN: Final = "***"

Hides: TypeAlias = "Callable[[Call, str], bool]"
"""Whether the component of a name, or URI, is there, and not for the caller of a request about it."""


class Recorder:
    """Records the requests of one handler.

    Attributes:
        listeners: who is told. Nothing is recorded while there is none.
        tracer: told of the beginning, too; None where nobody traces.
    """

    __slots__ = ("_end", "_hides", "_last", "listeners", "tracer")

    def __init__(self, hides: Hides) -> None:
        self.listeners: tuple[Listener, ...] = ()
        self.tracer: Any = None
        self._hides = hides
        self._last = 0
        self._end: Step = self._ended

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of each request that ends from now on, in the order of their coming; the answer takes that back."""
        self.listeners = (*self.listeners, listener)
        return _Forgetting(self, listener).forget

    def begin(self, call: Call) -> None:
        """Record a request. It comes before the handler's own steps, so that the end is noted after them."""
        call.record = record = Record(call.method, call.params, _monotonic())
        call.then(self._end)
        if self.tracer is not None:
            self.tracer.begin(call, record)

    def _ended(self, call: Call, outcome: Outcome) -> Outcome:
        """On the way back, after everything but the transport."""
        record = call.record
        if record is None:
            return outcome
        call.record = None
        self._last = record.number = self._last + 1
        record.ended = now = _monotonic()
        record.at = _now() - (now - record.started)
        context = call.context
        downstream = context.downstream
        visitor = downstream.visitor
        record.principal = visitor.principal.identity
        record.profile = visitor.profile
        client = downstream.client.get("name")
        if isinstance(client, str):
            record.client = client
        record.era = downstream.era
        if downstream.era is Era.LEGACY:
            record.session_key = downstream.key
        record.request_id = context.request_id
        params, key = record.params, _KEYS.get(call.method)
        record.upstream = call.mount.name
        if key is not None:
            name = params.get(key)
            if isinstance(name, str):
                record.name = name
            origin = call.params.get(key) if record.upstream else None
            if isinstance(origin, str) and not record.origin:
                record.origin = origin
        elif call.method == "completion/complete":
            record.name = _referred(params)
        record.is_offered = record.upstream != ""
        if record.sent:
            record.upstream_era = call.era
        arguments = params.get("arguments")
        if isinstance(arguments, RAW):
            record.asked_bytes = len(arguments)
        if isinstance(outcome, FAILED):
            self._note_error(record, call, outcome)
        else:
            _note_result(record, outcome)
        for listener in self.listeners:
            try:
                listener(record, outcome)
            except Exception:
                log.exception("call.unwatched", method=call.method)
        record.forget()
        return outcome

    def _note_error(self, record: Record, call: Call, error: BaseException) -> None:
        record.outcome = ERROR
        if isinstance(error, RpcError):
            message = error.message
            if error.code == URL_ELICITATION_REQUIRED:
                message = _LINK.sub(_HIDDEN, message)
            record.code, record.error, record.reason = error.code, str(error.code), beginning(message, _REASON)
        elif isinstance(error, UpstreamError):
            told = error.rpc
            record.code, record.error, record.reason = told.code, type(error).__name__, beginning(told.message, _REASON)
        elif isinstance(error, asyncio.CancelledError):
            record.error = CANCELLED
        else:
            # A defect, of which the log has more.
            record.error = type(error).__name__
        if record.is_denied or (record.name and not record.upstream and self._hides(call, record.name)):
            record.outcome = DENIED


class _Forgetting:
    def __init__(self, recorder: Recorder, listener: Listener) -> None:
        self._recorder = recorder
        self._listener = listener

    def forget(self) -> None:
        recorder = self._recorder
        recorder.listeners = tuple(other for other in recorder.listeners if other is not self._listener)


def _note_result(record: Record, result: Any) -> None:
    failed = record.has_failed
    if isinstance(result, RAW):
        record.answered_bytes = len(result)
        if failed is None and record.method == "tools/call":
            failed = _says_so(result)
    elif isinstance(result, dict):
        record.answered_bytes = _size(result)
        if failed is None and record.method == "tools/call":
            failed = opened(result.get("isError")) is True
    if record.is_denied:
        record.outcome = DENIED
    elif failed:
        record.outcome, record.error = FAILURE, TOOL_ERROR
    else:
        record.outcome = SUCCESS


def _says_so(result: Raw) -> bool:
    try:
        return opened(shallow(result).get("isError")) is True
    except JsonError:
        return False


def _size(result: dict[str, Any]) -> int:
    """The bytes of what is encoded already, which is nearly all of it."""
    size = 0
    for value in result.values():
        if isinstance(value, RAW):
            size += len(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, RAW):
                    size += len(item)
    return size


def _referred(params: dict[str, Any]) -> str:
    """What a completion is about."""
    ref = mapping(params.get("ref")) or {}
    name = opened(ref.get("name", ref.get("uri")))
    return name if isinstance(name, str) else ""
