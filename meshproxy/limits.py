"""What is read of what comes from outside: how deep, how large and how many, in one place. Place: under every room, pure.

A peer that goes beyond a limit is told so, or the log is, in the words of `LimitError`. Limits that a user sets stand in `meshproxy.config`, and those of HTTP heads
in `meshproxy.http`, in the two modules that read them, which are compiled.
"""

from typing import Any, Final

__all__ = [
    "KEPT_STDERR",
    "MAX_CUT",
    "MAX_DEFINITION",
    "MAX_DEFINITION_DEPTH",
    "MAX_DEPTH",
    "MAX_IDENTIFIER",
    "MAX_IN_FLIGHT",
    "MAX_KEPT",
    "MAX_LABEL",
    "MAX_LINE",
    "MAX_LISTED",
    "MAX_MEMBER",
    "MAX_MESSAGE",
    "MAX_PAGES",
    "MAX_REMEMBERED",
    "MAX_SUBSCRIBED",
    "LimitError",
    "check_depth",
    "check_size",
]

MAX_DEPTH: Final = 128
"""Arrays and objects in each other, in JSON that is decoded whole. What passes undecoded may go deeper, as deep as the decoder looks for its end."""
MAX_DEFINITION_DEPTH: Final = 100
"""The same in one definition, which stands in listings of the mesh's own, and these in answers."""
MAX_MESSAGE: Final = 256 << 20
"""Bytes of one message of an upstream, on whatever wire."""
KEPT_STDERR: Final = 64_000
"""Bytes of what an upstream's processes wrote to standard error last, unless the config says otherwise."""
MAX_LINE: Final = 64 << 20
"""Bytes of one message of a client on standard input. Over HTTP it is `server.max_body`."""
MAX_PAGES: Final = 10_000
"""Pages of a listing that are read, whatever its cursors say."""
MAX_DEFINITION: Final = 1 << 20
"""Bytes of one definition."""
MAX_LISTED: Final = 20_000
"""Definitions of one kind that an upstream may list."""
MAX_IDENTIFIER: Final = 64 << 10
"""Bytes of a parameter that names something: a tool, a URI, a task, a cursor."""
MAX_MEMBER: Final = 256 << 10
"""Bytes of any other parameter that the mesh reads: `_meta`, `capabilities`, `requestState`."""
MAX_KEPT: Final = 8 << 10
"""Bytes of the capabilities that are kept of a client for as long as its session lasts."""
MAX_LABEL: Final = 256
"""Characters that are kept of each thing that a client calls itself."""
MAX_SUBSCRIBED: Final = 4096
"""Resources whose updates one client may wait for."""
MAX_REMEMBERED: Final = 4096
"""Names that one upstream is remembered to have been asked for."""
MAX_IN_FLIGHT: Final = 1024
"""Requests of one session that are not answered yet. A client may leave without an answer, and its request goes on: so nothing else bounds them."""
MAX_CUT: Final = 4 << 20
"""Bytes of a message that is taken apart by its brackets, because it is nested deeper than a decoder goes: that takes long."""


class LimitError(ValueError):
    """Something goes beyond a limit; its text says which."""


def check_depth(value: Any, limit: int) -> None:
    """Refuse a decoded value in which more than `limit` arrays and objects stand in each other.

    Raises:
        LimitError: it is nested deeper.
    """
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(limit):
        if not level:
            return
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, list | dict)
        ]
    if level:
        raise LimitError(f"it is nested deeper than {limit} levels")


def check_size(size: int, limit: int) -> None:
    """Refuse what has more than `limit` bytes.

    Raises:
        LimitError: it is larger.
    """
    if size > limit:
        raise LimitError(f"it is larger than {limit} bytes")
