"""Whose file one is, by its place, its name or its shape. Place: operate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshproxy.operate.client import expanded
from meshproxy.operate.clients import CLIENTS

__all__ = ["client_of"]


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
    if isinstance(nested := tree.get("mcp"), Mapping) and isinstance(nested.get("servers"), Mapping):
        return "vscode"
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
