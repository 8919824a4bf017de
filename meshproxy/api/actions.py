"""What `/api` does to a mesh: nothing that the command line cannot. Place: api.

An upstream is started anew by the mesh; enabling and disabling are edits of the file, which the mesh then takes up like any other.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

from meshproxy.api.answers import ApiError
from meshproxy.api.views import edit as shown_edit
from meshproxy.config.changes import switch
from meshproxy.config.edit import edit
from meshproxy.errors import ConfigError
from meshproxy.mesh.edits import Edit
from meshproxy.mesh.mesh import Mesh

__all__ = ["Actions"]

PATIENCE: Final = 60.0
"""Seconds that an answer waits for what was asked for; it goes on after them."""

Json = dict[str, Any]


class Actions:
    """Does what is asked for, one thing after the other. `file` is the config."""

    def __init__(self, mesh: Mesh, file: Path) -> None:
        self._mesh = mesh
        self._file = file
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def restart(self, name: str) -> Json:
        """Start an upstream anew: how it ended, with the reason if the old one goes on because the new one failed."""
        self._enabled(name)
        task = asyncio.ensure_future(self._mesh.restart(name))
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=PATIENCE)
        if not task.done():
            return {"upstream": name, "outcome": "starting"}
        if task.cancelled():
            raise ApiError(409, f"an edit of the config came while {name} was started, and was taken up instead")
        try:
            report = task.result()
        except ConfigError as error:
            raise ApiError(502, "; ".join(self._mesh.scrub(str(problem)) for problem in error.problems)) from None
        except KeyError:
            raise ApiError(409, f"{name} was taken out of the mesh meanwhile") from None
        if name in report.failures:
            reason = self._mesh.scrub(report.failures[name])
            raise ApiError(502, f"{name} did not start anew, and the one before goes on: {reason}")
        return {"upstream": name, "outcome": "restarted", "seconds": round(report.seconds, 3)}

    async def switch(self, name: str, *, on: bool) -> Json:
        """Enable or disable an upstream in the file, and say what became of that edit."""
        spec = self._mesh.config.upstreams.get(name)
        if spec is None:
            raise ApiError(404, self._unknown(name))
        if spec.enabled is on:
            return {"upstream": name, "outcome": "unchanged"}

        async with self._turn:
            try:
                await asyncio.to_thread(edit, self._file, lambda draft: switch(draft, name, on=on))
            except ConfigError as error:
                raise ApiError(409, "; ".join(self._mesh.scrub(str(problem)) for problem in error.problems)) from None
            return {"upstream": name, "outcome": "enabled" if on else "disabled", "edit": await self._reloaded()}

    async def reload(self) -> Json:
        """Read the file again, and say what became of it; no edit if it says what is in force already."""
        async with self._turn:
            found = await self._reloaded()
        return {"outcome": "unchanged" if found is None else found["outcome"], "edit": found}

    async def aclose(self) -> None:
        """Give up what is under way."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _reloaded(self) -> Json | None:
        told: asyncio.Future[Edit | None] = asyncio.get_running_loop().create_future()

        def heard(one: Edit | None) -> None:
            if not told.done():
                told.set_result(one)

        edits = self._mesh.edits
        stops = (edits.on_edit(heard), edits.on_look(lambda: heard(None)))
        self._mesh.reload_soon()
        try:
            async with asyncio.timeout(PATIENCE):
                found = await told
        except TimeoutError:
            return None
        finally:
            for stop in stops:
                stop()
        return None if found is None else shown_edit(found)

    def _enabled(self, name: str) -> None:
        spec = self._mesh.config.upstreams.get(name)
        if spec is None:
            raise ApiError(404, self._unknown(name))
        if not spec.enabled:
            raise ApiError(409, f"{name} is disabled; enable it to start it")

    def _unknown(self, name: str) -> str:
        return f"there is no upstream {name!r}; there are {', '.join(self._mesh.config.upstreams) or 'none'}"

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()
