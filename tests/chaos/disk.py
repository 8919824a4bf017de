"""`Disk`: a small file system of a test's own, which is full when the test says so."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["Disk", "disk"]

SIZE = 1024**2


class Disk:
    """See above.

    Attributes:
        root: where it is.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filler = root / "filler"

    def fill(self) -> None:
        """Leave room for nothing, to the last byte."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for piece in (4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(descriptor, b"." * piece)
        finally:
            os.close(descriptor)

    def is_full(self) -> bool:
        """Whether a byte more finds no room."""
        try:
            (self.root / "more").write_bytes(b".")
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            (self.root / "more").unlink(missing_ok=True)
        return False

    def free(self) -> None:
        """Have room again."""
        self._filler.unlink()


@contextlib.contextmanager
def disk(root: Path) -> Iterator[Disk]:
    """A disk at `root`. The test is skipped where none may be mounted."""
    root.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(root)]
    try:
        mounted = subprocess.run(line, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no file system may be mounted here")
    try:
        yield Disk(root)
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)
