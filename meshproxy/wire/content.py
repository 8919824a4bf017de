"""What closed JSON begins with, which mostly says what it is. Place: wire, pure."""

from typing import Any, Final

from meshproxy.wire.raw import Raw

__all__ = ["is_object", "is_text"]

_TEXT: Final = (b'{"type":"text"', b'{"type": "text"')
_LONGEST: Final = 15


def is_text(block: Raw) -> bool:
    """Whether a block of content says first that it is a text, as most do, so that no link is in it."""
    return bytes(memoryview(block)[:_LONGEST]).startswith(_TEXT)


def is_object(value: Any) -> bool:
    """Whether a value, closed or decoded, is an object."""
    return memoryview(value)[0] == ord("{") if isinstance(value, Raw) else isinstance(value, dict)
