"""`difference`: what changed in a definition, in lines that people read. Place: pins, pure."""

import difflib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from meshproxy.observe.spelling import as_json, beginning
from meshproxy.pins.pin import Finding

__all__ = ["difference", "shortened"]

_LINES: Final = 40
_LETTERS: Final = 400
_ABSENT: Final = object()


def difference(finding: Finding) -> list[str]:
    """The fields that differ, each with its lines from before (`- `) and of now (`+ `). Empty if the old definition is not known.

    Characters that a terminal would not show are escaped, since they are what an attack hides in.
    """
    before = finding.pinned.definition if finding.pinned is not None else {}
    now = finding.listed.definition if finding.listed is not None else {}
    return [_escaped(line) for line in _differing("", before, now)]


def shortened(lines: list[str]) -> list[str]:
    """As much of a difference as a log should hold."""
    cut = [beginning(line, _LETTERS) for line in islice(lines, _LINES)]
    return cut if len(lines) <= _LINES else [*cut, f"… and {len(lines) - _LINES} more lines"]


def _differing(place: str, before: Any, now: Any) -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{place}.{key}" if place else key
            yield from _differing(inner, before.get(key, _ABSENT), now.get(key, _ABSENT))
        return
    yield f"{place}:"
    if isinstance(before, str) and isinstance(now, str):
        compared = difflib.ndiff(_lines(before), _lines(now))
        yield from (f"  {line.rstrip()}" for line in compared if line[:2] in ("- ", "+ "))
        return
    yield from (f"  - {line}" for line in _spelled(before))
    yield from (f"  + {line}" for line in _spelled(now))


def _escaped(line: str) -> str:
    return as_json(line).replace("\t", "\\t")


def _lines(text: str) -> list[str]:
    return text.splitlines() or [""]


def _spelled(value: Any) -> list[str]:
    if value is _ABSENT:
        return []
    return _lines(value) if isinstance(value, str) else [json.dumps(value, ensure_ascii=False)]
