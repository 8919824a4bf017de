"""What is wrong with keys and values, in words for whoever wrote the file. Pure.

No message quotes a value of `headers` or `env`.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic_core import ErrorDetails

from meshproxy.config.access import AuthConfig, JwtConfig, KeyConfig, Profile, Rule, Who
from meshproxy.config.cluster import ClusterConfig
from meshproxy.config.document import Item, Path
from meshproxy.config.login import AUTH_KEYS
from meshproxy.config.models import MeshConfig, MetricsConfig, ReloadConfig, ServerConfig, TlsConfig
from meshproxy.config.observe import CallsConfig, ObserveConfig
from meshproxy.config.sections import Breaker, Limits, Renaming, Retry, Selection, Timeouts
from meshproxy.config.upstream import RENAMED_KEYS, UpstreamDefaults, UpstreamSpec

TOP_KEYS: Final = (*MeshConfig.model_fields, "mcpServers", "defaults")
UPSTREAM_KEYS: Final = (*(key for key in UpstreamSpec.model_fields if key != "name"), "type", "disabled")
DEFAULT_KEYS: Final = (*UpstreamDefaults.model_fields, "type", "disabled")
SECRET_SECTIONS: Final = ("headers", "env")

_SYNONYMS: Final = {
    "servers": "upstreams",
    "serverUrl": "url",
    "httpUrl": "url",
    "uri": "url",
    "cmd": "command",
    "arguments": "args",
    "environment": "env",
    "workdir": "cwd",
    "working_directory": "cwd",
    "prefix": "namespace",
    "timeout": "timeouts",
    "retries": "retry",
    "circuit_breaker": "breaker",
    "resource_templates": "templates",
}
_KINDS: Final = {dict: "a mapping", list: "a list", bool: "a boolean", int: "a number", float: "a number", str: "text"}


def known_keys(path: Path) -> tuple[str, ...]:
    """The keys that the mapping at `path` may have; none if it may have any, or is none."""
    match path:
        case ():
            return TOP_KEYS
        case ("server",):
            return tuple(ServerConfig.model_fields)
        case ("server", "tls"):
            return tuple(TlsConfig.model_fields)
        case ("server", "metrics"):
            return tuple(MetricsConfig.model_fields)
        case ("server", "auth"):
            return tuple(AuthConfig.model_fields)
        case ("server", "auth", "keys", int()):
            return tuple(KeyConfig.model_fields)
        case ("server", "auth", "jwt", int()):
            return tuple(JwtConfig.model_fields)
        case ("access", int()):
            return tuple(Rule.model_fields)
        case ("access", int(), "who"):
            return tuple(Who.model_fields)
        case ("profiles", _):
            return tuple(Profile.model_fields)
        case ("profiles", _, "resources"):
            return tuple(Selection.model_fields)
        case ("observe",):
            return tuple(ObserveConfig.model_fields)
        case ("observe", "calls"):
            return tuple(CallsConfig.model_fields)
        case ("cluster",):
            return tuple(ClusterConfig.model_fields)
        case ("reload",):
            return tuple(ReloadConfig.model_fields)
        case ("defaults",):
            return DEFAULT_KEYS
        case ("upstreams", _):
            return UPSTREAM_KEYS
        case ("upstreams", _, "auth"):
            return tuple(dict.fromkeys(key for keys in AUTH_KEYS.values() for key in keys))
        case (*_, "timeouts"):
            return tuple(Timeouts.model_fields)
        case (*_, "limits"):
            return tuple(Limits.model_fields)
        case (*_, "breaker"):
            return tuple(Breaker.model_fields)
        case (*_, "retry"):
            return tuple(Retry.model_fields)
        case (*_, "templates"):
            return tuple(Selection.model_fields)
        case (*_, last) if last in RENAMED_KEYS:
            return tuple(Renaming.model_fields)
    return ()


def suggestion(key: str, path: Path) -> str | None:
    """What was probably meant by the unknown `key` of the mapping at `path`."""
    known = known_keys(path)
    if (synonym := _SYNONYMS.get(key)) in known:
        return f"did you mean {synonym!r}?"
    if path == ("defaults",) and key in UPSTREAM_KEYS:
        return "it belongs to a single upstream, and has no default"
    if key == "rename" and known == tuple(Selection.model_fields):
        if path[-1] != "templates":
            return "only tools and prompts have other names in a profile: remove rename"
        return "templates cannot be renamed, since their upstream would not know what clients make of the new ones: remove rename"
    for section in known:
        if key in known_keys((*path, section)):
            return f"it belongs under {section!r}"
    if close := get_close_matches(key, known, n=1, cutoff=0.6):
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(known)}" if known else None


def describe(error: ErrorDetails, item: Item) -> tuple[str, str | None]:
    """The message, and the hint if there is one, for what pydantic said of `item`."""
    context: Mapping[str, Any] = error.get("ctx", {})
    if item.value is None and error["type"] != "refused":
        return "has no value", "give it one, or remove the key"
    match error["type"]:
        case "string_type":
            return _not_text(item)
        case "bool_type":
            meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(item.text.lower())
            return _instead("true or false", item), f"write {meant}" if meant else None
        case "int_type" | "int_from_float":
            return _instead("a whole number", item), None
        case "tuple_type":
            return _instead("a list", item), _listed(item)
        case "dict_type" | "model_type":
            return _instead("a mapping of keys to values", item), None
        case "literal_error":
            return f"must be {context['expected']}", _closest(item, str(context["expected"]))
        case "string_too_short":
            return "cannot be empty", None
        case "string_too_long":
            return f"is longer than {context['max_length']} characters", None
        case "greater_than_equal":
            return f"must be at least {context['ge']}", None
        case "less_than_equal":
            return f"must be at most {context['le']}", None
        case "value_error":
            return halves(str(context["error"]))
        case "missing":
            return f"needs {error['loc'][-1]}", None
        case "refused":
            return halves(str(context["message"]))
    return error["msg"], None  # pragma: no cover  # no other type is in the models


def _instead(wanted: str, item: Item) -> str:
    return f"must be {wanted}, not {_KINDS[type(item.value)]}"


def _not_text(item: Item) -> tuple[str, str]:
    if isinstance(item.value, (dict, list)):
        return _instead("text", item), "write one value"
    secret = any(section in item.path[:-1] for section in SECRET_SECTIONS)
    return _instead("text", item), "put it in quotes" if secret else f'put it in quotes: "{item.text}"'


def _listed(item: Item) -> str | None:
    if not isinstance(item.value, str) or len(item.text) > 60:
        return None
    return f"write {json.dumps(item.text.split(), ensure_ascii=False)}"


def _closest(item: Item, expected: str) -> str | None:
    choices = [choice for choice in expected.split("'")[1::2] if choice]
    close = get_close_matches(str(item.value), choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else None


def halves(message: str) -> tuple[str, str | None]:
    """A message and its hint, which a semicolon parts."""
    text, _, hint = message.partition("; ")
    return text, hint or None
