"""`have_streams`: standard input, output and error, also where whoever started the program closed them. Place: cli, before anything else runs.

The numbers of closed ones would be given to the first files and sockets that are opened, and whoever writes to standard error would write into one of
them. So the null device takes their places.
"""

import os
import sys

__all__ = ["have_streams"]


def have_streams() -> None:
    """Open what is closed of the three. Idempotent."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
        if getattr(sys, name) is None:
            stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
