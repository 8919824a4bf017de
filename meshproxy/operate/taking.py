"""What is found elsewhere, put into a mesh: without doubles, with names of its own, and with plain secrets taken out. Place: operate; pure.

A plain secret becomes a reference: `${file:...}` to a file beside the config that holds it, or `${VAR}`. What needs a variable that is not set is
disabled, so that the file can be served at once; a note says what to set.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

from meshproxy.config.changes import names_in
from meshproxy.config.draft import Draft
from meshproxy.config.edit import upstreams_key
from meshproxy.config.env import Reference, parse
from meshproxy.config.secrecy import is_telling, secrets_in, spans, takes_secret, without_scheme
from meshproxy.operate.found import Found
from meshproxy.operate.placeholders import unset, variable_of

__all__ = ["FOLDER", "Taken", "take"]

FOLDER: Final = ".secrets"
"""Where secrets are put, beside the config."""
_HOLDING: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass
class Taken:
    """What is to be done.

    Attributes:
        upstreams: the new entries, by name.
        secrets: what belongs into files, by the file's name in `FOLDER`.
        lines: what there is to say of each server found, in order.
    """

    upstreams: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    lines: list[dict[str, Any]] = field(default_factory=list)


def take(
    found: Iterable[Found],
    draft: Draft,
    environ: Mapping[str, str],
    *,
    keep: Literal["files", "env"],
    own: Sequence[str] = (),
) -> Taken:
    """Decide what of `found` goes into the config that `draft` is. `own`: addresses at which this very mesh is served."""
    taken = Taken()
    tree = draft.tree if isinstance(draft.tree, dict) else {}
    existing = tree.get(upstreams_key(draft)) or {}
    seen = {_identity(entry): name for name, entry in existing.items() if isinstance(entry, dict)}
    raw_seen: dict[str, str] = {}
    names = set(names_in(draft))
    for one in found:
        line: dict[str, Any] = {
            "name": one.name,
            "client": one.source.client,
            "file": one.source.file,
            "outcome": "imported",
            "notes": list(one.notes),
        }
        taken.lines.append(line)
        if one.skipped is not None:
            line["outcome"], line["reason"] = "left out", one.skipped
            continue
        if _is_mesh(one.entry, own):
            line["outcome"], line["reason"] = "left out", "is a mesh of meshproxy itself"
            continue
        before = _identity(one.entry)
        if (other := raw_seen.get(before) or seen.get(before)) is not None:
            line["outcome"], line["reason"] = "double", f"is the same as {other}"
            continue
        # As it would be if it had been imported before, under either of its names.
        trials = (
            _without_secrets(one, name, keep, Taken(), []) for name in (one.name, f"{one.name}-{one.source.client}")
        )
        if (other := next((seen[_identity(trial)] for trial in trials if _identity(trial) in seen), None)) is not None:
            line["outcome"], line["reason"] = "double", f"is the same as {other}"
            continue
        name = _free(one.name, one.source.client, names)
        entry = _without_secrets(one, name, keep, taken, line["notes"])
        missing = sorted(_unset(entry, environ))
        if missing:
            entry["enabled"] = False
            line["notes"].append(
                f"is disabled until {' and '.join(missing)} is set where the mesh runs; then: meshproxy enable {name}"
            )
        line["as"] = name
        names.add(name)
        seen[_identity(entry)] = raw_seen[before] = name
        taken.upstreams[name] = entry
    return taken


def _free(name: str, client: str, names: set[str]) -> str:
    """A name that no other upstream has, and that an upstream can have."""
    name = name.strip()[:56] or "server"
    if name not in names:
        return name
    candidates = [f"{name}-{client}"] if client else []
    candidates += [f"{name}-{number}" for number in range(2, 1000)]
    return next(one for one in candidates if one not in names)


def _identity(entry: Mapping[str, Any]) -> str:
    """What tells one server from another: how it is reached or run, and as whom."""
    env = entry.get("env") if isinstance(entry.get("env"), Mapping) else {}
    headers = entry.get("headers") if isinstance(entry.get("headers"), Mapping) else {}
    return repr(
        (
            entry.get("command"),
            list(entry.get("args") or ()),
            str(entry.get("url") or "").rstrip("/"),
            sorted((str(key), str(value)) for key, value in (env or {}).items()),
            sorted((str(key).lower(), str(value)) for key, value in (headers or {}).items()),
        )
    )


def _is_mesh(entry: Mapping[str, Any], own: Sequence[str]) -> bool:
    command = str(entry.get("command") or "").replace("\\", "/").rpartition("/")[2]
    args = [str(one) for one in entry.get("args") or ()]
    if str(entry.get("url") or "").rstrip("/") in own:
        return True
    return "serve" in args and (command.startswith("meshproxy") or "meshproxy" in args)


def _unset(value: Any, environ: Mapping[str, str]) -> set[str]:
    if isinstance(value, Mapping):
        return {name for one in value.values() for name in _unset(one, environ)}
    if isinstance(value, list):
        return {name for one in value for name in _unset(one, environ)}
    return unset(value, environ) if isinstance(value, str) else set()


# Secrets


def _without_secrets(
    one: Found, name: str, keep: Literal["files", "env"], taken: Taken, notes: list[str]
) -> dict[str, Any]:
    entry = deepcopy(one.entry)

    def reference(key: str, secret: str) -> str:
        plain = "".join("$" if part == "$$" else part for part in re.split(r"(\$\$)", secret))
        if keep == "env":
            variable = variable_of(key if variable_of(key) not in _asked(taken) else f"{name}_{key}")
            notes.append(f"set {variable}: its value stands in {one.source.file} under {one.name}")
            return f"${{{variable}}}"
        file = _HOLDING.sub("-", f"{name}.{key}").strip("-.").lower()
        while taken.secrets.get(file, plain) != plain:
            file += "-2"
        taken.secrets[file] = plain
        notes.append(f"its secret goes into {FOLDER}/{file}, which nobody else may read")
        return f"${{file:{FOLDER}/{file}}}"

    for key, value in (entry.get("env") or {}).items():
        if not _refers(value) and is_telling(key) and value:
            entry["env"][key] = reference(key, value)
        else:
            entry["env"][key] = _each(value, key, reference)
    for key, value in (entry.get("headers") or {}).items():
        secret = without_scheme(value)
        if not _refers(value) and (is_telling(key) or secrets_in(value)):
            entry["headers"][key] = value[: len(value) - len(secret)] + reference(key, secret)
    if isinstance(args := entry.get("args"), list):
        entry["args"] = [
            reference(option.lstrip("-"), argument)
            if takes_secret(option, argument) and not _refers(argument)
            else _each(argument, "argument", reference)
            for option, argument in pairwise(["", *args])
        ]
    if isinstance(url := entry.get("url"), str):
        entry["url"] = _each(url, "url", reference)
    if isinstance(auth := entry.get("auth"), dict) and (own := auth.get("client_secret")) and not _refers(own):
        auth["client_secret"] = reference("client_secret", own)
    return entry


def _each(text: str, key: str, reference: Any) -> str:
    """A text with references for the secrets that stand in it."""
    if _refers(text):
        return text
    written, at = "", 0
    for start, end in spans(text):
        word = re.search(r"([A-Za-z][\w-]*)[\"']?\s*[:=]\s*\S*$", text[:start])
        written += text[at:start] + reference(word[1] if word else key, text[start:end])
        at = end
    return written + text[at:]


def _refers(text: Any) -> bool:
    return not isinstance(text, str) or any(isinstance(part, Reference) for part in parse(text))


def _asked(taken: Taken) -> set[str]:
    """The variables that other entries ask for already."""
    return {name for entry in taken.upstreams.values() for name in _unset(entry, {})}
