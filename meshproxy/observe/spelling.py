"""How a text that somebody else wrote is shown: it commands no terminal, and does not pass for a line that it is not. Place: observe, pure.

What commands a terminal, or turns the order of letters about, is no printable character: escape sequences, control characters of both sets, marks of
direction, and separators of lines.
"""

__all__ = ["as_json", "named", "printable", "told"]

_STANDS_FOR = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """`text` with its lines and tabs, and without what else is not printable."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in "\n\t" else _STANDS_FOR for character in text)


def named(text: str) -> str:
    """A name, a URI or the like: in one line, whatever is in it."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _STANDS_FOR for character in text)


def told(text: str) -> str:
    """A message: its further lines are indented, so that none of them passes for a message of its own."""
    return printable(text).replace("\n", "\n    ")


def as_json(text: str) -> str:
    """JSON that means the same, and in which everything that is not printable is escaped (RFC 8259, 7); what lays it out stays."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else _escaped(character) for character in text
    )


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
