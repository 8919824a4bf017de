"""`write`: a line to standard error that never waits for whoever reads it. Place: observe, under `logs`.

Many programs that start a mesh read its standard error seldom or never. A pipe takes 64 KiB and then makes its writer wait, and with it every upstream and client.
So what there is no room for is left out and counted, and the next line that there is room for is told how many there were. Where a disk is full or nobody
has the other end any more, lines are lost in the same way.
"""

import os
import select
import sys
from typing import Final

__all__ = ["lost", "write"]

_PIECE: Final = 4096
"""Bytes that a pipe takes whole if it says that it takes any (PIPE_BUF, POSIX)."""


class _State:
    lost = 0
    is_torn = False


def lost() -> int:
    """How many lines were left out since this was asked last."""
    count, _State.lost = _State.lost, 0
    return count


def write(line: str) -> bool:
    """Write a line, or leave it out and count it. Says which."""
    stream = sys.stderr
    if stream is not sys.__stderr__ or stream is None:
        # A live display, or what a test listens with: it takes care of itself.
        try:
            stream.write(line + "\n")
            stream.flush()
        except (AttributeError, OSError, ValueError):
            _State.lost += 1
            return False
        return True
    data = f"{line}\n".encode("utf-8", "backslashreplace")
    if _State.is_torn:
        data = b"\n" + data
    try:
        left = _put(stream.fileno(), data)
    except (OSError, ValueError):
        left = data
    if left:
        _State.lost += 1
        # Half a line must not be taken for one with the next.
        _State.is_torn = _State.is_torn or len(left) < len(data)
    else:
        _State.is_torn = False
    return not left


def _put(descriptor: int, data: bytes) -> bytes:
    """Write as much as there is room for; what is left of it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    while data and poll.poll(0):
        try:
            data = data[os.write(descriptor, data[:_PIECE]) :]
        except OSError:
            return data
    return data
