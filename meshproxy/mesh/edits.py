"""`Edits`: what became of the last edits of the config, for whoever asks afterwards. Place: mesh.

An edit is told as what it changed, key by key and as `check` would show it: no secret is in it, and neither is what stands around it in the file.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meshproxy.catalog.snapshot import Snapshot
from meshproxy.config.models import MeshConfig
from meshproxy.config.secrets import HIDDEN, without_secrets
from meshproxy.errors import Problem
from meshproxy.kinds import Kind
from meshproxy.mesh.plan import ReloadPlan

__all__ = ["Change", "Edit", "Edits", "changes", "renamed"]

KEPT: Final = 100
"""Edits."""
MOST: Final = 200
"""Changes of one edit, or names of one sort, that are kept."""
_SECTIONS: Final = ("name", "instructions", "separator", "state", "server", "reload", "observe", "access", "profiles")
_HASH: Final = "hash"


@dataclass(frozen=True, slots=True)
class Change:
    """One key that an edit changed. None stands for what was not there, or is not there any more."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit.

    Attributes:
        number: counts from 1.
        at: when it was over, in seconds since 1970.
        cause: `file` for an edit of the file, `restart` for an upstream that was started anew by command.
        is_applied: whether it is in force; else it was rejected, and nothing changed.
        revision: the digest of the files that it was read from; "" if it was made in Python.
        changes: what it changed in the file; empty for a text that could not be loaded, where `problems` say why.
        plan: what was to be done with the upstreams; None for what was rejected before that was known.
        retired: the upstreams whose old connection is drained.
        failed: those that did not start, with the reason.
        problems: why it was rejected.
        names: by kind, the public names that it made appear, vanish and mean something else.
        seconds: how long it took, from the loaded config to the swap.
    """

    number: int
    at: float
    cause: str
    is_applied: bool
    revision: str = ""
    changes: tuple[Change, ...] = ()
    plan: ReloadPlan | None = None
    retired: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    names: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    seconds: float = 0.0


class Edits:
    """The last edits, oldest first. Whoever wants to hear of each says so with `on_edit`."""

    def __init__(self) -> None:
        self._kept: deque[Edit] = deque(maxlen=KEPT)
        self._numbers = itertools.count(1)
        self._listeners: list[Callable[[Edit], None]] = []
        self._lookers: list[Callable[[], None]] = []

    def __iter__(self) -> Iterator[Edit]:
        return iter(self._kept)

    def on_edit(self, callback: Callable[[Edit], None]) -> Callable[[], None]:
        """Call `callback` with each edit from now on. What is returned ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def on_look(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever the file was read and what was to be done about it is done, be it nothing. What is returned ends that."""
        self._lookers.append(callback)
        return lambda: self._lookers.remove(callback)

    def looked(self) -> None:
        """The file was read, and an edit of it, if there was one, is over."""
        for callback in tuple(self._lookers):
            callback()

    def add(self, *, is_applied: bool, cause: str = "file", **facts: Any) -> None:
        """An edit is over."""
        edit = Edit(next(self._numbers), time.time(), cause, is_applied, **facts)
        self._kept.append(edit)
        for listener in tuple(self._listeners):
            listener(edit)


def changes(old: MeshConfig, new: MeshConfig) -> tuple[Change, ...]:
    """What differs between two configs, by key, in the order of the new one; `MOST` at most."""
    # Those that the new one has taken over differ in nothing, and may be hundreds.
    same = {name for name, spec in new.upstreams.items() if old.upstreams.get(name) is spec}
    before, after = dict(_flat(_shown(old, same))), dict(_flat(_shown(new, same)))
    keys = [*(key for key in before if key not in after), *after]
    found = (
        Change(".".join(key), before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)
    )
    told = list(itertools.islice(found, MOST))
    if not told and old != new:
        # What is not shown differs: the value of a secret, or of what a reference stands for.
        told = [
            Change(f"upstreams.{name}", HIDDEN, HIDDEN)
            for name, spec in new.upstreams.items()
            if name in old.upstreams and old.upstreams[name] != spec
        ] or [Change("upstreams", "in another order", "as the file has them now")]
    return tuple(told)


def renamed(before: Snapshot, after: Snapshot) -> dict[str, dict[str, tuple[str, ...]]]:
    """By kind, what appears, vanishes and means something else for clients that see everything."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for kind in Kind:
        old, new = before.routes[kind], after.routes[kind]
        if old == new:
            continue
        told = {
            "added": [name for name in new if name not in old],
            "removed": [name for name in old if name not in new],
            "changed": [
                name
                for name, route in new.items()
                if (other := old.get(name)) is not None
                and other is not route
                and other.component is not None
                and route.component is not None
                and other.component.definition != route.component.definition
            ],
        }
        if any(told.values()):
            found[str(kind)] = {word: tuple(names[:MOST]) for word, names in told.items() if names}
    return found


def _shown(config: MeshConfig, but: Container[str]) -> dict[str, Any]:
    """A config as it may be shown, without some of its upstreams."""
    written: dict[str, Any] = {}
    for section in _SECTIONS:
        value = getattr(config, section)
        if value != type(config).model_fields[section].get_default(call_default_factory=True):
            written[section] = _plain(value)
    if shown := {name: spec.display() for name, spec in config.upstreams.items() if name not in but}:
        written["upstreams"] = shown
    return written


def _plain(value: Any, key: str = "") -> Any:
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_unset=True, by_alias=True)
    if isinstance(value, Mapping):
        return {str(name): _plain(child, str(name)) for name, child in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(child, key) for child in value]
    if isinstance(value, str):
        return HIDDEN if key == _HASH else without_secrets(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _flat(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves, by their keys. Lists of single values are leaves; others are told by their places."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _flat(child, (*at, str(key)))
    elif _is_deep(value):
        for index, child in enumerate(value):
            yield from _flat(child, (*at, str(index)))
    elif at:
        yield at, value


def _is_deep(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value)
