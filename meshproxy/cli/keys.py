"""`meshproxy key`: make, list and revoke the keys of a config's clients."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from meshproxy.access.keys import hash_of, new_key
from meshproxy.cli.entry import Failure, note
from meshproxy.cli.text import show
from meshproxy.config.draft import Draft
from meshproxy.config.edit import edit
from meshproxy.config.load import load

_KEYS: Final = ("server", "auth", "keys")
_SPAN: Final = re.compile(r"(\d+)([dhwy])")
_HOURS: Final = {"h": 1, "d": 24, "w": 24 * 7, "y": 24 * 365}


def new(
    name: str,
    file: str | None,
    *,
    rights: list[str],
    profiles: list[str],
    groups: list[str],
    expires: str | None,
) -> int:
    """Print a new key, and its line for the file, or put that into the file."""
    if wrong := set(rights) - {"use", "view", "admin"}:
        raise Failure(f"--rights: {', '.join(sorted(wrong))}: there are use, view and admin", status=2)
    key = new_key()
    entry: dict[str, Any] = {"name": name, "hash": hash_of(key)}
    if rights:
        entry["rights"] = rights
    if profiles:
        entry["profiles"] = profiles
    if groups:
        entry["groups"] = groups
    if expires is not None:
        entry["expires"] = _end(expires)
    if file is None:
        note("put this under server.auth.keys:")
        note(f"  - {_line(entry)}")
    else:
        edit(Path(file), lambda draft: _add(draft, name, entry))
        note(f"added to {file}; this is the only time that the key is shown")
    show(key)
    return 0


def list_(file: str, *, as_json: bool) -> int:
    """Print the keys of a config, without anything of the keys themselves."""
    auth = load(file).server.auth
    now = time.time()
    found = [
        {
            "name": key.name,
            "rights": list(key.rights),
            "profiles": None if key.profiles is None else list(key.profiles),
            "groups": list(key.groups),
            "expires": None if key.expires is None else _spelled(key.expires),
            "expired": key.expires is not None and key.expires <= now,
            "hashes": len(key.digests),
        }
        for key in (auth.keys if auth is not None else ())
    ]
    if as_json:
        show(json.dumps(found, indent=2))
        return 0
    for key in found:
        facts = [f"rights {', '.join(key['rights'])}"]  # type: ignore[arg-type]  # a list of texts
        facts += [f"{fact} {', '.join(key[fact])}" for fact in ("profiles", "groups") if key[fact]]  # type: ignore[arg-type]
        if key["expires"]:
            facts.append(f"{'expired' if key['expired'] else 'expires'} {key['expires']}")
        show(f"{key['name']}: {'; '.join(facts)}")
    if not found:
        note("no keys; make one with: meshproxy key new NAME FILE")
    return 0


def revoke(name: str, file: str) -> int:
    """Take a key out of the file."""
    edit(Path(file), lambda draft: _remove(draft, name))
    note(f"{name} is revoked; a mesh that follows {file} refuses it from now on")
    return 0


def _add(draft: Draft, name: str, entry: dict[str, Any]) -> None:
    if name in _names(draft):
        raise Failure(f"there is a key {name!r} already; revoke it first, or choose another name", status=2)
    if draft.has(*_KEYS):
        draft.append(_KEYS, entry)
    else:
        draft.put(_KEYS, [entry])


def _remove(draft: Draft, name: str) -> None:
    names = _names(draft)
    if name not in names:
        raise Failure(f"there is no key {name!r}; meshproxy key list shows those that there are", status=2)
    draft.remove((*_KEYS, names.index(name)))


def _names(draft: Draft) -> list[str | None]:
    """The names of the keys in a file, in order."""
    keys = draft.tree["server"]["auth"]["keys"] if draft.has(*_KEYS) else []
    return [key.get("name") if isinstance(key, dict) else None for key in keys or []]


def _end(text: str) -> str:
    """The last day of a span such as 90d, or the day or moment itself."""
    match = _SPAN.fullmatch(text)
    if match is None:
        return text
    end = datetime.now(UTC) + timedelta(hours=int(match[1]) * _HOURS[match[2]])
    return end.strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(entry: dict[str, Any]) -> str:
    def spelled(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(spelled, value))}]"
        return value if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value) else f'"{value}"'

    return "{" + ", ".join(f"{key}: {spelled(value)}" for key, value in entry.items()) + "}"


def _spelled(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
