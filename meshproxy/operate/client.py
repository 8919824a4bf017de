"""`Client`: a program that uses MCP servers: where its file of them is, how an entry for a mesh is written there, and by which line or link it takes one. Place: operate.

Paths are those of each client's documentation; `~` is HOME, and what stands under the platform's folder for configs is looked for there.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Client", "Entry", "Write", "expanded"]


@dataclass(frozen=True)
class Entry:
    """How a client reaches the mesh: by its address, with headers, or by a command."""

    url: str
    headers: Mapping[str, str]
    command: str
    args: tuple[str, ...]
    is_program: bool = False

    @property
    def program(self) -> dict[str, Any]:
        """The command, in the words that nearly all have."""
        return {"command": self.command, "args": list(self.args)}

    def remote(self, key: str = "url", **more: Any) -> dict[str, Any]:
        """The address, under this key; or the command, if that is wanted."""
        if self.is_program:
            return {**({"type": "stdio"} if "type" in more else {}), **self.program}
        return {**more, key: self.url, **({"headers": dict(self.headers)} if self.headers else {})}


Write = Callable[[str, Entry], dict[str, Any]]
Say = Callable[[str, Entry], str]
"""Of the name that the mesh gets, and how it is reached."""


@dataclass(frozen=True)
class Client:
    """One program.

    Attributes:
        key: how it is called on the command line.
        title: how it is called.
        user: its own files, the first of which is written if there is none.
        project: its files in a project's folder.
        section: the keys under which it lists servers.
        write: the entry for a mesh, by name.
        listed: whether its servers are a list, and not by name.
        only_programs: whether its file takes no addresses.
        line: the command that adds a mesh, if there is one.
        line_note: what there is to know of that.
        link: what opens the program and has it ask, if there is such; "" where it cannot say what is needed.
        shown: the file that a person is told of.
        file_note: what there is to know of that.
    """

    key: str
    title: str
    user: tuple[str, ...]
    project: tuple[str, ...]
    section: tuple[str, ...]
    write: Write
    listed: bool = False
    only_programs: bool = False
    line: Say | None = None
    line_note: str = ""
    link: Say | None = None
    shown: str = ""
    file_note: str = ""

    def files(self) -> list[Path]:
        """Its files that there may be for this user, whether they are there or not."""
        return [path for pattern in self.user for path in expanded(pattern)]


def expanded(pattern: str) -> list[Path]:
    """The paths that a pattern of the table stands for: those that match, or itself."""
    home = Path.home()
    xdg = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    config = home / "Library" / "Application Support" if sys.platform == "darwin" else xdg
    codex = Path(os.environ.get("CODEX_HOME") or home / ".codex")
    path = Path(pattern.replace("~", str(home), 1).format(xdg=xdg, config=config, codex=codex))
    if "*" in path.name:
        return sorted(path.parent.glob(path.name)) if path.parent.is_dir() else []
    return [path]
