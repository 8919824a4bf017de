"""`meshproxy call`: one tool, prompt or resource, by its public name."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from meshproxy.cli.entry import Failure, note
from meshproxy.cli.headers import headers_of
from meshproxy.cli.peer import Peer, asked
from meshproxy.cli.text import contents, resource, show, show_json
from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.kinds import Kind
from meshproxy.naming import may_be_public, split_uri
from meshproxy.observe.spelling import named

_JSON_TYPES: Final = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict, "null": type(None)}


def call(target: str, name: str, arguments: Sequence[str], *, headers: Sequence[str], as_json: bool) -> int:
    """Use a component of a file or a URL; 1 if the tool failed."""
    # First, since what was not quoted looks like an argument, which another error would show.
    sent = headers_of(headers)
    is_uri = ":" in name
    if is_uri and arguments:
        raise Failure(f"{name} is a URI, and a resource takes no arguments", status=2)
    given = _given(arguments)

    async def question(peer: Peer) -> int:
        await peer.settled()
        if is_uri:
            result = await peer.request("resources/read", {"uri": name})
            lines = [resource(held) for held in _list(result, "contents")]
        else:
            kind, definition = _find(peer, name)
            if kind is Kind.TOOL:
                params = {"name": name, "arguments": _typed(given, definition.get("inputSchema"))}
                result = await peer.request("tools/call", params)
                lines = [contents(block) for block in _list(result, "content")]
                if not lines and "structuredContent" in result:
                    lines = [json.dumps(result["structuredContent"], indent=2, ensure_ascii=False)]
            else:
                texts = {
                    key: str(value) if isinstance(value, str) else json.dumps(value) for key, value in given.items()
                }
                result = await peer.request("prompts/get", {"name": name, "arguments": texts})
                lines = [
                    f"[{named(str(message.get('role')))}]\n{contents(message.get('content'))}"
                    for message in _list(result, "messages")
                    if isinstance(message, dict)
                ]
        failed = result.get("isError") is True
        if as_json:
            show_json(result)
        else:
            for line in lines:
                if failed:
                    note(f"error: {line}")
                else:
                    show(line)
        return 1 if failed else 0

    return asked(target, sent, question, lambda config, spec: _may_have(config, spec, name))


def _may_have(config: MeshConfig, spec: UpstreamSpec, name: str) -> bool:
    """Whether a public name or URI can be of an upstream, by its namespace."""
    if ":" not in name:
        return may_be_public(spec.namespace, config.separator, name)
    split = split_uri(name)
    return not spec.namespace or split is None or split[0] == spec.namespace


def _find(peer: Peer, name: str) -> tuple[Kind, Mapping[str, Any]]:
    """What a name is of, and its definition."""
    snapshot = peer.server.composite.snapshot
    for kind in (Kind.TOOL, Kind.PROMPT):
        route = snapshot.find(kind, name)
        if route is not None and route.component is not None:
            return kind, route.component.definition
    known = [public for kind in (Kind.TOOL, Kind.PROMPT) for public in snapshot.routes[kind]]
    close = get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "; `meshproxy list` shows what there is"
    raise Failure(f"there is no tool or prompt {name!r}{hint}", *peer.failures)


def _given(arguments: Sequence[str]) -> dict[str, Any]:
    """The arguments as they are written: an object, or texts by name."""
    if len(arguments) == 1 and arguments[0].lstrip().startswith("{"):
        try:
            given = json.loads(arguments[0])
        except ValueError as error:
            raise Failure(f"the arguments are no JSON: {error}", status=2) from None
        return dict(given)
    pairs = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise Failure(f"{argument!r} is neither KEY=VALUE nor a JSON object", status=2)
        pairs[key] = Text(value)
    return pairs


class Text(str):
    """A value that came as text and may mean JSON."""

    __slots__ = ()


def _typed(given: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """The arguments as the tool wants them; what was written as JSON stays."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    wanted = properties if isinstance(properties, dict) else {}
    return {key: _meant(value, wanted.get(key)) if isinstance(value, Text) else value for key, value in given.items()}


def _meant(value: Text, schema: Any) -> Any:
    """A text, or the JSON that it is, whichever a schema takes."""
    try:
        parsed = json.loads(value)
    except ValueError:
        return str(value)
    types = _types(schema)
    if not types:
        return parsed
    fits = any(_is_of(parsed, name) for name in types)
    return parsed if fits or "string" not in types else str(value)


def _types(schema: Any) -> set[str]:
    """The JSON types that a schema names, one level deep; none if it does not say."""
    if not isinstance(schema, dict):
        return set()
    named = schema.get("type", [])
    types = {named} if isinstance(named, str) else {name for name in named if isinstance(name, str)}
    for key in ("anyOf", "oneOf"):
        for choice in schema.get(key, ()):
            types |= _types(choice)
    values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
    return types | {"string" for value in values if isinstance(value, str)}


def _is_of(value: Any, name: str) -> bool:
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    wanted = _JSON_TYPES.get(name, ())
    return isinstance(value, wanted) and (name == "boolean" or not isinstance(value, bool))


def _list(result: Mapping[str, Any], key: str) -> list[Any]:
    found = result.get(key)
    return found if isinstance(found, list) else []
