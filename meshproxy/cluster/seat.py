"""`Seat`: what a worker is given by its supervisor, by inheritance and in no other way. Place: cluster."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["DOORS", "Seat"]

DOORS: Final = ("calls", "metrics")
"""What a worker can be asked for by its neighbours: what clients ask for, and what it counts where that has an address of its own."""

PATIENCE: Final = 8.0
"""Seconds that a worker has to end in good order when its supervisor is gone."""


@dataclass(frozen=True)
class Seat:
    """One worker's.

    Attributes:
        number: which of the workers it is, from 0.
        name: what the worker is called; see `meshproxy.cluster.home`. Names are given once, and those of the first seats come first.
        directory: where the workers listen for each other.
        key: what they seal with what they hand to each other.
        trail: what all of them are to a mesh that comes across itself.
        line: to the supervisor.
        lifeline: the reading end of a pipe that ends with the supervisor, however that ends.
        supervisor: the number of its process.
        given: what is in force, to begin with: None for what the file held when the mesh was started.
    """

    number: int
    name: str
    directory: Path
    key: bytes = field(repr=False)
    trail: str
    line: socket.socket
    lifeline: int
    supervisor: int
    given: Any = None

    def door(self, of: str) -> Path:
        """Where the worker listens for its neighbours: one of `DOORS`."""
        return self.directory / of / self.name

    def hold_on(self, kill: Callable[[], None]) -> None:
        """See that this process ends when the supervisor is gone: in good order if it can (`meshproxy.cluster.concert` tells it), else after `kill`."""
        threading.Thread(target=self._wait, args=(kill,), name="lifeline", daemon=True).start()

    def leave(self) -> None:
        """Take away what nobody is there any more to take away."""
        if os.getppid() != self.supervisor:
            # A neighbour that is still there will do it.
            with contextlib.suppress(OSError):
                for of in DOORS:
                    (self.directory / of).rmdir()
                self.directory.rmdir()

    def _wait(self, kill: Callable[[], None]) -> None:
        os.read(self.lifeline, 1)
        time.sleep(PATIENCE)
        kill()
        os._exit(1)
