"""Who else on this machine can read what is secret. Place: doctor; `mend` takes rights away, and gives none."""

import os
import stat
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding

__all__ = ["open_files", "open_state"]

_OTHERS: Final = stat.S_IRWXO
_NOT_OURS: Final = stat.S_IRWXG | stat.S_IRWXO


def open_files(config: MeshConfig) -> Iterable[Finding]:
    """The config, what was it before an edit, and the files that it refers to, if every user may read them and secrets are in them."""
    file, *referred = config.source.files
    for path in (file, file.with_name(f"{file.name}.bak")):
        if _is_open(path) and _has_secret(path, config):
            what = f"holds secrets, and every user of this machine may {_may(path)} it"
            yield _chmod("secret", path, _OTHERS, what, " and better yet, put the secrets into ${VAR} or ${file:...}")
    tls = config.server.tls
    keys = [] if tls is None else [file.parent / (tls.key or tls.certificate)]
    for path in dict.fromkeys((*referred, *keys)):
        if _is_open(path):
            yield _chmod("secret", path, _OTHERS, f"is a secret, and every user of this machine may {_may(path)} it")


def open_state(directory: Path | None) -> Iterable[Finding]:
    """What is remembered, if anybody but its owner may read it."""
    if directory is None or not directory.is_dir():
        return
    if directory.stat().st_mode & _NOT_OURS:
        yield _chmod("state", directory, _NOT_OURS, "is the state directory, which is for its owner alone")
    for path in sorted(directory.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & _NOT_OURS:
            yield _chmod("state", path, _NOT_OURS, "is kept state, which is for its owner alone")


def _chmod(kind: str, path: Path, mask: int, what: str, more: str = "") -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode) & ~mask
    remedy = f"chmod {mode:o} {path}{more and ','}{more}"
    is_ours = path.stat().st_uid in (os.geteuid(), os.getuid()) or os.geteuid() == 0
    if not is_ours:
        remedy += f", as its owner (uid {path.stat().st_uid})"
    return Finding(kind, str(path), what, remedy, partial(_changed, path, mode) if is_ours else None)


def _changed(path: Path, mode: int) -> str:
    path.chmod(mode)
    return f"chmod {mode:o} {path}"


def _is_open(path: Path) -> bool:
    """Whether every user can read or write a file: its mode says so, and so do those of the folders above it.

    What stands on a read-only file system was put there by somebody who knows who is here, as Kubernetes does with its secrets.
    """
    try:
        real = path.resolve(strict=True)
        if not real.is_file() or not real.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            return False
        if os.statvfs(real).f_flag & os.ST_RDONLY:
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except OSError:
        return False


def _may(path: Path) -> str:
    return "change" if path.stat().st_mode & stat.S_IWOTH else "read"


def _has_secret(path: Path, config: MeshConfig) -> bool:
    """Whether a secret of the config stands in a file as it is, and not as a reference."""
    try:
        text = path.read_text("utf-8-sig", "replace")
    except OSError:
        return False
    return config.scrubber.scrub(text) != text
