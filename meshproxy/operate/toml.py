"""Edits of Codex's TOML by the line: a table for a server is put at the end, or taken out. Place: operate; pure."""

import json
import re
import tomllib
from typing import Any

__all__ = ["with_table", "without_table"]


def with_table(text: str, section: str, name: str, entry: dict[str, Any]) -> str:
    """The text with `[section.name]` at its end. Raises ValueError if that would not be TOML, as with a table written in one line before."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = [f"[{section}.{_key(name)}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in entry.items()]
    head = text if not text or text.endswith("\n") else text + newline
    written = head + (newline if head.strip() else "") + newline.join(lines) + newline
    tomllib.loads(written)
    return written


def without_table(text: str, section: str, name: str) -> str:
    """The text without a server's tables. Raises ValueError if they are not tables of their own."""
    key = rf"(?:{re.escape(name)}|\"{re.escape(name)}\"|'{re.escape(name)}')"
    head = re.compile(rf"^[ \t]*\[\s*{re.escape(section)}\s*\.\s*{key}\s*(?:\.[^\]]*)?\]")
    kept: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            inside = head.match(line) is not None
        if not inside:
            kept.append(line)
    written = "".join(kept)
    if name in tomllib.loads(written).get(section, {}):
        raise ValueError(f"{section}.{name} is no table of its own; take it out by hand")
    return written


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
