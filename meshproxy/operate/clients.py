"""The programs whose files of MCP servers are known: where those are, and how an entry for a mesh is written in them. Place: operate.

Paths are those of each client's documentation; `~` is HOME, and what stands under the platform's folder for configs is looked for there.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["CLIENTS", "Client", "Entry", "client_of", "expanded"]


@dataclass(frozen=True)
class Entry:
    """How a client reaches the mesh: by its address, with headers, or by a command that serves it over stdio."""

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
    """

    key: str
    title: str
    user: tuple[str, ...]
    project: tuple[str, ...]
    section: tuple[str, ...]
    write: Write
    listed: bool = False
    only_programs: bool = False

    def files(self) -> list[Path]:
        """Its files that there may be for this user, whether they are there or not."""
        return [path for pattern in self.user for path in expanded(pattern)]


_CODE: Final = "{config}/Code/User/globalStorage"


def _codex(_name: str, entry: Entry) -> dict[str, Any]:
    if entry.is_program:
        return entry.program
    return {"url": entry.url, **({"http_headers": dict(entry.headers)} if entry.headers else {})}


def _goose(name: str, entry: Entry) -> dict[str, Any]:
    how: dict[str, Any] = {"type": "streamable_http", "uri": entry.url, "headers": dict(entry.headers)}
    if entry.is_program:
        how = {"type": "stdio", "cmd": entry.command, "args": list(entry.args), "envs": {}}
    return {"enabled": True, "name": name, **how, "timeout": 300}


def _continue(name: str, entry: Entry) -> dict[str, Any]:
    if entry.is_program:
        return {"name": name, "type": "stdio", **entry.program}
    headers = {"requestOptions": {"headers": dict(entry.headers)}} if entry.headers else {}
    return {"name": name, "type": "streamable-http", "url": entry.url, **headers}


def _opencode(_name: str, entry: Entry) -> dict[str, Any]:
    if entry.is_program:
        return {"type": "local", "command": [entry.command, *entry.args], "enabled": True}
    return {**entry.remote(type="remote"), "enabled": True}


CLIENTS: Final = {
    client.key: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            ("{config}/Claude/claude_desktop_config.json",),
            (),
            ("mcpServers",),
            lambda _, entry: entry.program,
            only_programs=True,
        ),
        Client(
            "claude-code",
            "Claude Code",
            ("~/.claude.json",),
            (".mcp.json",),
            ("mcpServers",),
            lambda _, entry: entry.remote(type="http"),
        ),
        Client(
            "vscode",
            "VS Code",
            ("{config}/Code/User/mcp.json",),
            (".vscode/mcp.json",),
            ("servers",),
            lambda _, entry: entry.remote(type="http"),
        ),
        Client(
            "cursor",
            "Cursor",
            ("~/.cursor/mcp.json",),
            (".cursor/mcp.json",),
            ("mcpServers",),
            lambda _, entry: entry.remote(),
        ),
        Client(
            "windsurf",
            "Windsurf",
            ("~/.codeium/windsurf/mcp_config.json",),
            (),
            ("mcpServers",),
            lambda _, entry: entry.remote("serverUrl"),
        ),
        Client(
            "codex",
            "Codex",
            ("{codex}/config.toml",),
            (".codex/config.toml",),
            ("mcp_servers",),
            _codex,
        ),
        Client(
            "gemini",
            "Gemini CLI",
            ("~/.gemini/settings.json",),
            (".gemini/settings.json",),
            ("mcpServers",),
            lambda _, entry: entry.remote("httpUrl"),
        ),
        Client(
            "zed",
            "Zed",
            ("{xdg}/zed/settings.json",),
            (".zed/settings.json",),
            ("context_servers",),
            lambda _, entry: entry.remote(),
        ),
        Client(
            "goose",
            "Goose",
            ("{xdg}/goose/config.yaml",),
            (),
            ("extensions",),
            _goose,
        ),
        Client(
            "continue",
            "Continue",
            ("~/.continue/config.yaml",),
            (".continue/mcpServers/*.yaml",),
            ("mcpServers",),
            _continue,
            listed=True,
        ),
        Client(
            "opencode",
            "OpenCode",
            ("{xdg}/opencode/opencode.json", "{xdg}/opencode/opencode.jsonc"),
            ("opencode.json", "opencode.jsonc"),
            ("mcp",),
            _opencode,
        ),
        Client(
            "lmstudio", "LM Studio", ("~/.lmstudio/mcp.json",), (), ("mcpServers",), lambda _, entry: entry.remote()
        ),
        Client(
            "mcphub",
            "mcphub",
            ("{xdg}/mcphub/servers.json",),
            ("mcp_settings.json", ".mcphub/servers.json"),
            ("mcpServers",),
            lambda _, entry: entry.remote(type="streamable-http"),
        ),
        Client(
            "cline",
            "Cline",
            (f"{_CODE}/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",),
            (),
            ("mcpServers",),
            lambda _, entry: entry.remote(type="streamableHttp"),
        ),
        Client(
            "roo",
            "Roo Code",
            (f"{_CODE}/rooveterinaryinc.roo-cline/settings/mcp_settings.json",),
            (".roo/mcp.json",),
            ("mcpServers",),
            lambda _, entry: entry.remote(type="streamable-http"),
        ),
    )
}
"""By key."""


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


def client_of(path: Path, tree: Mapping[str, Any] | None = None) -> str:
    """Whose file this looks to be, by its place and name, or else by its shape; `` if it is nobody's in particular."""
    parts = path.absolute()
    for client in CLIENTS.values():
        for pattern in client.user:
            if parts in expanded(pattern):
                return client.key
        for pattern in client.project:
            if parts.match(pattern):
                return client.key
    words = path.stem.lower()
    for key, mark in (
        ("claude-desktop", "claude_desktop"), ("claude-desktop", "claude-desktop"), ("claude-code", "claude"), ("vscode", "vscode"),
        ("cursor", "cursor"), ("windsurf", "windsurf"), ("codex", "codex"), ("gemini", "gemini"), ("zed", "zed"), ("goose", "goose"),
        ("continue", "continue"), ("opencode", "opencode"), ("mcphub", "mcphub"), ("roo", "roo"), ("cline", "cline"), ("librechat", "librechat"),
    ):  # fmt: skip
        if mark in words:
            return key
    return _by_shape(tree or {})


def _by_shape(tree: Mapping[str, Any]) -> str:
    for key, shape in (
        ("zed", "context_servers"),
        ("codex", "mcp_servers"),
        ("goose", "extensions"),
        ("vscode", "servers"),
        ("opencode", "mcp"),
    ):
        if isinstance(tree.get(shape), Mapping) and "mcpServers" not in tree:
            return key
    if isinstance(tree.get("mcpServers"), list):
        return "continue"
    servers = tree.get("mcpServers")
    entries = [one for one in servers.values() if isinstance(one, Mapping)] if isinstance(servers, Mapping) else []
    for key, word in (("gemini", "httpUrl"), ("windsurf", "serverUrl"), ("roo", "alwaysAllow")):
        if any(word in one for one in entries):
            return key
    return "claude-code" if "projects" in tree else ""
