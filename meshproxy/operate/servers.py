"""The servers that a file of another program lists, whichever of the known shapes it has. Place: operate; pure.

A file is known by its shape: `SHAPES` has a row for each, and `config.foreign` names its owner where it is to be served.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from meshproxy.config.document import parse
from meshproxy.config.draft import plain
from meshproxy.config.foreign import URL_SPELLINGS
from meshproxy.config.jsonc import is_json
from meshproxy.operate.entries import found_of
from meshproxy.operate.found import Found, Source
from meshproxy.operate.registry import found_of_registry

__all__ = ["UnreadableError", "read", "tree_of"]


class UnreadableError(ValueError):
    """Why nothing can be made of a file, and what to do about it."""


def read(tree: dict[str, Any], source: Source) -> list[Found]:
    """Every server that a file lists. Raises `UnreadableError`."""
    tree = {key: value for key, value in tree.items() if value is not None}
    for shape, pairs in _SHAPES:
        if shape(tree):
            return list(pairs(tree, source))
    if not tree:
        raise UnreadableError("is empty; there is nothing to import")
    raise UnreadableError(
        "lists no MCP servers in a way that is known here; it would need mcpServers, servers, context_servers, extensions, mcp or mcp_servers"
    )


def tree_of(text: str, suffix: str) -> dict[str, Any]:
    """What a file says: TOML, YAML, or JSON with comments. Raises `UnreadableError`."""
    if suffix.lower() == ".toml":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UnreadableError(f"is no TOML: {error}") from None
    item, flaws = parse(text, is_json=is_json(text, suffix))
    if flaws:
        raise UnreadableError(f"line {flaws[0].line}, column {flaws[0].column}: {flaws[0].message}")
    tree = plain(item)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UnreadableError("is no object of keys and values")
    return tree


def _mapping(key: str) -> Callable[[dict[str, Any], Source], Iterator[Found]]:
    def pairs(tree: dict[str, Any], source: Source) -> Iterator[Found]:
        for name, raw in tree[key].items():
            yield found_of(str(name), raw, source)

    return pairs


def _mcp_servers(tree: dict[str, Any], source: Source) -> Iterator[Found]:
    """`mcpServers`, those of Claude Code's projects, and what Gemini allows of them."""
    servers = tree.get("mcpServers")
    rules = tree.get("mcp")
    rules = rules if isinstance(rules, Mapping) else {}
    for name, raw in (servers if isinstance(servers, Mapping) else {}).items():
        found = found_of(str(name), raw, source)
        allowed, excluded = rules.get("allowed"), rules.get("excluded")
        if found.entry and (
            (isinstance(allowed, list) and name not in allowed) or (isinstance(excluded, list) and name in excluded)
        ):
            found.entry["enabled"] = False
            found.notes.append("is not among those that mcp.allowed and mcp.excluded let in, so it is disabled")
        yield found
    projects = tree.get("projects")
    for folder, project in (projects if isinstance(projects, Mapping) else {}).items():
        inner = project.get("mcpServers") if isinstance(project, Mapping) else None
        for name, raw in (inner if isinstance(inner, Mapping) else {}).items():
            yield found_of(str(name), raw, replace(source, workspace=str(folder), starts_there=True))


def _listed(tree: dict[str, Any], source: Source) -> Iterator[Found]:
    for index, raw in enumerate(tree["mcpServers"]):
        name = raw.get("name") if isinstance(raw, Mapping) else None
        yield found_of(str(name or f"server-{index + 1}"), raw, source)


def _nested(tree: dict[str, Any], source: Source) -> Iterator[Found]:
    """`mcp.servers`, as VS Code's settings have it."""
    yield from _mapping("servers")(tree["mcp"], source)


def _headless(tree: dict[str, Any], source: Source) -> Iterator[Found]:
    """Servers by name, and nothing above them."""
    for name, raw in tree.items():
        yield found_of(name, raw, source)


def _is_server(value: Any) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(value.get(key), str) for key in ("command", *URL_SPELLINGS, "url")
    )


def _has(key: str, kind: type = dict) -> Callable[[dict[str, Any]], bool]:
    return lambda tree: isinstance(tree.get(key), kind)


_SHAPES: Final[
    tuple[tuple[Callable[[dict[str, Any]], bool], Callable[[dict[str, Any], Source], Iterator[Found]]], ...]
] = (
    (_has("mcpServers", list), _listed),
    (_has("mcpServers"), _mcp_servers),
    (_has("amp.mcpServers"), _mapping("amp.mcpServers")),
    (_has("context_servers"), _mapping("context_servers")),
    (_has("mcp_servers"), _mapping("mcp_servers")),
    (_has("extensions"), _mapping("extensions")),
    (lambda tree: isinstance(tree.get("mcp"), dict) and isinstance(tree["mcp"].get("servers"), dict), _nested),
    (_has("servers"), _mapping("servers")),
    (
        lambda tree: isinstance(tree.get("name"), str) and (bool(tree.get("packages")) or bool(tree.get("remotes"))),
        found_of_registry,
    ),
    (_has("server"), lambda tree, source: found_of_registry(tree["server"], source)),
    (_has("mcp"), _mapping("mcp")),
    (_has("projects"), _mcp_servers),
    (lambda tree: bool(tree) and all(map(_is_server, tree.values())), _headless),
)
