"""Tools whose schemas the provider of a model would refuse, mostly with the whole request. Place: doctor.

What the mesh passes on is the upstream's own, and right for MCP; models take less of JSON Schema than it has. The rules are those of which providers tell by errors of
their APIs: an object at the top, without `anyOf` and the like (Anthropic, OpenAI); valid JSON Schema 2020-12 (Anthropic); names of properties
of 64 plain characters (Anthropic); `items` in each array (OpenAI, Gemini); references within the schema alone; 1,024 characters of description (OpenAI).
"""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from meshproxy.catalog.snapshot import Snapshot
from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding, enumerated, place_of
from meshproxy.kinds import Kind

__all__ = ["refusals", "refused"]

LONGEST_DESCRIPTION: Final = 1024
_AT_TOP: Final = ("oneOf", "anyOf", "allOf")
_PROPERTY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_IN_MAPPINGS: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_IN_LISTS: Final = ("oneOf", "anyOf", "allOf", "prefixItems")
_ALONE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_DEEPEST: Final = 64


def refused(config: MeshConfig, snapshot: Snapshot) -> Iterable[Finding]:
    """A finding for each tool and rule that its schema breaks, and one for each upstream with descriptions that are too long."""
    for spec in config.enabled:
        place = place_of(config, spec.name)
        long = []
        for name, route in snapshot.routes[Kind.TOOL].items():
            if route.mount.name != spec.name or route.component is None:
                continue
            definition = route.component.listed()
            if len(str(definition.get("description") or "")) > LONGEST_DESCRIPTION:
                long.append(name)
            for why in refusals(definition.get("inputSchema")):
                remedy = f"mend it at the upstream, or leave the tool out (tools: {{exclude: [{route.origin}]}})"
                yield Finding("schema", place, f"the schema of {name} {why}", remedy)
        if long:
            what = f"descriptions are longer than {LONGEST_DESCRIPTION} characters, which OpenAI refuses: {enumerated(long)}"
            yield Finding(
                "schema", place, what, "shorten them at the upstream, or leave the tools out (tools: {exclude: ...})"
            )


def refusals(schema: Any) -> Iterator[str]:
    """Why models would not take a schema: clauses without their subject, each rule once."""
    if not isinstance(schema, Mapping):
        yield "is no object"
        return
    if schema.get("type") != "object":
        yield "has no type: object at its top"
    if found := [key for key in _AT_TOP if key in schema]:
        yield f"has {' and '.join(found)} at its top, which Anthropic and OpenAI refuse"
    told: set[str] = set()
    for path, part in _parts(schema):
        for why in _wrong(schema, path, part):
            rule = why.partition(" at ")[0]
            if rule not in told:
                told.add(rule)
                yield why
    if (flaw := _invalid(schema)) is not None:
        yield flaw


def _wrong(schema: Mapping[str, Any], path: str, part: Mapping[str, Any]) -> Iterator[str]:
    properties = part.get("properties")
    for name in properties if isinstance(properties, Mapping) else ():
        if _PROPERTY.fullmatch(name) is None:
            yield f"has a property whose name Anthropic refuses at {path}: {name[:80]!r}"
    kind = part.get("type")
    if (kind == "array" or (isinstance(kind, list) and "array" in kind)) and not {"items", "prefixItems"} & part.keys():
        yield f"has an array without items, which OpenAI and Gemini refuse, at {path}"
    if part.get("enum") == []:
        yield f"has an enum without a value at {path}"
    reference = part.get("$ref")
    if isinstance(reference, str):
        if not reference.startswith("#"):
            yield f"refers to another document, which models do not read, at {path}"
        elif not _leads(schema, reference):
            yield f"refers to {reference}, which is not there, at {path}"


def _parts(schema: Any, path: str = "#", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each schema within a schema, with where it stands."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    yield path, schema
    for key in _IN_MAPPINGS:
        inner = schema.get(key)
        for name, one in inner.items() if isinstance(inner, Mapping) else ():
            yield from _parts(one, f"{path}/{key}/{name}", depth + 1)
    for key in _IN_LISTS:
        inner = schema.get(key)
        for index, one in enumerate(inner if isinstance(inner, list) else ()):
            yield from _parts(one, f"{path}/{key}/{index}", depth + 1)
    for key in _ALONE:
        yield from _parts(schema.get(key), f"{path}/{key}", depth + 1)


def _leads(schema: Any, reference: str) -> bool:
    """Whether a JSON pointer (RFC 6901), or an anchor, is in a schema."""
    pointer = reference[1:]
    if pointer and not pointer.startswith("/"):
        return any(pointer in (part.get("$anchor"), part.get("$dynamicAnchor")) for _, part in _parts(schema))
    value = schema
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return False
    return True


def _invalid(schema: Mapping[str, Any]) -> str | None:
    """What is no JSON Schema of 2020-12 in it."""
    # Heavy, and for this alone.
    library: Any = importlib.import_module("jsonschema")
    try:
        library.Draft202012Validator.check_schema(dict(schema))
    except library.SchemaError as error:
        where = "/".join(("#", *map(str, error.absolute_path)))
        return f"is no valid JSON Schema (2020-12), which Anthropic wants, at {where}: {error.message[:120]}"
    except RecursionError:
        return f"is deeper than {_DEEPEST} levels"
    return None
