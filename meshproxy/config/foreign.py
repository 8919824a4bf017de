"""Files of other programs that somebody wants to have served: whose they are, and what in them only their program can fill in. Pure.

A file with `mcpServers` by name is served as it is. What else lists servers is `meshproxy import`'s, and is answered with the command.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from meshproxy.config.document import Item

__all__ = ["URL_SPELLINGS", "own_keys", "owner_of", "placeholder_in", "useless"]

URL_SPELLINGS: Final = ("serverUrl", "httpUrl")
_OWNERS: Final = (
    ("context_servers", dict, "Zed"),
    ("mcp_servers", dict, "Codex"),
    ("mcpServers", list, "Continue"),
    ("extensions", dict, "Goose"),
    ("mcp", dict, "OpenCode"),
    ("servers", dict, "VS Code"),
    ("packages", list, "an MCP registry"),
    ("remotes", list, "an MCP registry"),
)
_PLACEHOLDER: Final = re.compile(
    r"\$\{\{[^}]*\}\}|\{\{\s*[A-Z][A-Z0-9_]+\s*\}\}"
    r"|\$\{(?:workspaceFolder\w*|workspaceRoot|userHome|pathSeparator|/|(?:workspaceFolder|input|command|config|extensionInstallFolder):[^}]*)\}"
)
_SHAPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "name": str, "instructions": str, "separator": str, "state": str, "server": dict, "reload": dict, "access": list, "profiles": dict,
    "defaults": dict, "observe": dict, "pins": dict,
}  # fmt: skip
"""What a key of this program's holds; under the same name, another's may hold anything."""


def owner_of(tree: Mapping[str, Item], *, is_json: bool) -> str | None:
    """Whose file it is, if its servers are listed as only that program does; None for what is served."""
    if "upstreams" in tree or isinstance(getattr(tree.get("mcpServers"), "value", None), dict):
        return None
    for key, kind, owner in _OWNERS:
        if (
            key in tree
            and isinstance(tree[key].value, kind)
            and (is_json or key not in ("servers", "packages", "remotes"))
        ):
            return owner
    return None


def own_keys(tree: Mapping[str, Item], known: tuple[str, ...]) -> tuple[str, ...]:
    """Of an mcpServers file, the keys at its top that are its owner's own."""
    return tuple(
        key
        for key, item in tree.items()
        if key not in known or (key in _SHAPES and not isinstance(item.value, (_SHAPES[key], type(None))))
    )


def placeholder_in(text: str) -> str | None:
    """What only another program can fill in, as it is written."""
    found = _PLACEHOLDER.search(text)
    return found[0] if found else None


def useless(keys: Mapping[str, Any]) -> str | None:
    """Why a server of an mcpServers file has no counterpart here; None if it has."""

    def value(key: str) -> Any:
        item = keys.get(key)
        return item.value if isinstance(item, Item) else None

    url = value("url") or next(filter(None, map(value, URL_SPELLINGS)), None)
    if (value("transport") or value("type")) in ("ws", "websocket") or (
        isinstance(url, str) and url.startswith(("ws://", "wss://"))
    ):
        return "is reached by WebSocket (ws), which is no transport of MCP, and is left out; see whether it has an address for http"
    if value("command") in (None, "") and url in (None, "") and "urls" not in keys:
        return "has neither command nor url, and is left out"
    return None
