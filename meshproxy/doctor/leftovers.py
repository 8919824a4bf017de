"""What a mesh that was killed has left behind: programs that still run, and files that nobody reads. Place: doctor."""

import time
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from meshproxy.config.secrets import HIDDEN, shown_arguments, without_secrets
from meshproxy.doctor.finding import Finding
from meshproxy.links import kin
from meshproxy.state.catalogs import FOLDER as CATALOGS
from meshproxy.state.catalogs import entry_name
from meshproxy.state.files import LEFT
from meshproxy.state.store import STALE

__all__ = ["orphans", "stale"]

_HEIRS: Final = frozenset({"catatonit", "docker-init", "dumb-init", "init", "systemd", "tini"})
"""Who is given the children of those that end, besides the first process."""
_SHOWN: Final = 60
"""Characters of a command line."""


def orphans() -> Iterable[Finding]:
    """Programs that a mesh has started which is gone. They bear its mark, and neither its watcher nor it is there."""
    table = kin.processes()
    marks = {pid: mark for pid in table if (mark := _mark(pid))}
    watched = {argument.rstrip(".") for pid in table for argument in _watched_by(pid)}
    by_mesh: dict[str, list[int]] = {}
    for pid, mark in marks.items():
        mesh = mark.partition(".")[0]
        if mesh not in watched and not _has_mesh(pid, mesh, table, marks):
            by_mesh.setdefault(mesh, []).append(pid)
    for pids in by_mesh.values():
        for pid in sorted(pids):
            # What descends from another one ends with it, or is found the next time.
            if table[pid].parent not in pids:
                what = f"was started by a mesh that is gone: {_command_line(pid)}"
                yield Finding("orphan", f"process {pid}", what, f"kill {pid}")


def stale(directory: Path | None, upstreams: Collection[str] | None) -> Iterable[Finding]:
    """Files in a state directory that were never finished, and what is remembered of upstreams that the config has no more (None: that is not known)."""
    if directory is None or not directory.is_dir():
        return
    now = time.time()
    for path in sorted(directory.rglob(f"*{LEFT}")):
        if _age(path, now) > STALE:
            yield _removable(path, "was being written by a mesh that was killed")
    if upstreams is not None:
        known = {entry_name(name) for name in upstreams}
        for path in sorted((directory / CATALOGS).glob("*.json")):
            if f"{CATALOGS}/{path.name}" not in known:
                yield _removable(path, "is remembered of an upstream that is not in the config any more")


def _removable(path: Path, what: str) -> Finding:
    return Finding("state", str(path), what, f"rm {path}", partial(_removed, path))


def _removed(path: Path) -> str:
    path.unlink(missing_ok=True)
    return f"rm {path}"


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0


def _has_mesh(pid: int, mesh: str, table: dict[int, kin.Member], marks: dict[int, str]) -> bool:
    """Whether whoever started the first of these programs lives, and it was not handed to whom orphans go."""
    while (parent := table[pid].parent) in table and marks.get(parent, "").partition(".")[0] == mesh:
        pid = parent
    parent = table[pid].parent
    return parent in table and parent != 1 and _read(parent, "comm").decode("utf-8", "replace").strip() not in _HEIRS


def _mark(pid: int) -> str:
    for variable in _read(pid, "environ").split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == kin.MARK.encode():
            return value.decode("ascii", "replace")
    return ""


def _watched_by(pid: int) -> Iterable[str]:
    """The meshes that a process is the watcher of: none, or one."""
    if f"{kin.WATCHER}=1".encode() in _read(pid, "environ").split(b"\0"):
        yield _read(pid, "cmdline").rstrip(b"\0").rpartition(b"\0")[2].decode("ascii", "replace")


def _command_line(pid: int) -> str:
    arguments = _read(pid, "cmdline").decode("utf-8", "replace").rstrip("\0").split("\0")
    text = " ".join(shown_arguments(arguments, lambda _: HIDDEN, without_secrets))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
