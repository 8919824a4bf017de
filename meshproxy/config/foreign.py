"""Files of other programs that somebody wants to have served: whose they are, and what in them only their program can fill in. Pure.

A file with `mcpServers` by name is served as it is. What else lists servers is `meshproxy import`'s, and is answered with the command, and so are keys that say in other
words what would have a counterpart here.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from meshproxy.config.document import Item

__all__ = [
    "COUNTERPARTS",
    "SPELLINGS",
    "URL_SPELLINGS",
    "headless",
    "is_heeded",
    "own_keys",
    "owner_of",
    "placeholder_in",
    "transport_of",
    "useless",
]

SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "command": ("cmd",),
    "args": ("arguments",),
    "env": ("environment", "envs"),
    "cwd": ("workingDirectory",),
    "url": ("httpUrl", "serverUrl", "uri"),
    "headers": ("http_headers",),
}
"""What others call our keys, and mean the same."""
URL_SPELLINGS: Final = ("httpUrl", "serverUrl")
COUNTERPARTS: Final = frozenset(
    {
        *(word for words in SPELLINGS.values() for word in words),
        *("includeTools", "enabled_tools", "allowedTools", "available_tools"),
        *("excludeTools", "disabled_tools", "disabledTools"),
        *("timeout", "timeoutMs", "tool_timeout_sec", "startup_timeout_sec", "startup_timeout_ms"),
        *("env_vars", "env_keys", "envFile", "isActive", "transportType"),
        *("bearer_token_env_var", "bearerTokenEnvVar", "bearerToken", "apiKey", "env_http_headers", "requestOptions"),
        *("headersHelper", "oauth"),
    }
)
"""Keys of others that say something that this program can be told, too."""
_TRANSPORTS: Final = {
    "local": "stdio",
    "http": "streamable-http",
    "remote": "streamable-http",
    "streamablehttp": "streamable-http",
    "streamable_http": "streamable-http",
}
_OWNERS: Final = (
    ("amp.mcpServers", dict, "Amp"),
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
            servers = tree[key].mapping.get("servers") if key == "mcp" else None
            return "VS Code" if servers is not None and isinstance(servers.value, dict) else owner
    return None


def headless(tree: Mapping[str, Item]) -> str | None:
    """What is wrong with a file that has servers, and no key above them; None if it is none."""
    if _is_server(tree):
        return 'is one server without a name; write {"mcpServers": {"NAME": ...}} around it'
    if tree and all(_is_server(item.mapping) for item in tree.values()):
        return 'lists servers without a key above them; write {"mcpServers": ...} around them'
    return None


def _is_server(tree: Mapping[str, Item]) -> bool:
    return any(key in tree and isinstance(tree[key].value, str) for key in ("command", "url", *URL_SPELLINGS))


def is_heeded(key: str, item: Item) -> bool | None:
    """Of a key of a server: whether `meshproxy import` would make something of it. None if it is our own key, in our own way."""
    if key in COUNTERPARTS:
        return True
    if key in ("tools", "resources", "prompts"):
        ours = isinstance(item.value, dict) and item.value.keys() <= {"include", "exclude", "rename"}
        is_all = isinstance(item.value, list) and [one.value for one in item.value] in ([], ["*"])
        return None if ours or item.value is None else not is_all
    if key == "auth" and isinstance(item.value, dict) and "CLIENT_ID" in item.value:
        return True
    return None


def transport_of(item: Item) -> Item:
    """What others call a transport, in our words."""
    if not isinstance(item.value, str):
        return item
    word = item.value.lower()
    return item.with_value(_TRANSPORTS.get(word, word))


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
