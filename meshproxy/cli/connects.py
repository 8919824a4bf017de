"""`meshproxy connect`: the mesh in the files of its clients, or out of them again."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from urllib.parse import urlsplit

from meshproxy.cli.entry import Failure, note
from meshproxy.cli.headers import headers_of
from meshproxy.cli.text import show, show_json
from meshproxy.config.env import interpolate
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.http.loopback import is_loopback
from meshproxy.operate.client import Client, Entry
from meshproxy.operate.clients import CLIENTS
from meshproxy.operate.connecting import Change, Connections, NotConnectedError
from meshproxy.operate.diffs import shown_diff
from meshproxy.operate.importing import gather
from meshproxy.operate.servers import UnreadableError

__all__ = ["address", "connect"]


def connect(
    names: Sequence[str],
    file: str,
    *,
    url: str | None,
    name: str | None,
    header: Sequence[str],
    stdio: bool,
    replace: bool,
    undo: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """See `meshproxy connect --help`."""
    if unknown := [one for one in names if one not in CLIENTS]:
        raise Failure(f"{', '.join(unknown)}: there are {', '.join(CLIENTS)}", status=2)
    connections = Connections(_folder())
    rows: list[dict[str, object]] = []
    failed = False
    if undo:
        try:
            changes = connections.undo(set(names))
        except NotConnectedError as error:
            raise Failure(str(error)) from None
        for change in changes:
            if not dry_run:
                _guarded(connections.write_undone, change)
            rows.append(_row(change, "disconnected", dry_run=dry_run))
    else:
        config = _config(file, needed=url is None or stdio)
        called = name or (config.name if config is not None else "meshproxy")
        entry = _entry(file, config, url, header)
        for client, path in _wanted(names):
            try:
                usable = _usable(client, entry, stdio=stdio, has_file=config is not None)
                change = connections.connect(client, path, called, usable, _shared(path, config) if replace else ())
                if not dry_run:
                    _guarded(lambda one: connections.write(one, called), change)
                rows.append(_row(change, "connected", dry_run=dry_run))
            except NotConnectedError as error:
                failed = True
                rows.append(
                    {"client": client.key, "file": str(path), "outcome": "failed", "reason": str(error), "notes": []}
                )
        if config is not None and config.server.auth is not None and not header and not stdio:
            note(
                "note: the mesh asks who calls; make a key with `meshproxy key new`, and connect with --header 'Authorization: Bearer KEY'"
            )
    if as_json:
        show_json(rows)
    else:
        _tell(rows, undo=undo)
    return 1 if failed or not rows else 0


def address(config: MeshConfig) -> str:
    """Where a config is served, as a client on this machine writes it."""
    server = config.server
    if server.public_url:
        return f"{server.public_url}{server.path}"
    host = server.host if is_loopback(server.host) or server.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104  # compared, not bound
    host = f"[{host}]" if ":" in host else host
    return f"{'http' if server.tls is None else 'https'}://{host}:{server.port}{server.path}"


def _config(file: str, *, needed: bool) -> MeshConfig | None:
    if not needed and not Path(file).exists():
        return None
    return load(file)


def _entry(file: str, config: MeshConfig | None, url: str | None, header: Sequence[str]) -> Entry:
    found = url or (address(config) if config is not None else "")
    program = shutil.which("meshproxy") or str(Path(sys.executable).with_name("meshproxy"))
    args: tuple[str, ...] = ("serve", str(Path(file).absolute()), "--transport", "stdio")
    if not Path(program).exists():
        program, args = sys.executable, ("-m", "meshproxy", *args)
    return Entry(found, dict(headers_of(header)), os.path.abspath(program), args)  # noqa: PTH100  # resolve() would leave a venv


def _usable(client: Client, entry: Entry, *, stdio: bool, has_file: bool) -> Entry:
    if (stdio or client.only_programs) and not has_file:
        raise NotConnectedError(f"{client.title} can only start programs; name the config with --file")
    if not stdio and not client.only_programs and urlsplit(entry.url).port == 0:
        raise NotConnectedError(
            "server.port is 0, so the address differs at each start; set a port, or connect with --stdio"
        )
    return replaced(entry, is_program=True) if stdio else entry


def _wanted(names: Sequence[str]) -> Iterator[tuple[Client, Path]]:
    for client in CLIENTS.values():
        files = client.files()
        there = [path for path in files if path.is_file()]
        if client.key in names:
            yield client, (there or files)[0]
        elif not names and there:
            yield client, there[0]
        elif not names and files and files[0].parent.is_dir() and files[0].parent != Path.home():
            yield client, files[0]


def _shared(path: Path, config: MeshConfig | None) -> list[str]:
    """The servers of a client's file that the mesh has, too."""
    if config is None or not path.is_file():
        return []
    has = {(spec.command, spec.args, (spec.url or "").rstrip("/")) for spec in config.upstreams.values()}
    try:
        found, _ = gather([str(path)], None, into=Path())
    except UnreadableError:
        return []

    def put_in(text: object) -> str:
        return interpolate(str(text), path.parent, os.environ).value

    return [
        one.name
        for one in found
        if one.entry
        and (
            put_in(one.entry["command"]) if "command" in one.entry else None,
            tuple(map(put_in, one.entry.get("args", ()))),
            put_in(one.entry.get("url", "")).rstrip("/"),
        )
        in has
    ]


def _row(change: Change, what: str, *, dry_run: bool) -> dict[str, object]:
    edit = change.edit
    is_changed = edit.before != edit.after or change.delete
    notes = [*change.notes, *(f"{name} is taken out; the mesh has it" for name in change.removed)]
    outcome = what if is_changed else "unchanged"
    diff = shown_diff(edit)
    return {
        "client": change.client.key,
        "file": str(edit.path),
        "outcome": f"would be {what}" if dry_run and is_changed else outcome,
        "diff": diff,
        "notes": notes,
    }


def _tell(rows: Sequence[dict[str, object]], *, undo: bool) -> None:
    for row in rows:
        if str(row["outcome"]).startswith("would") and row.get("diff"):
            show(str(row["diff"]))
        reason = f": {row['reason']}" if "reason" in row else ""
        note(f"{row['client']} ({row['file']}): {row['outcome']}{reason}")
        for one in row["notes"] if isinstance(row["notes"], list) else ():
            note(f"  {one}")
    if not rows:
        note(
            "nothing was connected" if undo else f"no known client is on this machine; name one of {', '.join(CLIENTS)}"
        )
    elif not undo and any(row["outcome"] == "connected" for row in rows):
        note("start the clients again, or have them read their files; meshproxy connect --undo takes it back")


def _guarded(write: object, change: Change) -> None:
    try:
        write(change)  # type: ignore[operator]  # one of the two writers
    except OSError as error:
        raise NotConnectedError(f"{change.edit.path}: cannot be written: {error.strerror or error}") from None


def _folder() -> Path:
    from platformdirs import user_state_path  # noqa: PLC0415  # for this alone

    return user_state_path("meshproxy") / "connected"
