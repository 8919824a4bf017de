"""What upstreams say, as it may be put on a terminal."""

import sys
from typing import Any

import typer

__all__ = ["contents", "one_line", "printable", "show"]


def show(text: str = "") -> None:
    """A line of output; on a terminal, without what would command it."""
    typer.echo(printable(text) if sys.stdout.isatty() else text)


def printable(text: str) -> str:
    """`text` without control characters other than line ends and tabs: an escape sequence of an upstream's must not reach a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def one_line(text: Any) -> str:
    """The first paragraph of a description, in one line."""
    first = str(text or "").strip().partition("\n\n")[0]
    return printable(" ".join(first.split()))


def contents(block: Any) -> str:
    """A content block of a tool's result or a prompt's message: its text, or what it is."""
    if not isinstance(block, dict):
        return f"[{type(block).__name__}]"
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "image" | "audio" as kind:
            return f"[{kind}, {block.get('mimeType', 'unknown type')}, {_bytes(block.get('data'))}]"
        case "resource_link":
            return f"[link to {block.get('uri')}: {one_line(block.get('title') or block.get('name'))}]"
        case "resource":
            return resource(block.get("resource"))
        case other:
            return f"[{other}]"


def resource(held: Any) -> str:
    """The contents of a resource: its text, or what it is."""
    if not isinstance(held, dict):
        return "[resource]"
    if isinstance(held.get("text"), str):
        return str(held["text"])
    return f"[{held.get('uri')}, {held.get('mimeType', 'unknown type')}, {_bytes(held.get('blob'))}]"


def _bytes(data: Any) -> str:
    """The size of what base64 text stands for."""
    if not isinstance(data, str):
        return "no data"
    return f"{len(data) * 3 // 4 - data[-2:].count('=')} bytes"
