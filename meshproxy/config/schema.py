"""The JSON Schema of the config file (draft 2020-12), made from the models, for editors to complete and explain the keys.

What the models do not know of the file is put in here: `defaults`, the other spellings `mcpServers`, `type` and `disabled`, and that
an upstream has one of `command`, `url` and `urls`. A schema allows what `load` allows, except for references where a word of a fixed
set is wanted, where completion is worth more.
"""

import json
from typing import Any, Final

from meshproxy.config.models import MeshConfig
from meshproxy.config.units import format_duration, format_size
from meshproxy.config.upstream import COMMAND_KEYS, URL_KEYS, UpstreamDefaults

_ORDER: Final = (*COMMAND_KEYS, *URL_KEYS)
_SPELLINGS: Final = {
    "type": {"enum": ["streamable-http", "http", "sse", "stdio"], "description": "Another spelling of transport."},
    "disabled": {
        "anyOf": [{"type": "boolean"}],
        "default": False,
        "description": "Another spelling: true is enabled: false.",
    },
}


def json_schema() -> dict[str, Any]:
    """The schema as a dictionary of its own."""
    schema = _tidied(MeshConfig.model_json_schema())
    definitions = schema.pop("$defs")
    upstream = definitions.pop("UpstreamSpec")
    upstream["properties"].pop("name")
    upstream.pop("required")
    upstream["properties"] = {**_in_order(upstream["properties"]), **_SPELLINGS}
    upstream["oneOf"] = [{"required": ["command"]}, {"required": ["url"]}, {"required": ["urls"]}]
    server = {
        **upstream,
        "additionalProperties": True,
        "description": "An entry of an mcpServers file. Keys that only other clients know are ignored, with a warning.",
    }
    shared = _tidied(UpstreamDefaults.model_json_schema())
    shared.pop("$defs")
    shared["properties"] = {**_in_order(shared["properties"]), **_SPELLINGS}
    definitions = {**definitions, "Upstream": upstream, "McpServer": server, "Defaults": shared}

    properties = schema["properties"]
    upstreams = properties.pop("upstreams")
    names = {"type": "object", "propertyNames": {"minLength": 1, "maxLength": 64}}
    defaults = "Any key of an upstream but command, args, url and urls: what holds for every upstream that does not say otherwise."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "meshproxy",
        "description": "Many MCP servers behind one endpoint. Values may refer to ${VAR}, ${VAR:-default}, ${env:VAR}, "
        "${file:path}, ${cmd:program ...} and ${keyring:service/name}; $$ is a dollar.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string", "description": "Where an editor finds this schema. Ignored."},
            **properties,
            "defaults": {"$ref": "#/$defs/Defaults", "description": defaults},
            "upstreams": {
                **names,
                "description": upstreams["description"],
                "additionalProperties": {"$ref": "#/$defs/Upstream"},
            },
            "mcpServers": {
                **names,
                "description": "Another spelling of upstreams, as other MCP clients have it.",
                "additionalProperties": {"$ref": "#/$defs/McpServer"},
            },
        },
        "oneOf": [{"required": ["upstreams"]}, {"required": ["mcpServers"]}],
        "$defs": dict(sorted(definitions.items())),
    }


def schema_text() -> str:
    """The schema as the text of `schemas/mesh.schema.json`."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _in_order(properties: dict[str, Any]) -> dict[str, Any]:
    """What says where an upstream is, first."""
    return {key: properties[key] for key in (*_ORDER, *properties) if key in properties}


def _tidied(schema: Any, *, names: bool = False) -> Any:
    """Without pydantic's titles and Python's None, and with defaults as one would write them.

    `names`: the keys of this mapping are names that we chose, not words of JSON Schema.
    """
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidied(value, names=key in ("properties", "$defs")) for key, value in schema.items()}
    if names:
        return tidy
    tidy.pop("title", None)
    choices = [choice for choice in tidy.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1 and len(tidy["anyOf"]) == 2:
        tidy = {**{key: value for key, value in tidy.items() if key != "anyOf"}, **choices[0]}
    if "default" in tidy:
        default = _written_default(tidy)
        if default in (None, "", {}) or isinstance(default, dict):
            tidy.pop("default")
        else:
            tidy["default"] = default
    return tidy


def _written_default(schema: dict[str, Any]) -> Any:
    default, kinds = schema["default"], schema.get("type")
    if kinds == ["string", "number"]:
        return format_duration(default)
    if kinds == ["string", "integer"]:
        return format_size(default)
    return default
