"""The bytes of a config file and of the files that it refers to, and one digest of them all."""

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from meshproxy.config.env import MAX_FILE_BYTES, referenced_files

MAX_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class Content:
    """What a config file held when it was read. `error` says why `data` is None, and what to do about it."""

    path: Path
    digest: str
    files: tuple[Path, ...]
    """The file itself, and then those that it refers to, whether they exist or not."""
    data: bytes | None = field(default=None, repr=False)
    error: str | None = None


def read_content(path: Path) -> Content:
    """Read the file at `path`, and what it refers to. Never fails: an unreadable file is a `Content` with an `error`.

    Its paths are absolute, and with the symlinks in them: where a link leads may change.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow symlinks
    try:
        data = _read(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = _reason(error)
        return Content(path, hashlib.sha256(b"unreadable\0" + reason.encode()).hexdigest(), (path,), None, reason)
    digest = hashlib.sha256(hashlib.sha256(data).digest())
    files = referenced_files(data.decode("utf-8", "replace"), path.parent)
    for file in files:
        try:
            found = b"read\0" + _read(file, MAX_FILE_BYTES)
        except (OSError, ValueError) as error:
            found = b"unreadable\0" + _reason(error).encode()
        digest.update(str(file).encode("utf-8", "surrogateescape") + b"\0" + hashlib.sha256(found).digest())
    return Content(path, digest.hexdigest(), (path, *files), data)


def content_digest(path: Path) -> str:
    """A digest that differs whenever the config file, or a file that it refers to, does."""
    return read_content(path).digest


def _read(path: Path, limit: int) -> bytes:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("is a directory; name a file in it")
    if not stat.S_ISREG(mode):
        raise ValueError("is not a regular file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"is larger than {limit >> 20} MiB")
    return data


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist; check the path"
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied; check its mode and owner"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return str(error)
