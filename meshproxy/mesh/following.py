"""`Following`: from edits of one file to configs that are brought in force, or rejected with the reason. Place: mesh, under `mesh`.

The latest edit wins: one that is still being applied when a newer one comes is given up.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

import structlog

from meshproxy.cluster.concert import Concert, Overruled
from meshproxy.config.content import Content
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.config.watch import settled, watch
from meshproxy.errors import ConfigError, Problem

__all__ = ["Following"]

log = structlog.get_logger(__name__)


class Follower(Protocol):
    """What edits are for; see `meshproxy.mesh.mesh.Mesh`."""

    config: MeshConfig
    concert: Concert | None

    async def take(self, config: MeshConfig, content: Content) -> None:
        """Bring a config in force, which is what the file holds. Raises `ConfigError` if it cannot be."""

    def reject(self, problems: tuple[Problem, ...], revision: str, config: MeshConfig | None) -> None:
        """Note that an edit was rejected: it could not be loaded, or, with a config, not be brought in force."""


class Following:
    """Follows for `follower`, which goes by what has this `digest`.

    Attributes:
        digest: of what was read last.
    """

    def __init__(self, follower: Follower, digest: str) -> None:
        self._follower = follower
        self.digest = digest
        self._poke = asyncio.Event()
        self._edited: Content | None = None

    def again(self) -> None:
        """Read the file again, whether it changed or not."""
        self._edited = None
        self._poke.set()

    async def follow(self, path: Path, others: Callable[[], Any]) -> None:
        """Apply every edit of the file at `path`, and run what `others` gives, for ever. The file is watched as long as the config in force says so."""
        watching: asyncio.Task[None] | None = None
        if self._follower.concert is not None:
            self._follower.concert.holds(self.digest)
        async with asyncio.TaskGroup() as group:
            group.create_task(others())
            while True:
                if watching is None and self._follower.config.reload.watch:
                    watching = group.create_task(self._watch(path))
                elif watching is not None and not self._follower.config.reload.watch:
                    watching.cancel()
                    watching = None
                await self._poke.wait()
                await self._obey(path)

    async def _watch(self, path: Path) -> None:
        async with aclosing(watch(path, self.digest)) as changes:
            async for content in changes:
                # The content may be what `again` has read and applied meanwhile.
                if content.digest != (self._edited.digest if self._edited is not None else self.digest):
                    self._edited = content
                    self._poke.set()

    async def _obey(self, path: Path) -> None:
        self._poke.clear()
        applying = asyncio.create_task(self._follow_once(path))
        newer = asyncio.create_task(self._poke.wait())
        try:
            await asyncio.wait({applying, newer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            newer.cancel()
            # A newer edit has come, so this one is given up.
            if not applying.done():
                applying.cancel()
            await asyncio.wait({applying, newer})
        if not applying.cancelled():
            applying.result()

    async def _follow_once(self, path: Path) -> None:
        content, self._edited = self._edited, None
        config: MeshConfig | None = None
        try:
            # The content that the watch found complete is taken: somebody may be writing the next one by now.
            content = content or await settled(path)
            self.digest = content.digest
            config = await asyncio.to_thread(load, path, content=content, before=self._follower.config)
            await self._follower.take(config, content)
        except ConfigError as error:
            self._reject(error.problems, config, is_own=not isinstance(error, Overruled))
            log.error("config.rejected", problems=[str(problem) for problem in error.problems])
        except Exception as error:
            # The config in force stays so. The next edit may pass, so the loop goes on.
            problem = Problem(str(path), None, None, "", f"a defect of meshproxy: {error!r}", None)
            self._reject((problem,), config)
            log.exception("config.rejected", problems=[str(problem)])

    def _reject(self, problems: tuple[Problem, ...], config: MeshConfig | None, *, is_own: bool = True) -> None:
        concert = self._follower.concert
        if concert is not None and is_own:
            concert.refuses(self.digest, problems)
        self._follower.reject(problems, self.digest, config)
