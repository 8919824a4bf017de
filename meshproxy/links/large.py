"""Which request a line answers that is too large to be read: found at its beginning or at its end, without what lies between. Place: links, pure.

An answer is an object of `jsonrpc`, `id` and `result` or `error`, in any order. What is certain is the id before the outcome, at the beginning, and the one
behind it, at the end, where nothing but the end of the whole object follows. Anything else, a question for instance, whose ids are not ours, is none.
"""

import re
from typing import Final

__all__ = ["KEPT", "answered_at_last", "answered_at_start"]

KEPT: Final = 256
"""Bytes at the beginning and at the end of a line that are looked at."""

_VERSION: Final = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID: Final = rb'"id"\s*:\s*"?([0-9]{1,15})"?'
_OUTCOME: Final = rb'"(?:result|error)"\s*:'
_START: Final = re.compile(
    rb"\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID + rb"\s*,\s*(?:" + _VERSION + rb"\s*,\s*)?" + _OUTCOME
)
_OUTCOME_FIRST: Final = re.compile(rb"\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _OUTCOME)
_LAST: Final = re.compile(rb",\s*" + _ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*$")


def answered_at_start(head: bytes) -> int | None:
    """The id of the request that is answered by a line which begins so; None if that does not tell."""
    found = _START.match(head)
    return None if found is None else int(found[1])


def answered_at_last(head: bytes, tail: bytes) -> int | None:
    """The same of a line that begins and ends so."""
    found = _LAST.search(tail) if _OUTCOME_FIRST.match(head) else None
    return answered_at_start(head) if found is None else int(found[1])
