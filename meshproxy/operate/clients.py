"""The table of the programs that are known: whoever writes their files, reads them, or tells a person of them goes by it. Place: operate; pure.

Source: each client's own documentation of its configuration, of its command line and of its links.
"""

import base64
import json
import shlex
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

from meshproxy.operate.client import Client, Entry, Write

__all__ = ["CLIENTS", "OTHER", "VARIABLE"]

VARIABLE: Final = "MESHPROXY_KEY"
"""The variable for a client that takes a key from nowhere else."""
_CODE: Final = "{config}/Code/User/globalStorage"


def _remote(key: str = "url", **more: Any) -> Write:
    return lambda _, entry: entry.remote(key, **more)


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


# Lines and links


def _options(entry: Entry, option: str) -> str:
    return "".join(f' {option} "{name}: {value}"' for name, value in entry.headers.items())


def _claude_line(name: str, entry: Entry) -> str:
    return f"claude mcp add --transport http {shlex.quote(name)} {shlex.quote(entry.url)}{_options(entry, '--header')}"


def _codex_line(name: str, entry: Entry) -> str:
    key = f" --bearer-token-env-var {VARIABLE}" if entry.headers else ""
    return f"codex mcp add {shlex.quote(name)} --url {shlex.quote(entry.url)}{key}"


def _gemini_line(name: str, entry: Entry) -> str:
    return f"gemini mcp add --transport http{_options(entry, '--header')} {shlex.quote(name)} {shlex.quote(entry.url)}"


def _vscode_told(name: str, entry: Entry) -> str:
    return json.dumps({"name": name, **entry.remote(type="http")}, separators=(",", ":"))


def _vscode_line(name: str, entry: Entry) -> str:
    return f"code --add-mcp {shlex.quote(_vscode_told(name, entry))}"


def _vscode_link(name: str, entry: Entry) -> str:
    return f"vscode:mcp/install?{quote(_vscode_told(name, entry), safe='')}"


def _installing(base: str) -> Callable[[str, Entry], str]:
    def link(name: str, entry: Entry) -> str:
        config = base64.b64encode(json.dumps(entry.remote(), separators=(",", ":")).encode()).decode()
        return f"{base}?{urlencode({'name': name, 'config': config})}"

    return link


def _goose_link(name: str, entry: Entry) -> str:
    if entry.headers:
        return ""
    query = {"url": entry.url, "type": "streamable_http", "id": name, "name": name, "description": f"The mesh {name}"}
    return f"goose://extension?{urlencode(query)}"


_MCP_SERVERS: Final = ("mcpServers",)

CLIENTS: Final = {
    client.key: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            ("{config}/Claude/claude_desktop_config.json",),
            (),
            _MCP_SERVERS,
            lambda _, entry: entry.program,
            only_programs=True,
            shown="claude_desktop_config.json",
            file_note="Settings, Developer, Edit Config. It starts programs only: mcp-remote is between, and needs Node. "
            "On the machine of the mesh, meshproxy connect has it start the mesh itself.",
        ),
        Client(
            "claude-code",
            "Claude Code",
            ("~/.claude.json",),
            (".mcp.json",),
            _MCP_SERVERS,
            _remote(type="http"),
            line=_claude_line,
            line_note="Add --scope user for every project.",
            shown=".mcp.json",
            file_note="Shared with the project.",
        ),
        Client(
            "vscode",
            "VS Code",
            ("{config}/Code/User/mcp.json",),
            (".vscode/mcp.json",),
            ("servers",),
            _remote(type="http"),
            line=_vscode_line,
            link=_vscode_link,
            shown=".vscode/mcp.json",
        ),
        Client(
            "cursor",
            "Cursor",
            ("~/.cursor/mcp.json",),
            (".cursor/mcp.json",),
            _MCP_SERVERS,
            _remote(),
            link=_installing("cursor://anysphere.cursor-deeplink/mcp/install"),
            shown="~/.cursor/mcp.json",
        ),
        Client(
            "windsurf",
            "Windsurf",
            ("~/.codeium/windsurf/mcp_config.json",),
            (),
            _MCP_SERVERS,
            _remote("serverUrl"),
            shown="~/.codeium/windsurf/mcp_config.json",
        ),
        Client(
            "codex",
            "Codex",
            ("{codex}/config.toml",),
            (".codex/config.toml",),
            ("mcp_servers",),
            _codex,
            line=_codex_line,
            line_note=f"A key is taken from the variable {VARIABLE}.",
            shown="~/.codex/config.toml",
        ),
        Client(
            "gemini",
            "Gemini CLI",
            ("~/.gemini/settings.json",),
            (".gemini/settings.json",),
            _MCP_SERVERS,
            _remote("httpUrl"),
            line=_gemini_line,
            shown="~/.gemini/settings.json",
        ),
        Client(
            "zed",
            "Zed",
            ("{xdg}/zed/settings.json",),
            (".zed/settings.json",),
            ("context_servers",),
            _remote(),
            shown="~/.config/zed/settings.json",
        ),
        Client(
            "goose",
            "Goose",
            ("{xdg}/goose/config.yaml",),
            (),
            ("extensions",),
            _goose,
            link=_goose_link,
            shown="~/.config/goose/config.yaml",
        ),
        Client(
            "continue",
            "Continue",
            ("~/.continue/config.yaml",),
            (".continue/mcpServers/*.yaml",),
            _MCP_SERVERS,
            _continue,
            listed=True,
            shown="~/.continue/config.yaml",
        ),
        Client(
            "opencode",
            "OpenCode",
            ("{xdg}/opencode/opencode.json", "{xdg}/opencode/opencode.jsonc"),
            ("opencode.json", "opencode.jsonc"),
            ("mcp",),
            _opencode,
            shown="opencode.json",
        ),
        Client(
            "lmstudio",
            "LM Studio",
            ("~/.lmstudio/mcp.json",),
            (),
            _MCP_SERVERS,
            _remote(),
            link=_installing("lmstudio://add_mcp"),
            shown="~/.lmstudio/mcp.json",
        ),
        Client(
            "mcphub",
            "mcphub",
            ("{xdg}/mcphub/servers.json",),
            ("mcp_settings.json", ".mcphub/servers.json"),
            _MCP_SERVERS,
            _remote(type="streamable-http"),
            shown="mcp_settings.json",
        ),
        Client(
            "cline",
            "Cline",
            (f"{_CODE}/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",),
            (),
            _MCP_SERVERS,
            _remote(type="streamableHttp"),
            shown="cline_mcp_settings.json",
        ),
        Client(
            "roo",
            "Roo Code",
            (f"{_CODE}/rooveterinaryinc.roo-cline/settings/mcp_settings.json",),
            (".roo/mcp.json",),
            _MCP_SERVERS,
            _remote(type="streamable-http"),
            shown=".roo/mcp.json",
        ),
    )
}
"""By key."""

OTHER: Final = Client(
    "other",
    "Any other client",
    (),
    (),
    _MCP_SERVERS,
    _remote(type="http"),
    shown="mcp.json",
    file_note="What most clients read.",
)
"""What a person is told of a program that is none of them."""
