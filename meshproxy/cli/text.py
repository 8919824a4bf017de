"""What upstreams say, as it may be put on a terminal."""

import json
import sys
from typing import Any

import typer

from meshproxy.observe.spelling import as_json, named, printable

__all__ = ["contents", "one_line", "resource", "show", "show_json"]


def show(text: str = "") -> None:
    """A line of output; on a terminal, without what would command it."""
    typer.echo(printable(text) if sys.stdout.isatty() else text)


def show_json(value: Any) -> None:
    """Print JSON that programs read, and that a terminal may be shown."""
    typer.echo(as_json(json.dumps(value, indent=2, ensure_ascii=False)))


def one_line(text: Any) -> str:
    """The first paragraph of a description, in one line."""
    first = str(text or "").strip().partition("\n\n")[0]
    return named(" ".join(first.split()))


def contents(block: Any) -> str:
    """A content block of a tool's result or a prompt's message: its text, or what it is."""
    if not isinstance(block, dict):
        return f"[{type(block).__name__}]"
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "image" | "audio" as kind:
            return f"[{kind}, {_type(block)}, {_bytes(block.get('data'))}]"
        case "resource_link":
            return f"[link to {named(str(block.get('uri')))}: {one_line(block.get('title') or block.get('name'))}]"
        case "resource":
            return resource(block.get("resource"))
        case other:
            return f"[{named(str(other))}]"


def resource(held: Any) -> str:
    """The contents of a resource: its text, or what it is."""
    if not isinstance(held, dict):
        return "[resource]"
    if isinstance(held.get("text"), str):
        return str(held["text"])
    return f"[{named(str(held.get('uri')))}, {_type(held)}, {_bytes(held.get('blob'))}]"


def _type(described: dict[str, Any]) -> str:
    return named(str(described.get("mimeType", "unknown type")))


def _bytes(data: Any) -> str:
    """The size of what base64 text stands for."""
    if not isinstance(data, str):
        return "no data"
    return f"{len(data) * 3 // 4 - data[-2:].count('=')} bytes"
