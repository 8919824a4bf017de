"""The tree of errors: whose fault, and whether trying again may help.

    MeshError
    ├── ConfigError          the user's: the file is wrong; carries every problem found
    ├── RpcError             the peer's answer: a JSON-RPC error, handed on as it came
    └── UpstreamError        an upstream's, or of the way to it
        ├── UpstreamUnavailable   not sent: trying again is safe
        │   ├── UpstreamBusy          because of a limit, which says when
        │   └── LoginNeeded           until somebody logs in
        └── AnswerLost            sent, and no answer came: trying again may do it twice
            ├── AnswerTooLate         in time
            └── AnswerTooLarge        that was within the limit

Nothing below the serving room turns an error into words for a client; `RpcError` is the only one that goes to the wire,
and `UpstreamError.rpc` says what each other one becomes there.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Self

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RESOURCE_NOT_FOUND: Final = -32002
"""Up to 2025-11-25 (server/resources, "Error Handling"); -32602 from 2026-07-28 on (SEP-2164)."""
HEADER_MISMATCH: Final = -32020
MISSING_CLIENT_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
URL_ELICITATION_REQUIRED: Final = -32042
"""2025-11-25 only."""
REQUEST_CANCELLED: Final = -32800
"""What ends the HTTP response of a legacy request that the client cancelled; nobody waits for it."""


class MeshError(Exception):
    """Anything that meshproxy raises on purpose."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a config file, where it stands, and what would mend it."""

    file: str
    line: int | None
    column: int | None
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column or 1}"
        key = f" {self.key}:" if self.key else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}:{key} {self.message}{hint}"


class ConfigError(MeshError):
    """The config cannot be used. `problems` are all that were found, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class RpcError(MeshError):
    """A JSON-RPC error: `code`, `message`, and `data`, which may hold undecoded JSON (`msgspec.Raw`).

    Attributes:
        retry_after: as for `UpstreamError`.
    """

    retry_after: float | None = None

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def __repr__(self) -> str:
        return f"RpcError({self.code}, {self.message!r})"


class UpstreamError(MeshError):
    """An upstream could not be used. `upstream` is its configured name, `reason` one line without secrets.

    Attributes:
        retryable: whether the request may be sent again without being carried out twice.
        is_lasting: whether trying again does not cure it, but only the user.
        is_fault: whether it speaks against the upstream, as a connection that breaks, silence and 5xx do, and not of who asks, of what, or of a limit.
        retry_after: the seconds that the upstream wants nobody to try again for; None if it has not said so.
    """

    retryable = True
    is_fault = True

    def __init__(
        self, upstream: str, reason: str, *, is_lasting: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{upstream}: {reason}")
        self.upstream = upstream
        self.reason = reason
        self.is_lasting = is_lasting
        self.retry_after = retry_after

    def reworded(self, reason: str) -> Self:
        """The same error in other words."""
        return type(self)(self.upstream, reason, is_lasting=self.is_lasting, retry_after=self.retry_after)

    @property
    def rpc(self) -> RpcError:
        """What a client is told: an internal error (JSON-RPC 2.0, 5.1) whose data names the upstream."""
        advice = "it may be retried" if self.retryable else "it may have been carried out, so it is not repeated"
        return RpcError(
            INTERNAL_ERROR,
            f"upstream {self.upstream!r} is unavailable: {self.reason}; {advice}",
            {"upstream": self.upstream, "reason": self.reason, "retryable": self.retryable},
        )


class UpstreamUnavailable(UpstreamError):
    """The request did not reach the upstream."""


class UpstreamBusy(UpstreamUnavailable):
    """A limit of the upstream's in the config holds the request back.

    Attributes:
        limit: the key of that limit, below the upstream.
        retry_after: seconds after which it is worth trying again.
    """

    is_fault = False

    def __init__(self, upstream: str, reason: str, limit: str = "limits", retry_after: float = 1.0) -> None:
        super().__init__(upstream, reason)
        self.limit = limit
        self.retry_after = retry_after

    def reworded(self, reason: str) -> Self:
        return type(self)(self.upstream, reason, self.limit, self.retry_after or 0.0)

    @property
    def rpc(self) -> RpcError:
        """What a client is told; `retryAfter` in its data is whole seconds, as in the header of that name (RFC 9110, 10.2.3)."""
        seconds = max(1, math.ceil(self.retry_after or 0.0))
        return RpcError(
            INTERNAL_ERROR,
            f"upstream {self.upstream!r} is busy: {self.reason} ({self.limit}); nothing was sent, so try again in {seconds} s",
            {
                "upstream": self.upstream,
                "reason": self.reason,
                "retryable": True,
                "limit": self.limit,
                "retryAfter": seconds,
            },
        )


class LoginNeeded(UpstreamUnavailable):
    """The upstream wants somebody to log in; `reason` says what for, with the command that does it."""

    is_fault = False

    @property
    def rpc(self) -> RpcError:
        return RpcError(
            INTERNAL_ERROR,
            f"upstream {self.upstream!r} {self.reason}",
            {"upstream": self.upstream, "reason": self.reason, "retryable": True},
        )


class AnswerLost(UpstreamError):
    """The request was sent and its answer will not come."""

    retryable = False

    @property
    def rpc(self) -> RpcError:
        return RpcError(
            INTERNAL_ERROR,
            f"the answer of upstream {self.upstream!r} was lost: {self.reason}; "
            "the call may have been carried out, so it is not repeated",
            {"upstream": self.upstream, "reason": self.reason, "retryable": False},
        )


class AnswerTooLate(AnswerLost):
    """It did not come in time."""

    def bound_by(self, key: str) -> "AnswerTooLate":
        """The same, with the key of the config that sets the time."""
        return AnswerTooLate(self.upstream, f"{self.reason}, which `{key}` of this upstream allows")


class AnswerTooLarge(AnswerLost):
    """It is larger than the config allows."""

    is_fault = False

    @classmethod
    def than(cls, upstream: str, size: str) -> Self:
        """The error, for a bound as a config spells it."""
        return cls(upstream, f"it is larger than {size}: ask for less, or raise `limits.result` of this upstream")
