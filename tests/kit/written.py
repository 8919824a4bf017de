"""What a client's own file says of a server, read as that client's documentation has it, and a client of the SDK that goes by it."""

import contextlib
import json
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml
from mcp import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from tests.kit.program import ENVIRONMENT
from tests.kit.sdk import connected

Json = dict[str, Any]
HOMES = {
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "claude-code": ".claude.json",
    "vscode": ".config/Code/User/mcp.json",
    "cursor": ".cursor/mcp.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "zed": ".config/zed/settings.json",
    "goose": ".config/goose/config.yaml",
    "continue": ".continue/config.yaml",
    "opencode": ".config/opencode/opencode.json",
    "lmstudio": ".lmstudio/mcp.json",
    "mcphub": ".config/mcphub/servers.json",
    "cline": ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
    "roo": ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
}
"""Where each client has its file in a home."""
SECTIONS = {
    "vscode": "servers",
    "codex": "mcp_servers",
    "zed": "context_servers",
    "goose": "extensions",
    "opencode": "mcp",
}
URLS = {"windsurf": "serverUrl", "gemini": "httpUrl", "goose": "uri"}
TYPES = {
    "claude-code": ("http", "stdio"),
    "vscode": ("http", "stdio"),
    "goose": ("streamable_http", "stdio"),
    "continue": ("streamable-http", "stdio"),
    "opencode": ("remote", "local"),
    "mcphub": ("streamable-http", "stdio"),
    "cline": ("streamableHttp", "stdio"),
    "roo": ("streamable-http", "stdio"),
}
"""What an entry has to call itself, with a URL and with a command, where the client does not find that out by itself."""


@dataclass
class Written:
    """One server as a client would reach it."""

    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Any]:
        """The SDK's client of it."""
        async with contextlib.AsyncExitStack() as stack:
            if self.command:
                parameters = StdioServerParameters(command=self.command[0], args=self.command[1:], env=ENVIRONMENT)
                transport: Any = stdio_client(parameters)
            else:
                http = await stack.enter_async_context(httpx2.AsyncClient(headers=self.headers))
                transport = streamable_http_client(self.url, http_client=http)
            yield await stack.enter_async_context(connected(transport))


def written(home: Path, client: str, name: str) -> Written:
    """The server of that name in the file of a client. Raises if the client could not make sense of it."""
    text = (home / HOMES[client]).read_text(encoding="utf-8-sig")
    listed = _document(client, text)[SECTIONS.get(client, "mcpServers")]
    entry = next(one for one in listed if one["name"] == name) if client == "continue" else listed[name]
    return _read(client, entry)


def _document(client: str, text: str) -> Json:
    if client == "codex":
        return tomllib.loads(text)
    if client in ("goose", "continue"):
        return yaml.safe_load(text)
    # Comments on lines of their own are all that these tests write.
    return json.loads("".join(line for line in text.splitlines() if not line.lstrip().startswith("//")))


def _read(client: str, entry: Json) -> Written:
    assert entry.get("enabled", True) is True
    assert not entry.get("disabled", False)
    url = entry.get(URLS.get(client, "url"), "")
    if client in TYPES:
        assert entry["type"] == TYPES[client][0 if url else 1]
    if url:
        assert client != "claude-desktop", "its file takes no addresses"
        assert "command" not in entry
        headers = entry.get("http_headers" if client == "codex" else "headers", {})
        if client == "continue":
            headers = entry.get("requestOptions", {}).get("headers", {})
        return Written(url, headers)
    if client == "opencode":
        return Written(command=entry["command"])
    return Written(command=[entry["cmd" if client == "goose" else "command"], *entry["args"]])
