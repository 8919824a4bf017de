"""`Record`: what became of one request of a client, for whoever watches: recent calls, metrics, the audit log, traces. Place: observe.

One is made where a request enters, if somebody listens, and told once, when it has ended. Times are of the monotonic clock, in seconds.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from meshproxy.wire.codec import Raw
from meshproxy.wire.messages import Id

__all__ = ["CANCELLED", "DENIED", "ERROR", "FAILURE", "SUCCESS", "TOOL_ERROR", "Listener", "Record"]

SUCCESS: Final = "success"
"""It was answered with a result, be it with the questions that come first."""
FAILURE: Final = "failure"
"""A tool ran, and says itself that it failed (`isError`)."""
ERROR: Final = "error"
"""It ended with an error, or was given up."""
DENIED: Final = "denied"
"""Its caller may not use what it is about, or did not agree to it."""

TOOL_ERROR: Final = "tool_error"
CANCELLED: Final = "cancelled"

_NONE: Final[dict[str, Any]] = {}


class Record:
    """See the module. What says nothing else is filled in when the request has ended.

    Attributes:
        number: counts the requests that have ended, from 1.
        method: what was asked.
        params: with which parameters, as the client sent them. Only while it runs and while listeners are told; empty afterwards.
        started: when it came.
        sent: when there was a link for it; 0 if it never left.
        answered: when the upstream's answer was there, or the reason why there is none; 0 if it never left.
        ended: when it was answered.
        at: when it came, in seconds since 1970.
        name: the public name, or URI, of the component that it is about; "" for what is about none.
        is_offered: whether there is such a component: a name that nobody has may be anything.
        origin: what the upstream calls that; "" if it went to none.
        upstream: the name of the upstream that it was for; "" for none.
        principal: who asked (`Principal.identity`).
        profile: at which address; "" for that of the whole mesh.
        client: the program's name, as it says itself.
        session_key: tells a session of the legacy era from every other; a secret, which `session` is not. "" for none.
        era: of the client.
        upstream_era: of the link that it was sent over; "" if it never left.
        request_id: on the client's wire.
        outcome: `success`, `failure`, `error` or `denied`.
        code: of the JSON-RPC error; 0 for none.
        error: what kind of error, as OpenTelemetry's `error.type` has it: the code, `tool_error`, `cancelled`, or the name of what happened. "" for none.
        reason: the error's words; "" for none.
        asked_bytes: of its arguments.
        answered_bytes: of the result, about.
        has_failed: whether the tool says that it failed; None where nobody has looked.
        is_denied: set by who denies it.
        arguments: of it, as text, where they are kept; "" elsewhere.
        span: of whoever traces it; see `meshproxy.relay.traces`. None where nobody does, and afterwards.
    """

    __slots__ = (
        "answered",
        "answered_bytes",
        "arguments",
        "asked_bytes",
        "at",
        "client",
        "code",
        "ended",
        "era",
        "error",
        "has_failed",
        "is_denied",
        "is_offered",
        "method",
        "name",
        "number",
        "origin",
        "outcome",
        "params",
        "principal",
        "profile",
        "reason",
        "request_id",
        "sent",
        "session_key",
        "span",
        "started",
        "upstream",
        "upstream_era",
    )

    def __init__(self, method: str, params: dict[str, Any], started: float) -> None:
        self.number = 0
        self.method = method
        self.params = params
        self.started = started
        self.sent = 0.0
        self.answered = 0.0
        self.ended = 0.0
        self.at = 0.0
        self.name = ""
        self.is_offered = False
        self.origin = ""
        self.upstream = ""
        self.principal = ""
        self.profile = ""
        self.client = ""
        self.session_key = ""
        self.era = ""
        self.upstream_era = ""
        self.request_id: Id = 0
        self.outcome = SUCCESS
        self.code = 0
        self.error = ""
        self.reason = ""
        self.asked_bytes = 0
        self.answered_bytes = 0
        self.has_failed: bool | None = None
        self.is_denied = False
        self.arguments = ""
        self.span: Any = None

    def __repr__(self) -> str:
        return f"<Record {self.number} {self.method} {self.name!r} {self.outcome}>"

    def forget(self) -> None:
        """Let go of the parameters: everybody was told."""
        self.params = _NONE
        self.span = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started

    @property
    def waiting(self) -> float:
        """Seconds until there was a link for it: routing, limits, an upstream that starts."""
        return (self.sent or self.ended) - self.started

    @property
    def at_upstream(self) -> float:
        """Seconds at its upstream, with repeats and the questions that it asked; 0 if it never left."""
        return (self.answered or self.ended) - self.sent if self.sent else 0.0

    @property
    def back(self) -> float:
        """Seconds from the upstream's answer to the client's; 0 if it never left."""
        return self.ended - self.answered if self.sent and self.answered else 0.0

    @property
    def session(self) -> str:
        """What a session is called where people may read it: whoever knows its key can use it."""
        return blake2b(self.session_key.encode(), digest_size=6).hexdigest() if self.session_key else ""

    def shown(self) -> dict[str, Any]:
        """As JSON has it, with times in seconds, and without what is empty."""
        shown: dict[str, Any] = {"number": self.number, "at": round(self.at, 3), "method": self.method}
        facts: dict[str, Any] = {
            "name": self.name,
            "origin": self.origin if self.origin != self.name else "",
            "upstream": self.upstream,
            "principal": self.principal,
            "profile": self.profile,
            "client": self.client,
            "session": self.session,
            "era": self.era,
            "upstream_era": self.upstream_era,
            "outcome": self.outcome,
            "error": self.error,
            "code": self.code,
            "reason": self.reason,
            "arguments": self.arguments,
        }
        shown.update({name: value for name, value in facts.items() if value})
        shown["seconds"] = round(self.seconds, 6)
        shown["parts"] = {
            "waiting": round(self.waiting, 6),
            "upstream": round(self.at_upstream, 6),
            "back": round(self.back, 6),
        }
        shown["bytes"] = {"arguments": self.asked_bytes, "result": self.answered_bytes}
        return shown


Listener: TypeAlias = "Callable[[Record, Raw | Mapping[str, Any] | BaseException], None]"
"""Is told of a request that has ended, and its outcome. It must not block, and what it raises is logged and costs nobody anything."""
