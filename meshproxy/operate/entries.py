"""One server as the file of another program lists it, made an entry of `upstreams`. Place: operate; pure.

The programs say much the same in many words; the table `_WORDS` has them. What has no counterpart is said by name.
"""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from meshproxy.config.foreign import COUNTERPARTS, SPELLINGS
from meshproxy.config.secrecy import is_telling
from meshproxy.operate.found import Found, Source
from meshproxy.operate.placeholders import NoCounterpartError, translated

__all__ = ["found_of"]

_WORDS: Final = {key: (*others, key) for key, others in SPELLINGS.items()}
_INCLUDE: Final = ("includeTools", "enabled_tools", "allowedTools", "available_tools")
_EXCLUDE: Final = ("excludeTools", "disabled_tools", "disabledTools")
_QUIET: Final = frozenset(
    {
        *COUNTERPARTS,
        *SPELLINGS,
        *("type", "transport", "auth", "name", "enabled", "disabled", "source", "trust", "tools", "$schema"),
        *("alwaysAllow", "autoApprove", "autoAllow", "default_tools_approval_mode"),
        *("iconPath", "chatMenu", "serverInstructions", "description", "bundled", "display_name", "owner", "gallery"),
        *("version", "title", "startup", "dev", "settings", "provider", "providerUrl", "logoUrl", "tags"),
    }
)
"""Keys that are taken over, or that say nothing of how the server is reached."""
_SECONDS: Final = {"goose": 1.0, "roo": 1.0, "cline": 1.0, "continue": 0.001, "codex": 1.0}
"""What one of `timeout` is, in seconds, where it is no thousandth."""


def found_of(name: str, raw: Any, source: Source) -> Found:
    """The entry for a server, whatever words its file has for it."""
    found = Found(name, source)
    if not isinstance(raw, Mapping):
        found.skipped = "is no mapping"
        return found
    entry = found.entry
    _how(found, raw)
    if found.skipped is not None:
        return found
    _enabled(found, raw)
    _tools(found, raw)
    _timeouts(found, raw)
    for key in raw:
        if key not in _QUIET and raw[key] not in (None, "", [], {}):
            found.notes.append(f"{key} has no counterpart, and is left out")
    try:
        found.entry = {key: _put_in(found, key, value) for key, value in entry.items()}
    except NoCounterpartError as error:
        found.entry = {}
        found.skipped = f"{error} is filled in by {source.title} itself, and has no counterpart here"
    return found


def _first(raw: Mapping[str, Any], key: str) -> Any:
    return next((raw[word] for word in _WORDS[key] if raw.get(word) not in (None, "", [], {})), None)


def _how(found: Found, raw: Mapping[str, Any]) -> None:
    """How it is reached or run."""
    kind = str(raw.get("type") or raw.get("transport") or raw.get("transportType") or "").lower()
    if isinstance(raw.get("transport"), Mapping):
        kind = str(raw["transport"].get("type", "")).lower()
        raw = {**raw, **raw["transport"]}
    command, url = _first(raw, "command"), _first(raw, "url")
    if kind in ("ws", "websocket") or str(url or "").startswith(("ws://", "wss://")):
        found.skipped = (
            "is reached by WebSocket (ws), which is no transport of MCP; see whether it has an address for http"
        )
        return
    if kind in ("builtin", "platform", "frontend", "inline_python"):
        found.skipped = f"is {kind}, a part of {found.source.title} itself"
        return
    if command is None and url is None:
        off = raw.get("disabled") is True or raw.get("enabled") is False
        found.skipped = "is disabled, and has neither command nor url" if off else "has neither command nor url"
        return
    entry = found.entry
    if command is not None:
        words, environment = _command(command)
        entry["command"] = words[0]
        args = _first(raw, "args")
        if args := [*words[1:], *(_words(args) if isinstance(args, str) else _texts(args))]:
            entry["args"] = args
        env = {**environment, **_pairs(_first(raw, "env"))}
        for variable in _texts(raw.get("env_vars")) + _texts(raw.get("env_keys")):
            # They are handed on if they are set; a secret that is not is missed.
            env.setdefault(variable, f"${{{variable}}}" if is_telling(variable) else f"${{{variable}:-}}")
        if env:
            entry["env"] = env
        if cwd := _first(raw, "cwd"):
            entry["cwd"] = str(cwd)
        elif found.source.starts_there:
            entry["cwd"] = "${workspaceFolder}"
        if raw.get("envFile"):
            found.notes.append("envFile is not read here; put what the server needs of it under env")
        return
    entry["url"] = str(url)
    is_sse = kind == "sse" or (
        found.source.client == "gemini" and "httpUrl" not in raw and "url" in raw and kind != "http"
    )
    if is_sse:
        entry["transport"] = "sse"
    if headers := _headers(found, raw):
        entry["headers"] = headers
    if helper := raw.get("headersHelper"):
        entry["auth"] = {"type": "headers", "command": str(helper)}
    if (
        isinstance(oauth := raw.get("oauth") or raw.get("auth"), Mapping)
        and oauth.get("enabled", True) is not False
        and "auth" not in entry
    ):
        entry["auth"] = _oauth(oauth)


def _command(command: Any) -> tuple[list[str], dict[str, str]]:
    """The words of a command line, and variables where they are written with it (Zed)."""
    if isinstance(command, Mapping):
        words = [str(command.get("path") or command.get("command") or ""), *_texts(command.get("args"))]
        return words, _pairs(command.get("env"))
    if isinstance(command, list):
        return [str(word) for word in command], {}
    return _line(str(command)), {}


def _line(command: str) -> list[str]:
    """A command, and its arguments if they stand with it: `npx -y it`. A path may have blanks in it."""
    first = command.partition(" ")[0]
    return [command] if "/" in first or "\\" in first else _words(command) or [command]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _headers(found: Found, raw: Mapping[str, Any]) -> dict[str, str]:
    headers = _pairs(_first(raw, "headers"))
    if isinstance(options := raw.get("requestOptions"), Mapping):
        headers |= _pairs(options.get("headers"))
    headers |= {name: f"${{{variable}}}" for name, variable in _pairs(raw.get("env_http_headers")).items()}
    if token := raw.get("bearer_token_env_var") or raw.get("bearerTokenEnvVar"):
        headers["Authorization"] = f"Bearer ${{{token}}}"
    if key := raw.get("apiKey") or raw.get("bearerToken"):
        headers["Authorization"] = f"Bearer {key}"
    for name, value in list(headers.items()):
        try:
            translated(value, found.source.client, found.source.workspace)
        except NoCounterpartError as error:
            del headers[name]
            found.notes.append(
                f"header {name}: {error} is filled in by {found.source.title} itself; the header is left out"
            )
    return headers


def _oauth(oauth: Mapping[str, Any]) -> Any:
    words = {
        "client_id": ("clientId", "client_id", "CLIENT_ID"),
        "client_secret": ("clientSecret", "client_secret", "CLIENT_SECRET"),
        "scopes": ("scopes",),
    }
    auth: dict[str, Any] = {"type": "oauth"}
    for key, spelled in words.items():
        value = next((oauth[word] for word in spelled if oauth.get(word)), None)
        if value is not None:
            auth[key] = value
    if isinstance(port := oauth.get("callbackPort"), int):
        auth["redirect_port"] = port
    return auth if len(auth) > 1 else "oauth"


def _enabled(found: Found, raw: Mapping[str, Any]) -> None:
    if raw.get("disabled") is True or raw.get("enabled") is False or raw.get("isActive") is False:
        found.entry["enabled"] = False


def _tools(found: Found, raw: Mapping[str, Any]) -> None:
    """Which tools are served. Lists and switches of tools by name; what is always allowed is the client's own business."""
    include = next((raw[key] for key in _INCLUDE if raw.get(key)), None)
    exclude = _texts(next((raw[key] for key in _EXCLUDE if raw.get(key)), None))
    if isinstance(tools := raw.get("tools"), Mapping):
        exclude += [name for name, one in tools.items() if isinstance(one, Mapping) and one.get("enabled") is False]
    elif isinstance(tools, list) and tools and all(isinstance(one, str) for one in tools):
        include = include or tools
    section: dict[str, Any] = {}
    if (names := _texts(include)) and names != ["*"]:
        section["include"] = names
    if exclude:
        section["exclude"] = exclude
    if section:
        found.entry["tools"] = section


def _timeouts(found: Found, raw: Mapping[str, Any]) -> None:
    section: dict[str, str] = {}
    unit = _SECONDS.get(found.source.client, 0.001)
    for key, value, of in (
        ("call", raw.get("tool_timeout_sec"), 1.0),
        ("call", raw.get("timeout"), unit),
        ("connect", raw.get("startup_timeout_sec"), 1.0),
        ("connect", raw.get("startup_timeout_ms"), 0.001),
    ):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            seconds = value * of
            section.setdefault(key, f"{seconds:g}s" if seconds >= 1 else f"{max(1, round(seconds * 1000))}ms")
    if section:
        found.entry["timeouts"] = section


def _put_in(found: Found, key: str, value: Any) -> Any:
    """A value with references of this program in place of the placeholders of the other."""
    if key in ("tools", "timeouts", "enabled", "transport"):
        return value
    if isinstance(value, Mapping):
        return {name: _put_in(found, name, one) for name, one in value.items()}
    if isinstance(value, list):
        return [_put_in(found, "", one) for one in value]
    if isinstance(value, str):
        return translated(value, found.source.client, found.source.workspace)
    return value


def _texts(value: Any) -> list[str]:
    if value is None or isinstance(value, Mapping):
        return []
    if isinstance(value, Iterable) and not isinstance(value, str):
        # Codex may say of a variable where it comes from.
        return [str(one.get("name", "")) if isinstance(one, Mapping) else _text(one) for one in value]
    return [_text(value)]


def _pairs(value: Any) -> dict[str, str]:
    return (
        {str(name): _text(one) for name, one in value.items() if one is not None} if isinstance(value, Mapping) else {}
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
