"""Files that are whole or not there: written beside their place, flushed to the disk, and renamed. Place: state."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

__all__ = ["LEFT", "flush", "write"]

LEFT: Final = ".tmp"
"""How the names end of files that are being written."""


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put `content` into a file of this mode. `flush` its folder for it to be found after a crash of the machine.

    Raises:
        OSError: it cannot be written; what was there before is whole.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{LEFT}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def flush(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
