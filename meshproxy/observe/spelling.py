"""How a text that somebody else wrote is shown: it commands no terminal, and does not pass for a line that it is not. Place: observe, pure.

What commands a terminal, or turns the order of letters about, is no printable character: escape sequences, control characters of both sets, marks of
direction, and separators of lines.
"""

__all__ = ["CUT", "as_json", "beginning", "named", "one_line", "printable", "told"]

CUT = "\N{HORIZONTAL ELLIPSIS}"
"""What stands where a text was cut. Whoever scrubs it sees by that that half of a secret may stand before it."""

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


def beginning(text: str, limit: int) -> str:
    """`text`, or its first `limit` characters and the mark that it was cut."""
    return text if len(text) <= limit else text[:limit] + CUT


def one_line(text: str, limit: int) -> str:
    """The beginning of what somebody said, in one line, with a space for each character that is not printable."""
    return beginning("".join(character if character.isprintable() else " " for character in text), limit)


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
