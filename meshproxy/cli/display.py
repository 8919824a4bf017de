"""What a terminal shows while a mesh starts: each upstream as it comes up, who is still awaited, and where the endpoint is."""

import asyncio
import json
import shlex
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from meshproxy.cli.summary import counted
from meshproxy.config.models import MeshConfig
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe import logs
from meshproxy.observe.spelling import named

__all__ = ["Display"]

TICK = 0.1
"""Seconds between two looks at the mesh."""


class Display:
    """The start of one mesh. `url` is where it is served; None for standard input and output."""

    def __init__(self, config: MeshConfig, url: str | None) -> None:
        self._config = config
        self._url = url
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._width = max((len(spec.name) for spec in config.enabled), default=0)

    async def show(self, mesh: Mesh) -> None:
        """Show the start until it is over. Raises `ConfigError` if a required upstream failed."""
        begun = time.monotonic()
        waiting = [spec.name for spec in self._config.enabled]
        settled = asyncio.ensure_future(mesh.settled())
        try:
            with logs.quiet("upstream.up", "upstream.degraded", "upstream.down"), self._console.status("") as status:
                while waiting:
                    known = mesh.status()
                    for name in waiting[:]:
                        upstream = known.get(name)
                        if upstream is None or upstream["state"] != "starting":
                            waiting.remove(name)
                            self._console.print(self._line(name, upstream or {"state": "removed"}))
                    if settled.done() or not waiting:
                        break
                    status.update(f"starting {', '.join(waiting)}  {time.monotonic() - begun:.0f} s{self._where}")
                    await asyncio.wait({settled}, timeout=TICK)
            await settled
        finally:
            settled.cancel()
        self._console.print(self._advice())

    @property
    def _where(self) -> str:
        return f"  (already served at {self._url})" if self._url else ""

    def _line(self, name: str, upstream: Mapping[str, Any]) -> Text:
        state = upstream["state"]
        head = {"up": ("✓", "green"), "down": ("✗", "red")}.get(state, ("·", "dim"))
        if state == "up":
            rest = Text(f"{counted(upstream)}  ") + Text(f"{upstream['seconds']:.2f} s", "dim")
        elif state == "down":
            rest = Text(named(upstream["reason"])) + Text("; it is tried again and again", "dim")
        else:
            rest = Text({"idle": "starts when it is used"}.get(state, state), "dim")
        return Text.assemble(head, " ", (f"{name:{self._width}}", "bold"), "  ", rest)

    def _advice(self) -> Text:
        if self._url is None:
            return Text("serving on standard input and output")
        name = self._config.name
        snippet = json.dumps({"mcpServers": {name: {"type": "http", "url": self._url}}})
        return Text.assemble(
            *("\nserving at ", (self._url, "bold cyan"), "; Ctrl-C ends it\n\n"),
            *(("  Claude Code    ", "dim"), f"claude mcp add --transport http {shlex.quote(name)} {self._url}\n"),
            *(("  other clients  ", "dim"), f"{snippet}\n"),
        )
