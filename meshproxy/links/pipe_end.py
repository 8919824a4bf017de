"""`PipeEnd`: one end of a pipe as an event loop takes it over. Place: links, at its bottom."""

import asyncio
import os
from typing import IO

__all__ = ["PipeEnd"]


class PipeEnd:
    """For `connect_read_pipe` and `connect_write_pipe`, which want a file and close it in the end. Takes over a descriptor; the loop has to run.

    asyncio closes the file. uvloop closes the file and then the descriptor itself, whose number may be another file's by then: that of one that another
    thread has opened in between. So what is closed here is closed once, by whoever does it on the loop that runs.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_the_loops = type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop"

    @classmethod
    def of(cls, file: IO[bytes]) -> "PipeEnd":
        """That of a file, which is closed."""
        end = cls(os.dup(file.fileno()))
        file.close()
        return end

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close it, unless the loop does that by itself. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0 and not self._is_the_loops:
            os.close(descriptor)
