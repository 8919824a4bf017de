"""`Concert`: a worker's side of what it has in common with the others: edits, and what one of them is asked to do and all have to. Place: cluster.

See `meshproxy.cluster.ballot` for how an edit comes to be in force.
"""

import asyncio
import socket
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from meshproxy.cluster.lines import Lines, line_of
from meshproxy.errors import ConfigError, Problem

__all__ = ["Concert", "Overruled"]


class Overruled(ConfigError):
    """Another worker cannot have an edit, so that none has it."""


class Concert:
    """`line` leads to the supervisor.

    Attributes:
        on_reload: the file is to be read again.
        on_restart: an upstream is to be started anew, for a name.
        on_end: the supervisor is gone, or others serve in this one's place.
        is_relieved: those others listen at the same sockets.
    """

    def __init__(self, line: socket.socket) -> None:
        self.on_reload: Callable[[], None] = lambda: None
        self.on_restart: Callable[[str], None] = lambda _: None
        self.on_end: Callable[[], None] = lambda: None
        self.is_relieved = False
        self._line = line
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._asked: tuple[str, asyncio.Future[None]] | None = None

    async def open(self) -> None:
        """Before anything is said."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._line)

    async def run(self) -> None:
        """Hear what the supervisor says, until it is gone."""
        lines = Lines()
        while data := await self._reader.read(65536):
            for message in lines.feed(data):
                self._hear(message)
        self.on_end()

    def close(self) -> None:
        """Nothing more is said or heard."""
        if self._writer is not None:
            self._writer.close()

    async def agree(self, digest: str, data: bytes) -> None:
        """An edit could be in force here at once: wait until it may be, everywhere. `data` is what the file holds.

        Raises:
            Overruled: it may not.
        """
        verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = digest, verdict
        try:
            self._say("ready", digest, data=b64encode(data).decode())
            await verdict
        finally:
            self._asked = None

    def holds(self, digest: str, data: bytes = b"") -> None:
        """This is in force here, and changed nothing."""
        self._say("holds", digest, data=b64encode(data).decode())

    def refuses(self, digest: str, problems: Sequence[Problem]) -> None:
        """An edit cannot be in force here."""
        self._say("refuses", digest, problems=[astuple(problem) for problem in problems])

    def settled(self) -> None:
        """Every upstream has come up or failed once."""
        self._say("settled")

    def all_reload(self) -> None:
        """Have every worker read the file again, this one too."""
        self._say("reload")

    def others_restart(self, name: str) -> None:
        """Have the other workers start an upstream anew."""
        self._say("restart", name=name)

    def _say(self, said: str, digest: str = "", **facts: Any) -> None:
        if self._writer is not None:
            self._writer.write(line_of(said, digest=digest, **facts))

    def _hear(self, message: dict[str, Any]) -> None:
        said, asked = message["said"], self._asked
        if said == "relieved":
            self.is_relieved = True
            self.on_end()
        elif said == "reload":
            self.on_reload()
        elif said == "restart":
            self.on_restart(message["name"])
        elif asked is not None and asked[0] == message["digest"] and not asked[1].done():
            if said == "agreed":
                asked[1].set_result(None)
            else:
                asked[1].set_exception(Overruled(tuple(Problem(*one) for one in message["problems"])))
