"""What a shell offers to complete: names of upstreams, of what they offer, and of keys. Place: cli, under the commands' arguments.

They come from the file, and from what the state directory remembers of the upstreams: nothing is started, and no model is made, since whoever presses a
key waits. Names that a shell would have to quote are not offered: some shells run what they are told. Whatever goes wrong is silent, and the shell completes files.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer

__all__ = ["VARIABLE", "components", "keys", "upstreams"]

VARIABLE: Final = "_MESHPROXY_COMPLETE"
"""The environment variable by which a shell asks; its value says which shell."""
_PLAIN: Final = re.compile(r"[\w.@+-]+")
_FILES: Final = ("target", "file")
"""How commands call the parameter that names the file."""

Tree = Mapping[str, Any]


def upstreams(context: typer.Context, incomplete: str) -> list[str]:
    """The upstreams of the file that the command is about."""
    return _fitting(_section(_tree(context)[0], "upstreams"), incomplete)


def components(context: typer.Context, incomplete: str) -> list[str]:
    """The public names of tools and prompts that are remembered of them."""
    tree, file = _tree(context)
    return _fitting(_public(tree, file), incomplete)


def keys(context: typer.Context, incomplete: str) -> list[str]:
    """The names of the file's keys."""
    written = _section(_section(_tree(context)[0], "server"), "auth").get("keys")
    names = (key.get("name") for key in written if isinstance(key, Mapping)) if isinstance(written, list) else ()
    return _fitting(names, incomplete)


def _fitting(names: Any, incomplete: str) -> list[str]:
    found = {name for name in names if isinstance(name, str) and name.startswith(incomplete) and _PLAIN.fullmatch(name)}
    return sorted(found)


def _tree(context: typer.Context) -> tuple[Tree, Path]:
    """What the file says, and where it is."""
    from meshproxy.config.document import parse  # noqa: PLC0415
    from meshproxy.config.jsonc import is_json  # noqa: PLC0415

    named = next((context.params[key] for key in _FILES if context.params.get(key)), "mesh.yaml")
    file = Path(os.path.abspath(named))  # noqa: PTH100  # as `load` does
    text = file.read_text("utf-8-sig")
    item, _ = parse(text, is_json=is_json(text, file.suffix))
    found = item.plain if item is not None and isinstance(item.value, dict) else {}
    return {"upstreams": found.get("mcpServers"), **found}, file


def _section(tree: Tree, key: str) -> Tree:
    value = tree.get(key)
    return value if isinstance(value, Mapping) else {}


def _public(tree: Tree, file: Path) -> Iterator[str]:
    """What is remembered of each upstream, under the names and filters that the file gives it now."""
    import msgspec  # noqa: PLC0415

    from meshproxy.catalog.catalog import Filter, Mount  # noqa: PLC0415
    from meshproxy.kinds import Kind  # noqa: PLC0415
    from meshproxy.naming import default_namespace  # noqa: PLC0415
    from meshproxy.state.catalogs import entry_name  # noqa: PLC0415
    from meshproxy.state.place import place  # noqa: PLC0415

    directory = place(str(tree.get("state", "auto")), file)
    for name, written in _section(tree, "upstreams").items():
        spec = {**_section(tree, "defaults"), **(written if isinstance(written, Mapping) else {})}
        try:
            entry = msgspec.json.decode((directory or Path()).joinpath(entry_name(name)).read_bytes())
        except (OSError, ValueError):
            continue
        for kind, key in ((Kind.TOOL, "tools"), (Kind.PROMPT, "prompts")):
            section = _section(spec, key)
            shown = Filter(
                tuple(section.get("include", "*")), tuple(section.get("exclude", ())), _section(section, "rename")
            )
            mount = Mount(
                name, spec.get("namespace", default_namespace(name)), tree.get("separator", "_"), {kind: shown}
            )
            for definition in entry["definitions"].get(str(kind), ()):
                if shown.admits(definition["name"]):
                    yield mount.public_key(kind, definition["name"], by_uri=False)
