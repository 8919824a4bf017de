"""How each known client is told of the mesh: a line, an entry of a file, or a link. Place: api, pure.

Source: each client's own documentation of its configuration. A key is never written into any of them: where the mesh asks for one, its place is.
"""

import base64
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

__all__ = ["PLACEHOLDER", "clients"]

PLACEHOLDER: Final = "YOUR_KEY"
"""What stands where the caller's key goes."""
VARIABLE: Final = "MESHPROXY_KEY"


def clients(name: str, url: str, *, needs_key: bool) -> list[dict[str, Any]]:
    """For each client: its id and title, and its ways, each with a kind (`command`, `file` or `link`), a text to copy or to open, and a note or a place."""
    return [
        {"id": id_, "title": title, "ways": make(name, url, PLACEHOLDER if needs_key else "")}
        for id_, title, make in _CLIENTS
    ]


Way = dict[str, Any]
Make = Callable[[str, str, str], list[Way]]
"""Of the mesh's name, its URL, and what stands for the key, "" where none is needed."""


def _command(text: str, note: str = "") -> Way:
    return {"kind": "command", "text": text, "note": note}


def _file(place: str, text: str, note: str = "") -> Way:
    return {"kind": "file", "place": place, "text": text, "note": note}


def _link(text: str, note: str = "") -> Way:
    return {"kind": "link", "text": text, "note": note}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _entry(url: str, key: str, **more: Any) -> dict[str, Any]:
    headers = {"headers": {"Authorization": f"Bearer {key}"}} if key else {}
    return {**more, "url": url, **headers}


def _bearer(key: str, option: str) -> str:
    return f' {option} "Authorization: Bearer {key}"' if key else ""


def _claude_code(name: str, url: str, key: str) -> list[Way]:
    line = f"claude mcp add --transport http {name} {url}{_bearer(key, '--header')}"
    entry = {"mcpServers": {name: _entry(url, key, type="http")}}
    return [
        _command(line, "Add --scope user for every project."),
        _file(".mcp.json", _json(entry), "Shared with the project."),
    ]


def _claude_desktop(name: str, url: str, key: str) -> list[Way]:
    arguments = ["-y", "mcp-remote", url, *(["--header", f"Authorization: Bearer {key}"] if key else [])]
    entry = {"mcpServers": {name: {"command": "npx", "args": arguments}}}
    return [
        _file(
            "claude_desktop_config.json",
            _json(entry),
            "Settings, Developer, Edit Config. It starts programs only, so mcp-remote is between; needs Node.",
        )
    ]


def _codex(name: str, url: str, key: str) -> list[Way]:
    line = f"codex mcp add {name} --url {url}" + (f" --bearer-token-env-var {VARIABLE}" if key else "")
    lines = [f"[mcp_servers.{json.dumps(name)}]", f"url = {json.dumps(url)}"]
    if key:
        lines.append(f'bearer_token_env_var = "{VARIABLE}"')
    note = f"Put the key into the variable {VARIABLE}." if key else ""
    return [_command(line, note), _file("~/.codex/config.toml", "\n".join(lines), note)]


def _gemini(name: str, url: str, key: str) -> list[Way]:
    line = f"gemini mcp add --transport http{_bearer(key, '--header')} {name} {url}"
    headers = {"headers": {"Authorization": f"Bearer {key}"}} if key else {}
    return [
        _command(line),
        _file("~/.gemini/settings.json", _json({"mcpServers": {name: {"httpUrl": url, **headers}}})),
    ]


def _cursor(name: str, url: str, key: str) -> list[Way]:
    entry = _entry(url, key)
    config = base64.b64encode(json.dumps(entry, separators=(",", ":")).encode()).decode()
    link = f"cursor://anysphere.cursor-deeplink/mcp/install?{urlencode({'name': name, 'config': config})}"
    return [_link(link, "Opens Cursor, which asks."), _file("~/.cursor/mcp.json", _json({"mcpServers": {name: entry}}))]


def _vscode(name: str, url: str, key: str) -> list[Way]:
    entry = _entry(url, key, type="http")
    told = json.dumps({"name": name, **entry}, separators=(",", ":"))
    return [
        _link(f"vscode:mcp/install?{quote(told, safe='')}", "Opens VS Code, which asks."),
        _command(f"code --add-mcp '{told}'"),
        _file(".vscode/mcp.json", _json({"servers": {name: entry}})),
    ]


def _goose(name: str, url: str, key: str) -> list[Way]:
    query = {"url": url, "type": "streamable_http", "id": name, "name": name, "description": f"The mesh {name}"}
    lines = [
        "extensions:",
        f"  {json.dumps(name)}:",
        "    enabled: true",
        "    type: streamable_http",
        f"    name: {json.dumps(name)}",
        f"    uri: {json.dumps(url)}",
        *([f'    headers: {{Authorization: "Bearer {key}"}}'] if key else []),
    ]
    ways = [_file("~/.config/goose/config.yaml", "\n".join(lines))]
    return ways if key else [_link(f"goose://extension?{urlencode(query)}", "Opens Goose, which asks."), *ways]


def _lm_studio(name: str, url: str, key: str) -> list[Way]:
    entry = _entry(url, key)
    config = base64.b64encode(json.dumps(entry, separators=(",", ":")).encode()).decode()
    return [
        _link(f"lmstudio://add_mcp?{urlencode({'name': name, 'config': config})}", "Opens LM Studio, which asks."),
        _file("~/.lmstudio/mcp.json", _json({"mcpServers": {name: entry}})),
    ]


def _windsurf(name: str, url: str, key: str) -> list[Way]:
    entry = _entry(url, key)
    entry["serverUrl"] = entry.pop("url")
    return [_file("~/.codeium/windsurf/mcp_config.json", _json({"mcpServers": {name: entry}}))]


def _zed(name: str, url: str, key: str) -> list[Way]:
    return [_file("~/.config/zed/settings.json", _json({"context_servers": {name: _entry(url, key)}}))]


def _opencode(name: str, url: str, key: str) -> list[Way]:
    return [_file("opencode.json", _json({"mcp": {name: _entry(url, key, type="remote", enabled=True)}}))]


def _other(name: str, url: str, key: str) -> list[Way]:
    return [_file("mcp.json", _json({"mcpServers": {name: _entry(url, key, type="http")}}), "What most clients read.")]


_CLIENTS: Final[tuple[tuple[str, str, Make], ...]] = (
    ("claude-code", "Claude Code", _claude_code),
    ("claude-desktop", "Claude Desktop", _claude_desktop),
    ("codex", "Codex", _codex),
    ("cursor", "Cursor", _cursor),
    ("gemini", "Gemini CLI", _gemini),
    ("goose", "Goose", _goose),
    ("lm-studio", "LM Studio", _lm_studio),
    ("opencode", "OpenCode", _opencode),
    ("vscode", "VS Code", _vscode),
    ("windsurf", "Windsurf", _windsurf),
    ("zed", "Zed", _zed),
    ("other", "Any other client", _other),
)
