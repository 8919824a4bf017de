"""The form of `mesh.lock`: JSON with one line a value, sorted, so that it is committed and read like any lock file. Place: pins, pure.

{"version": 1, "upstreams": {"docs": {"tools": {"search": {"hash": "sha256:...", "definition": {...}}}}}}
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from meshproxy.kinds import KINDS
from meshproxy.observe.spelling import as_json
from meshproxy.pins.pin import SERVER, Pin, Pinned

__all__ = ["LOCK_FILE", "Lock", "LockError", "merged", "parsed", "without", "written"]

LOCK_FILE: Final = "mesh.lock"
VERSION: Final = 1
_KINDS: Final[Mapping[str, str]] = {**{spec.plural: kind for kind, spec in KINDS.items()}, SERVER: SERVER}
_PLURALS: Final[Mapping[str, str]] = {kind: plural for plural, kind in _KINDS.items()}

Lock = Mapping[str, Pinned]
"""What is pinned, by upstream."""


class LockError(ValueError):
    """A lock file cannot be used; `line` and `column` say where, if anywhere."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def parsed(data: bytes) -> Lock:
    """The lock in the bytes of a file. Raises `LockError`."""
    try:
        tree = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        raise LockError(
            f"is no JSON: {error.msg}; resolve what a merge left there, or restore the file", error.lineno, error.colno
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise LockError("is no JSON in UTF-8; restore the file") from None
    if not isinstance(tree, dict) or tree.get("version") != VERSION:
        raise LockError(
            f"has not the version {VERSION} of a lock file; another release of meshproxy may have written it"
        )
    return {
        name: {
            _kind(name, plural): {
                origin: _pin(f"{name}.{plural}.{origin}", entry) for origin, entry in _of(f"{name}.{plural}", entries)
            }
            for plural, entries in _of(name, kinds)
        }
        for name, kinds in _of("upstreams", tree.get("upstreams", {}))
    }


def written(lock: Lock) -> bytes:
    """The bytes of the file: whatever made the lock, the same lock gives the same bytes."""
    upstreams = {
        name: {
            _PLURALS[kind]: {
                origin: {"hash": pin.hash, "definition": pin.definition} if pin.definition else {"hash": pin.hash}
                for origin, pin in entries.items()
            }
            for kind, entries in pinned.items()
            if entries
        }
        for name, pinned in lock.items()
    }
    tree = {"version": VERSION, "upstreams": {name: kinds for name, kinds in upstreams.items() if kinds}}
    return f"{as_json(json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False))}\n".encode()


def merged(lock: Lock, more: Lock) -> Lock:
    """A lock with the pins of another, which go before."""
    return {
        name: {
            kind: {**lock.get(name, {}).get(kind, {}), **more.get(name, {}).get(kind, {})}
            for kind in (kind for kind in _PLURALS if kind in lock.get(name, {}) or kind in more.get(name, {}))
        }
        for name in {**lock, **more}
    }


def without(lock: Lock, gone: Iterable[tuple[str, str, str]]) -> Lock:
    """A lock without some pins: upstream, kind, and name or URI there."""
    out = set(gone)
    return {
        name: {
            kind: {origin: pin for origin, pin in entries.items() if (name, kind, origin) not in out}
            for kind, entries in pinned.items()
        }
        for name, pinned in lock.items()
    }


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # adding is the point
        raise LockError(f"has {twice!r} twice in one place; remove one of them")
    return found


def _of(place: str, value: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise LockError(f"{place} must be an object")
    return value.items()


def _kind(name: str, plural: str) -> str:
    if plural not in _KINDS:
        raise LockError(f"{name}.{plural}: there are {', '.join(_KINDS)}")
    return _KINDS[plural]


def _pin(place: str, entry: Any) -> Pin:
    if not isinstance(entry, dict) or not isinstance(entry.get("hash"), str):
        raise LockError(f"{place} must be an object with a hash")
    definition = entry.get("definition", {})
    return Pin(entry["hash"], definition if isinstance(definition, dict) else {})
