"""What the commands do to a config's upstreams, as changes of its `Draft`. Place: config; pure but for the draft.

Names that a change makes wrong elsewhere in the file (the upstreams of profiles) are changed with it.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from meshproxy.config.document import Path
from meshproxy.config.draft import Draft, UneditableError
from meshproxy.config.edit import upstreams_key
from meshproxy.naming import default_namespace

__all__ = ["add", "names_in", "remove", "rename", "switch"]


def names_in(draft: Draft) -> list[str]:
    """The upstreams of a file, in order."""
    key = upstreams_key(draft)
    upstreams = draft.tree.get(key) if isinstance(draft.tree, dict) else None
    return list(upstreams) if isinstance(upstreams, dict) else []


def add(draft: Draft, name: str, entry: Mapping[str, Any]) -> None:
    """Put an upstream behind the others. Raises `UneditableError` if there is one of this name."""
    if name in names_in(draft):
        raise UneditableError(f"has an upstream {name!r} already; choose another name, or remove that one first")
    draft.put((upstreams_key(draft), name), dict(entry))


def remove(draft: Draft, name: str) -> None:
    """Take an upstream out, and out of the profiles that name it."""
    _held(draft, name)
    for profile, index in reversed(_mentions(draft, name)):
        draft.remove(("profiles", profile, "upstreams", index))
    draft.remove((upstreams_key(draft), name))


def switch(draft: Draft, name: str, *, on: bool) -> None:
    """Enable or disable an upstream, under the key that it has for that, if any."""
    _held(draft, name)
    key = upstreams_key(draft)
    entry = draft.tree[key][name] or {}
    if not isinstance(entry, dict):
        raise UneditableError(f"{key}.{name} is no mapping; write command or url under it")
    default = (draft.tree.get("defaults") or {}).get("enabled", True)
    is_contrary = "disabled" in entry or (key == "mcpServers" and "enabled" not in entry)
    spelled, value, usual = ("disabled", not on, not default) if is_contrary else ("enabled", on, default)
    if entry.get(spelled, usual) == value:
        return
    if not (value == usual and _without(draft, (key, name, spelled))):
        draft.put((key, name, spelled), value)


def _without(draft: Draft, path: Path) -> bool:
    """Take out what says no more than is so anyway, unless a comment says why it stands there; whether that was done."""
    trial = Draft(draft.text, is_json=draft.is_json)
    try:
        trial.remove(path)
    except UneditableError:
        return False
    if any(draft.text.count(mark) != trial.text.count(mark) for mark in ("#", "//", "/*")):
        return False
    draft.remove(path)
    return True


def rename(draft: Draft, old: str, new: str) -> list[str]:
    """Give an upstream another name, also where profiles name it, and say what else the user may have to look at."""
    _held(draft, old)
    if new in names_in(draft):
        raise UneditableError(f"has an upstream {new!r} already; choose another name")
    key = upstreams_key(draft)
    entry = draft.tree[key][old]
    draft.rename((key, old), new)
    for profile, index in _mentions(draft, old):
        draft.put(("profiles", profile, "upstreams", index), new)
    notes = []
    if not (isinstance(entry, dict) and "namespace" in entry):
        before, after = default_namespace(old), default_namespace(new)
        if before != after:
            separator = draft.tree.get("separator", "_")
            notes.append(
                f"its components are called {after}{separator}... from now on, and no more {before}{separator}..."
            )
            notes += [
                f"{place} names {pattern!r}, which is about the old names"
                for place, pattern in _patterns(draft, before)
            ]
    rules = draft.tree.get("access")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        globs = rule.get("upstreams") if isinstance(rule, dict) else None
        for glob in globs if isinstance(globs, list) else ():
            if isinstance(glob, str) and fnmatchcase(old, glob) and not fnmatchcase(new, glob):
                notes.append(f"access[{index}].upstreams names {glob!r}, which is about the old name")
    return notes


def _held(draft: Draft, name: str) -> None:
    names = names_in(draft)
    if name not in names:
        raise UneditableError(f"has no upstream {name!r}; it has {', '.join(names) or 'none'}")


def _mentions(draft: Draft, name: str) -> list[tuple[str, int]]:
    """Where profiles name an upstream: the profile, and which of its list."""
    profiles = draft.tree.get("profiles")
    found = []
    for profile, section in (profiles if isinstance(profiles, dict) else {}).items():
        named = section.get("upstreams") if isinstance(section, dict) else None
        found += [(profile, index) for index, one in enumerate(named if isinstance(named, list) else ()) if one == name]
    return found


def _patterns(draft: Draft, namespace: str) -> list[tuple[str, str]]:
    """The patterns of rules and profiles that begin with a namespace."""
    separator = draft.tree.get("separator", "_")
    found: list[tuple[str, str]] = []

    def look(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                look(one, f"{place}.{key}")
                if isinstance(key, str) and key.startswith(f"{namespace}{separator}"):
                    found.append((place, key))
        elif isinstance(value, list):
            for index, one in enumerate(value):
                look(one, f"{place}[{index}]")
        elif isinstance(value, str) and value.startswith(f"{namespace}{separator}"):
            found.append((place, value))

    for section in ("access", "profiles"):
        look(draft.tree.get(section), section)
    return found
