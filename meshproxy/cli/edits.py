"""`meshproxy add`, `remove`, `enable`, `disable` and `rename`: edits of the config, said before they are made, or made and said."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from meshproxy.cli.entry import Failure, note
from meshproxy.cli.headers import headers_of
from meshproxy.cli.text import show, show_json
from meshproxy.config import changes
from meshproxy.config.draft import Draft
from meshproxy.config.edit import Edited, edited
from meshproxy.config.secrecy import secrets_in, secrets_of_header, secrets_of_variable
from meshproxy.operate.diffs import shown_diff

__all__ = ["add", "done", "remove", "rename", "switch"]


def add(
    name: str,
    what: Sequence[str],
    file: str,
    *,
    env: Sequence[str],
    header: Sequence[str],
    cwd: str | None,
    namespace: str | None,
    transport: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Put an upstream into the file, which is made if there is none."""
    entry: dict[str, Any] = {}
    if what[0].lower().startswith(("http://", "https://")):
        if len(what) > 1:
            raise Failure("a URL has no arguments; put headers behind --header", status=2)
        entry["url"] = what[0]
    else:
        entry["command"] = what[0]
        if len(what) > 1:
            entry["args"] = list(what[1:])
    if env:
        entry["env"] = dict(_pair(one) for one in env)
    if header:
        entry["headers"] = dict(headers_of(header))
    entry |= {
        key: value
        for key, value in (("cwd", cwd), ("namespace", namespace), ("transport", transport))
        if value is not None
    }
    edit = edited(Path(file), lambda draft: changes.add(draft, name, entry), create=True)
    notes = [f"{place} stands in the file as it is; ${{...}} in its place would keep it out" for place in _plain(entry)]
    return done(edit, f"added {name}", notes, dry_run=dry_run, as_json=as_json)


def remove(name: str, file: str, *, dry_run: bool, as_json: bool) -> int:
    """Take an upstream out of the file."""
    return _edit(file, lambda draft: changes.remove(draft, name), f"removed {name}", dry_run=dry_run, as_json=as_json)


def switch(name: str, file: str, *, on: bool, dry_run: bool, as_json: bool) -> int:
    """Enable or disable an upstream."""
    what = f"{'enabled' if on else 'disabled'} {name}"
    return _edit(file, lambda draft: changes.switch(draft, name, on=on), what, dry_run=dry_run, as_json=as_json)


def rename(old: str, new: str, file: str, *, dry_run: bool, as_json: bool) -> int:
    """Give an upstream another name."""
    notes: list[str] = []
    edit = edited(Path(file), lambda draft: notes.extend(changes.rename(draft, old, new)))
    return done(edit, f"renamed {old} to {new}", notes, dry_run=dry_run, as_json=as_json)


def done(edit: Edited, what: str, notes: Sequence[str], *, dry_run: bool, as_json: bool) -> int:
    """Write an edit, unless it is only to be shown, and say what it is."""
    diff = shown_diff(edit)
    warnings = [*notes, *map(str, edit.warnings)]
    is_changed = edit.before != edit.after
    if not dry_run:
        edit.write()
    if as_json:
        show_json(
            {
                "file": str(edit.path),
                "changed": is_changed,
                "written": is_changed and not dry_run,
                "diff": diff,
                "notes": warnings,
            }
        )
        return 0
    if dry_run and diff:
        show(diff)
    for warning in warnings:
        note(f"note: {warning}")
    if not is_changed:
        note(f"{edit.path}: nothing to change")
    elif not dry_run:
        note(f"{edit.path}: {what}; a mesh that follows it has that in a second")
    return 0


def _edit(file: str, change: Callable[[Draft], None], what: str, *, dry_run: bool, as_json: bool) -> int:
    return done(edited(Path(file), change), what, (), dry_run=dry_run, as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Failure("--env: write NAME=VALUE", status=2)
    return name, value


def _plain(entry: dict[str, Any]) -> list[str]:
    """Where an entry holds a secret as it is."""
    found = [
        f"env.{name}"
        for name, value in entry.get("env", {}).items()
        if "${" not in value and secrets_of_variable(name, value)
    ]
    found += [
        f"headers.{name}"
        for name, value in entry.get("headers", {}).items()
        if "${" not in value and secrets_of_header(value)[1]
    ]
    found += ["url"] if secrets_in(entry.get("url", "")) else []
    return found
