"""Edits of a config file by command: what is not edited stays as it is written, comments, order and quotes included.

What would not load afterwards is not written. The file is replaced in one step, so that whoever follows it never sees half of an edit.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from meshproxy.config.content import Content, read_content
from meshproxy.config.jsonc import is_json
from meshproxy.config.load import load
from meshproxy.errors import ConfigError, Problem

__all__ = ["edit", "mapping_at"]


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Let `change` change the tree of the file at `path`, and write it.

    Raises:
        ConfigError: the file cannot be read, cannot be edited, or could not be used any more; nothing is written.
    """
    content = read_content(path)
    if content.data is None:
        raise _refused(path, content.error or "")
    text = content.data.decode("utf-8-sig", "replace")
    if is_json(text, path.suffix):
        raise _refused(path, "is JSON, which is not edited by command; put the entry in by hand")
    from ruamel.yaml import YAML  # noqa: PLC0415  # serving needs none
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    yaml.indent(*_indents(text))
    try:
        tree = yaml.load(text)
    except YAMLError as error:
        raise _refused(path, f"is no YAML: {str(error).splitlines()[0]}") from None
    change(tree)
    written = io.StringIO()
    yaml.dump(tree, written)
    data = written.getvalue().encode()
    load(path, content=Content(content.path, "", content.files, data))
    _replace(path, data)


def mapping_at(tree: Any, *keys: str) -> Any:
    """The mapping under these keys, which are added where they are missing."""
    for key in keys:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    return tree


def _indents(text: str) -> tuple[int, int, int]:
    """How the file indents mappings and lists, and its dashes; two, and none, where it does not show."""
    lines = [(len(line) - len(line.lstrip(" ")), line.lstrip(" ")) for line in text.splitlines()]
    written = [(depth, line) for depth, line in lines if line and not line.startswith("#")]
    mapping = next((depth for depth, line in written if depth and not line.startswith("- ")), 2)
    for (above, key), (depth, line) in pairwise(written):
        if line.startswith("- ") and key.rstrip().endswith(":") and not key.startswith("- "):
            dash = depth - above
            return mapping, dash + 2, dash
    return mapping, 4, 2


def _replace(path: Path, data: bytes) -> None:
    """Write beside the file and rename, so that there is one or the other. Behind a link, what it leads to is replaced."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o777
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _refused(path: Path, message: str) -> ConfigError:
    return ConfigError((Problem(str(path), None, None, "", message, None),))
