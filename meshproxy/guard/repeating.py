"""Which calls are repeated whose answer was lost, and after which pause. Pure. Place: guard.

What only reads is safe to repeat by the protocol's own words (server/resources, server/prompts, server/utilities/completion), and a tool if its
annotations say so (server/tools, `readOnlyHint` and `idempotentHint`). Nothing else is ever repeated.
"""

from collections.abc import Mapping
from typing import Any, Final

from meshproxy.errors import AnswerLost, AnswerTooLarge, AnswerTooLate, UpstreamError, UpstreamUnavailable
from meshproxy.guard.rules import Rules
from meshproxy.links.negotiation import RefusedError

__all__ = ["READS", "is_safe", "is_worth_repeating", "pause", "repeats"]

READS: Final = frozenset({"resources/read", "prompts/get", "completion/complete", "tasks/get"})
"""Requests that change nothing. Listings are the mesh's own, which its supervision repeats."""
FIRST_PAUSE: Final = 0.1
"""Seconds before the first repeat, on average; each one more doubles them."""
LONGEST_PAUSE: Final = 2.0


def repeats(method: str, rules: Rules) -> int:
    """How often a request may be repeated at most; of a tool, if `is_safe` says that it may be at all."""
    if method == "tools/call":
        return rules.idempotent_tools
    return rules.reads if method in READS else 0


def is_safe(definition: Mapping[str, Any] | None) -> bool:
    """Whether a tool says of itself that calling it twice does no more than calling it once."""
    annotations = None if definition is None else definition.get("annotations")
    if not isinstance(annotations, Mapping):
        return False
    return annotations.get("readOnlyHint") is True or annotations.get("idempotentHint") is True


def is_worth_repeating(error: UpstreamError) -> bool:
    """Whether a repeat may end otherwise: the answer was lost or the link failed, and it was neither the time nor the size of the answer."""
    if isinstance(error, UpstreamUnavailable):
        return error.is_fault and not isinstance(error, RefusedError)
    return isinstance(error, AnswerLost) and not isinstance(error, AnswerTooLarge | AnswerTooLate)


def pause(number: int, chance: float) -> float:
    """Seconds before the repeat with this number, from 1 on; `chance`, from 0 to 1, spreads those who failed together."""
    longest = min(LONGEST_PAUSE, 2 * FIRST_PAUSE * 2.0 ** (number - 1))
    return longest * chance
