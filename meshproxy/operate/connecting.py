"""A mesh put into the files of its clients, and taken out again to the byte. Place: operate.

What a file was is kept in the state directory until it is put back. If nobody has changed the file since, undoing puts back the very bytes; else the
entry alone is taken out, and the rest stays as it is now.
"""

import base64
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshproxy.config.draft import UneditableError
from meshproxy.config.edit import Edited, replace_file
from meshproxy.operate.client import Client, Entry
from meshproxy.operate.client_files import listed_in, rewritten
from meshproxy.operate.clients import CLIENTS
from meshproxy.operate.servers import UnreadableError, tree_of
from meshproxy.state.files import write

__all__ = ["Change", "Connections", "NotConnectedError"]

_NEW = {"continue": "name: Local Assistant\nversion: 1.0.0\nschema: v1\n"}
"""What a client's file has to say besides, if it is made."""


class NotConnectedError(ValueError):
    """Why a client's file cannot be changed, and what to do."""


@dataclass(frozen=True)
class Change:
    """What becomes of one client's file.

    Attributes:
        client: whose it is.
        edit: the file before and after.
        removed: servers that the mesh has, and that are taken out.
        delete: the file was made by `connect`, and goes.
        notes: what there is to say.
    """

    client: Client
    edit: Edited
    removed: tuple[str, ...] = ()
    delete: bool = False
    notes: tuple[str, ...] = field(default=())


class Connections:
    """What was put where; kept in a folder of files that nobody else may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def connect(self, client: Client, path: Path, name: str, entry: Entry, taken: Collection[str]) -> Change:
        """What it takes to have the mesh in a client's file. `taken`: servers there to take out. Raises `NotConnectedError`."""
        before = _read(path)
        text = (before or b"").decode("utf-8-sig") if before else _NEW.get(client.key, "")
        written = client.write(name, entry)
        try:
            tree = tree_of(text, path.suffix) if text.strip() else {}
            listed = listed_in(tree, client)
            if listed.get(name) == written:
                return Change(client, Edited(path, before, before or b""))
            if (
                name in listed
                and name not in taken
                and not self._is_ours(path, name)
                and not _leads_to(listed[name], entry)
            ):
                raise NotConnectedError(
                    f"{path}: has a server {name!r} already, which is no mesh; choose another name with --name"
                )
            gone = [one for one in listed if one in taken and one != name]
            after = rewritten(text, path.suffix, client, [*gone, *([name] if name in listed else [])], name, written)
        except (UnreadableError, UneditableError, ValueError) as error:
            raise NotConnectedError(
                str(error) if isinstance(error, NotConnectedError) else f"{path}: {error}"
            ) from None
        bom = b"\xef\xbb\xbf" if (before or b"").startswith(b"\xef\xbb\xbf") else b""
        return Change(client, Edited(path, before, bom + after.encode()), tuple(gone))

    def write(self, change: Change, name: str) -> None:
        """Write what `connect` found, and keep what was before. Raises OSError."""
        edit = change.edit
        if edit.before == edit.after:
            return
        record = self._record(edit.path)
        known = _loaded(record)
        made: list[str] = []
        if known is None or known["after"] != _digest(edit.before):
            missing = [folder for folder in edit.path.parents if not folder.exists()]
            made = [str(folder) for folder in missing]
            known = {"before": None if edit.before is None else base64.b64encode(edit.before).decode(), "made": made}
        edit.path.parent.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = {
            **known,
            "client": change.client.key,
            "path": str(edit.path),
            "name": name,
            "after": _digest(edit.after),
        }
        write(record, json.dumps(kept).encode())
        target = edit.path.resolve()
        mode = target.stat().st_mode & 0o777 if edit.before is not None else 0o600
        replace_file(target, edit.after, mode)

    def undo(self, clients: Collection[str]) -> list[Change]:
        """What it takes to have the files of these clients, or of all, as they were."""
        changes = []
        for record in self._records():
            known = _loaded(record)
            if known is None or (clients and known["client"] not in clients) or known["client"] not in CLIENTS:
                continue
            client, path = CLIENTS[known["client"]], Path(known["path"])
            now = _read(path)
            before = None if known["before"] is None else base64.b64decode(known["before"])
            if now is not None and _digest(now) == known["after"]:
                changes.append(Change(client, Edited(path, now, before or b""), delete=before is None))
            elif now is None:
                changes.append(
                    Change(client, Edited(path, None, b""), notes=("the file is gone; nothing to take out",))
                )
            else:
                changes.append(self._taken_out(client, path, now, known["name"]))
        return changes

    def write_undone(self, change: Change) -> None:
        """Write what `undo` found, and forget what was kept. Raises OSError."""
        edit = change.edit
        record = self._record(edit.path)
        known = _loaded(record) or {}
        if change.delete:
            edit.path.unlink(missing_ok=True)
            self._clear(known.get("made", ()), record)
        elif edit.before is not None and edit.before != edit.after:
            target = edit.path.resolve()
            replace_file(target, edit.after, target.stat().st_mode & 0o777)
        record.unlink(missing_ok=True)

    def _clear(self, folders: Iterable[str], own: Path) -> None:
        """Take away folders that were made for a file, innermost first. What another file of a client is in now goes with that one."""
        for folder in map(Path, folders):
            try:
                folder.rmdir()
            except OSError:
                heir = next((record for record in self._records() if record != own and _is_in(record, folder)), None)
                if heir is not None and (known := _loaded(heir)) is not None:
                    made = [*known.get("made", ()), str(folder)]
                    write(heir, json.dumps({**known, "made": made}).encode())

    def _records(self) -> list[Path]:
        return sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []

    def _taken_out(self, client: Client, path: Path, now: bytes, name: str) -> Change:
        text = now.decode("utf-8-sig", "replace")
        try:
            after = (
                rewritten(text, path.suffix, client, [name], None, {})
                if name in listed_in(tree_of(text, path.suffix), client)
                else text
            )
        except (UnreadableError, UneditableError, ValueError) as error:
            raise NotConnectedError(f"{path}: has changed since, and {error}") from None
        bom = b"\xef\xbb\xbf" if now.startswith(b"\xef\xbb\xbf") else b""
        note = "has changed since: only the entry of the mesh is taken out"
        return Change(client, Edited(path, now, bom + after.encode()), notes=(note,))

    def _is_ours(self, path: Path, name: str) -> bool:
        known = _loaded(self._record(path))
        return known is not None and known["name"] == name

    def _record(self, path: Path) -> Path:
        return self._folder / f"{hashlib.blake2s(bytes(path.absolute()), digest_size=8).hexdigest()}.json"


def _is_in(record: Path, folder: Path) -> bool:
    """Whether the file that a record is of was made, and in this folder."""
    known = _loaded(record)
    return known is not None and known["before"] is None and folder in Path(known["path"]).parents


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotConnectedError(f"{path}: cannot be read: {error.strerror or error}") from None


def _leads_to(listed: Any, entry: Entry) -> bool:
    """Whether an entry is one for a mesh: at this address, or by its program."""
    if not isinstance(listed, dict):
        return False
    urls = [listed.get(key) for key in ("url", "httpUrl", "serverUrl", "uri")]
    return entry.url in urls or (listed.get("command") == entry.command and "serve" in (listed.get("args") or ()))


def _digest(data: bytes | None) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


def _loaded(record: Path) -> dict[str, Any] | None:
    try:
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and {"after", "before", "client", "path", "name"} <= known.keys() else None
