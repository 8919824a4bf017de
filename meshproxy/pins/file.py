"""`LockFile`: the lock file of a config, read whole and changed in one step. Place: pins.

A mesh that serves and a command may change it at the same time: whoever does has the directory to himself meanwhile (flock), and changes what is there
then. People's editors and version control know nothing of that, so it is replaced by renaming, and is whole at every moment.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from meshproxy.errors import ConfigError, Problem
from meshproxy.pins.lock import Lock, LockError, parsed, written
from meshproxy.state.files import write

__all__ = ["LockFile"]

_MODE = 0o644


class LockFile:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Lock | None:
        """What is in it; None if there is none.

        Raises:
            ConfigError: it cannot be read or used.
        """
        try:
            return parsed(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except LockError as error:
            raise ConfigError((Problem(str(self.path), error.line, error.column, "", str(error)),)) from None
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            raise ConfigError((Problem(str(self.path), None, None, "", reason),)) from None

    def change(self, change: Callable[[Lock], Lock]) -> Lock:
        """Put what `change` makes of it in its place, and say what that is.

        Raises:
            ConfigError: it cannot be used as it is, and stays so.
            OSError: it cannot be written, and stays as it is.
        """
        target = self.path.resolve()
        with _alone(target.parent):
            before = self.read()
            after = change(before or {})
            data = written(after)
            if before is None or data != written(before):
                mode = target.stat().st_mode & 0o777 if before is not None else _MODE
                write(target, data, mode)
        return after


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
