"""`meshproxy import`: what other programs have configured, put into a config."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from meshproxy.cli.entry import Failure, note
from meshproxy.cli.text import show, show_json
from meshproxy.config.document import spell
from meshproxy.config.draft import Draft
from meshproxy.config.edit import Edited, edited, upstreams_key
from meshproxy.errors import ConfigError
from meshproxy.operate.diffs import shown_diff
from meshproxy.operate.found import Found
from meshproxy.operate.importing import gather
from meshproxy.operate.servers import UnreadableError
from meshproxy.operate.taking import FOLDER, Taken, take
from meshproxy.state.files import write

__all__ = ["import_"]


def import_(
    sources: Sequence[str],
    into: str,
    *,
    registry: str | None,
    keep: Literal["files", "env"],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Find, decide, show and write; see `meshproxy import --help`."""
    path = Path(into)
    if registry is not None and not sources:
        raise Failure("--registry goes with the name of a server in it", status=2)
    try:
        found, files = gather(sources, registry, into=path)
    except UnreadableError as error:
        raise Failure(str(error), status=2) from None
    taken: Taken = Taken()

    def change(draft: Draft) -> None:
        nonlocal taken
        taken = take(found, draft, os.environ, keep=keep)
        for name, entry in taken.upstreams.items():
            draft.put((upstreams_key(draft), name), entry)

    edit = _edited(path, change, lambda: taken, found)
    if not dry_run and edit.before != edit.after:
        _keep_secrets(path, taken)
        edit.write()
    diff = shown_diff(edit) if found else ""
    if as_json:
        is_changed = edit.before != edit.after
        show_json(
            {
                "file": str(path),
                "changed": is_changed,
                "written": is_changed and not dry_run,
                "read": files,
                "servers": taken.lines,
                "diff": diff,
            }
        )
    else:
        _tell(taken, files, path, diff, dry_run=dry_run, is_changed=edit.before != edit.after)
    return 0 if any(line["outcome"] != "left out" for line in taken.lines) else 1


def _edited(path: Path, change: Callable[[Draft], None], taken: Callable[[], Taken], found: list[Found]) -> Edited:
    """The edit, without the servers that could not be served; those are said to be left out, and why."""
    while True:
        try:
            return edited(path, change, create=True, pending=lambda: [f"{FOLDER}/{name}" for name in taken().secrets])
        except ConfigError as error:
            if not taken().upstreams and not path.exists():
                return Edited(path, b"", b"")
            if not _leave_out(error, taken(), found):
                raise


def _leave_out(error: ConfigError, taken: Taken, found: list[Found]) -> bool:
    """Have what cannot be served left out the next time; whether there is any."""
    is_one = False
    for line in taken.lines:
        begins = [spell((key, line["as"])) for key in ("upstreams", "mcpServers")] if "as" in line else []
        for problem in error.problems:
            if not any(problem.key == begin or problem.key.startswith(f"{begin}.") for begin in begins):
                continue
            for one in found:
                if one.skipped is None and (one.name, one.source.file) == (line["name"], line["file"]):
                    one.skipped = (
                        f"cannot be served: {problem.key.partition(begins[0])[2].lstrip('.')} {problem.message}"
                    )
                    is_one = True
    return is_one


def _keep_secrets(path: Path, taken: Taken) -> None:
    if not taken.secrets:
        return
    folder = path.resolve().parent / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / ".gitignore").exists():
            write(folder / ".gitignore", b"*\n")
        for name, secret in taken.secrets.items():
            write(folder / name, secret.encode() + b"\n")
    except OSError as error:
        raise Failure(f"{folder}: cannot be written: {error.strerror or error}") from None


def _tell(taken: Taken, files: Sequence[str], path: Path, diff: str, *, dry_run: bool, is_changed: bool) -> None:
    if dry_run and diff:
        show(diff)
    for line in taken.lines:
        whose = f" ({line['file']})" if line["file"] else ""
        name = line.get("as", line["name"])
        also = f" as {name}" if name != line["name"] else ""
        would = "would be " if dry_run and line["outcome"] == "imported" else ""
        outcome = f"{would}{line['outcome']}{also}" if "reason" not in line else f"{line['outcome']}: {line['reason']}"
        note(f"{line['name'] or 'the file'}{whose}: {outcome}")
        for one in line["notes"]:
            note(f"  {one}")
    if not taken.lines:
        note("no MCP servers found" + (f" in {', '.join(files)}" if files else "; no known client has a file here"))
    elif is_changed and not dry_run:
        note(
            f"{path}: {len(taken.upstreams)} imported; next: meshproxy check {path} --connect, and meshproxy serve {path}"
        )
