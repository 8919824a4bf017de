"""`Confirmation`: asks the caller before a tool runs that may destroy something, where a rule says so. Place: access.

A client of the legacy era is asked within its request (2025-06-18 client/elicitation). One of the modern era is answered with the question, and its retry brings the
answer with a state that is good once, for the same principal, tool and arguments (2026-07-28 basic/patterns/mrtr).
"""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from meshproxy.catalog.route import Route
from meshproxy.eras.seal import Sealer, binding_of
from meshproxy.errors import INVALID_REQUEST, MISSING_CLIENT_CAPABILITY, RpcError
from meshproxy.relay.call import Call
from meshproxy.wire.codec import Raw, dumps, mapping, opened
from meshproxy.wire.protocol import COMPLETE, INPUT_REQUIRED, Era

__all__ = ["Confirmation"]

GoOn: TypeAlias = Callable[[Call, Route], None]

_KEY: Final = "meshproxy-confirm"
_SHOWN: Final = 1000
"""Characters of the arguments that the question shows."""
_MOST: Final = 10_000
"""Questions that wait for an answer at one time; of more, the oldest are forgotten and asked again."""
_TOKEN: Final = 16


class Confirmation:
    """The questions of one mesh."""

    def __init__(self) -> None:
        self._sealer = Sealer()
        self._open: dict[bytes, float] = {}

    def ask(self, call: Call, route: Route, go_on: GoOn) -> None:
        """Let `go_on` have the call once its caller has agreed.

        Raises:
            RpcError: the caller cannot be asked.
        """
        downstream = call.context.downstream
        if downstream.era is Era.MODERN and "requestState" in call.params:
            self._retried(call, route, go_on)
            return
        name = str(call.params.get("name"))
        if not _can_be_asked(downstream.capabilities):
            _note_denied(call, route)
            reason = (
                f"{name} may destroy something, and a rule wants its caller asked before; this client cannot be asked"
            )
            if downstream.era is Era.MODERN:
                raise RpcError(
                    MISSING_CLIENT_CAPABILITY, reason, {"requiredCapabilities": {"elicitation": {"form": {}}}}
                )
            raise RpcError(INVALID_REQUEST, f"{reason}: it does not declare elicitation")
        question = {"message": _message(name, call.params.get("arguments")), "requestedSchema": _NOTHING}
        if downstream.era is Era.LEGACY:
            call.wait(call.context.send_raw_request("elicitation/create", question), _Waiting(route, go_on).answered)
            return
        token = self._token()
        call.end(
            {
                "resultType": INPUT_REQUIRED,
                "inputRequests": {_KEY: {"method": "elicitation/create", "params": {"mode": "form", **question}}},
                "requestState": self._sealer.seal(token, binding_of(call.context, call.method, call.params)),
            }
        )

    def _retried(self, call: Call, route: Route, go_on: GoOn) -> None:
        """A retry. A state that is none of ours is its upstream's, which gave it out when the call had been agreed to; whoever made one up is refused there."""
        binding = binding_of(call.context, call.method, call.params)
        try:
            token = self._sealer.open(opened(call.params["requestState"]), binding)
        except RpcError:
            go_on(call, route)
            return
        answers = mapping(call.params.get("inputResponses")) or {}
        if self._open.pop(token, None) is None:
            raise RpcError(INVALID_REQUEST, "This confirmation was used already, or is too old: call the tool again")
        call.params = {
            key: value for key, value in call.params.items() if key not in ("requestState", "inputResponses")
        }
        _decided(call, route, go_on, mapping(answers.get(_KEY)) or {})

    def _token(self) -> bytes:
        now = time.monotonic()
        if len(self._open) >= _MOST:
            self._open = {token: until for token, until in self._open.items() if until > now}
            while len(self._open) >= _MOST:
                del self._open[next(iter(self._open))]
        token = secrets.token_bytes(_TOKEN)
        self._open[token] = now + self._sealer.ttl
        return token


class _Waiting:
    """What a call goes on with when its caller has answered."""

    def __init__(self, route: Route, go_on: GoOn) -> None:
        self._route = route
        self._go_on = go_on

    def answered(self, call: Call, answer: dict[str, Any]) -> None:
        _decided(call, self._route, self._go_on, answer)


def _decided(call: Call, route: Route, go_on: GoOn, answer: Mapping[str, Any]) -> None:
    if opened(answer.get("action")) == "accept":
        go_on(call, route)
        return
    result: dict[str, Any] = {
        "content": [{"type": "text", "text": "The user did not agree, so the tool was not run."}],
        "isError": True,
    }
    _note_denied(call, route)
    call.end(result | ({"resultType": COMPLETE} if call.context.downstream.era is Era.MODERN else {}))


def _note_denied(call: Call, route: Route) -> None:
    call.mount = route.mount
    if call.record is not None:
        call.record.is_denied, call.record.origin = True, route.origin


def _can_be_asked(capabilities: Mapping[str, Any]) -> bool:
    """Whether a client takes forms; one that says nothing of modes does (2025-11-25 client/elicitation, "Capabilities")."""
    declared = capabilities.get("elicitation")
    modes = mapping(declared)
    return modes is not None and (not modes or "form" in modes)


def _message(name: str, arguments: Any) -> str:
    text = (
        ""
        if arguments is None
        else bytes(arguments if isinstance(arguments, Raw) else dumps(arguments)).decode("utf-8", "replace")
    )
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"The tool {name} may destroy something. Run it{f' with {shown}' if shown else ''}?"


_NOTHING: Final[dict[str, Any]] = {"type": "object", "properties": {}}
