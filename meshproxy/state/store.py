"""`Store`: the state directory. A name, and what is kept under it. Place: state.

Every file is whole or not there: it is written beside its place, flushed to the disk and renamed. Whoever deletes any of them, or all, at any time
costs the mesh what it remembered and nothing else. Nothing here raises for a disk that is full, gone or read-only: reading finds nothing then, and
writing is tried again now and then; both are said once. Writing is done in the background, the latest of each name alone.
"""

import asyncio
import contextlib
import secrets
import stat
import time
from pathlib import Path
from typing import Final

import structlog

from meshproxy.state.files import LEFT, flush, write

__all__ = ["KEY", "Store"]

log = structlog.get_logger(__name__)

KEY: Final = "key"
"""The name of the directory's own key."""
KEY_SIZE: Final = 32
AGAIN: Final = 30.0
"""Seconds before what could not be written is tried again, unless something else is to be written meanwhile."""
STALE: Final = 3600.0
"""Seconds after which such a file is what a mesh that was killed has left."""


class Store:
    """The files of one directory, which is made when something is first written. Without a directory nothing is kept.

    Names are paths in the directory, with `/` between their parts. One event loop at a time.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._pending: dict[str, bytes | None] = {}
        self._writing: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._is_closing = False
        self._complaint = ""
        self._key = b""

    @property
    def key(self) -> bytes:
        """Random bytes that are this directory's, for digests of what is secret: who has the files of a name alone can make nothing of them."""
        if not self._key:
            known = self.read(KEY)
            self._key = known if known is not None and len(known) == KEY_SIZE else secrets.token_bytes(KEY_SIZE)
            if self._key != known:
                self.write(KEY, self._key)
        return self._key

    def read(self, name: str) -> bytes | None:
        """What is kept under a name; None if that is nothing, or cannot be read."""
        if name in self._pending:
            return self._pending[name]
        if self.directory is None:
            return None
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None

    def names(self, folder: str) -> list[str]:
        """The names in a folder of the directory, as they are on the disk."""
        found = []
        if self.directory is not None:
            with contextlib.suppress(OSError):
                found = [f"{folder}/{file.name}" for file in self._path(folder).iterdir() if file.suffix != LEFT]
        return sorted(found)

    def write(self, name: str, content: bytes) -> None:
        """Keep this under a name, soon. It is what `read` finds from now on."""
        self._put(name, content)

    def remove(self, name: str) -> None:
        """Keep nothing under a name any more."""
        self._put(name, None)

    async def aclose(self) -> None:
        """Write what is not written yet, in one more attempt. Idempotent."""
        self._is_closing = True
        self._news.set()
        if self._writing is not None:
            await self._writing

    def _put(self, name: str, content: bytes | None) -> None:
        if self.directory is None:
            return
        self._pending[name] = content
        self._news.set()
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="state")

    async def _write_all(self) -> None:
        """Write until nothing is left to be written."""
        try:
            while self._pending:
                self._news.clear()
                batch = dict(self._pending)
                failed = await asyncio.to_thread(self._commit, batch)
                self._note(failed)
                for name, content in batch.items():
                    # What is newer by now is written in the next round.
                    if failed is None and self._pending.get(name) is content:
                        del self._pending[name]
                if failed is not None:
                    if self._is_closing:
                        return
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), AGAIN)
        finally:
            self._writing = None

    def _commit(self, batch: dict[str, bytes | None]) -> OSError | None:
        """Bring names to the disk, in a thread. Says what is in the way."""
        folders = set()
        try:
            self._prepare()
            for name, content in batch.items():
                path = self._path(name)
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    path.parent.mkdir(mode=0o700, exist_ok=True)
                    write(path, content)
                folders.add(path.parent)
            for folder in folders:
                flush(folder)
        except OSError as error:
            return error
        return None

    def _prepare(self) -> None:
        """Have the directory, and clear away what a mesh that was killed has left half-written."""
        directory = self._path("")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(None, "others may write there; take that from them with chmod 700", str(directory))
        for file in directory.rglob(f"*{LEFT}"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > STALE:
                    file.unlink()

    def _note(self, failed: OSError | None) -> None:
        if failed is not None:
            self._complain(failed)
        elif self._complaint:
            self._complaint = ""
            log.info("state.usable", directory=str(self.directory))

    def _complain(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if reason != self._complaint:
            self._complaint = reason
            log.warning(
                "state.unusable",
                directory=str(self.directory),
                reason=reason,
                consequence="what is new is not remembered over a restart; nothing else changes. `state` names another directory, or none",
            )

    def _path(self, name: str) -> Path:
        if self.directory is None:
            raise FileNotFoundError("nothing is kept")
        return self.directory / name
