"""What closed JSON begins or ends with, which mostly says what it is. Place: wire, pure."""

from typing import Any, Final

from meshproxy.wire.raw import Raw

__all__ = ["is_object", "is_text"]

_FIRST: Final = (b'{"type":"text"', b'{"type": "text"')
_LAST: Final = (b'"type":"text"}', b'"type": "text"}')
_LONGEST: Final = 15


def is_text(block: Raw) -> bool:
    """Whether a block of content says first or last that it is a text, as nearly all do, so that no link is in it.

    The SDKs' servers send `text` and then `type`. What stands before the last brace is a member of the block itself: a quotation mark within
    a string has a backslash before it.
    """
    view = memoryview(block)
    return bytes(view[:_LONGEST]).startswith(_FIRST) or bytes(view[-_LONGEST:]).endswith(_LAST)


def is_object(value: Any) -> bool:
    """Whether a value, closed or decoded, is an object."""
    return memoryview(value)[0] == ord("{") if isinstance(value, Raw) else isinstance(value, dict)
