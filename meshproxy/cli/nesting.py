"""Meshes that are started by meshes: one that would start itself again and again does not start. Place: cli.

A command's environment tells which files are served by the meshes above it. A file that stands there already, and is to be served over standard input
and output once more, lists itself as a command; each of them would start the next. Over HTTP it is another mesh of the same file, which nobody
lists for that; `meshproxy.links.trail` finds those that do.
"""

import os
from hashlib import blake2s
from pathlib import Path
from typing import Final

from meshproxy.cli.entry import Failure
from meshproxy.links.stdio import SERVED

__all__ = ["enter"]

DEEPEST: Final = 8
"""Meshes in each other. Nobody needs so many, and what starts the next in another way than over standard input and output ends here."""


def enter(file: str, *, over_stdio: bool) -> None:
    """Note for every command that is started from here that `file` is served above it.

    Raises:
        Failure: it is served above this process already, or there are too many meshes above it.
    """
    mark = blake2s(os.fsencode(Path(file).resolve()), digest_size=8).hexdigest()
    above = [one for one in os.environ.get(SERVED, "").split(",") if one]
    if over_stdio and mark in above:
        remedy = "it would start itself again and again; take that upstream out of it"
        raise Failure(
            f"{file} is served already by the mesh that starts this one, so it lists itself: {remedy}", status=2
        )
    if len(above) >= DEEPEST:
        raise Failure(f"{file}: {DEEPEST} meshes are started by each other, and this would be one more", status=2)
    os.environ[SERVED] = ",".join([*above, mark])
