"""What a supervisor and its workers say to each other: JSON objects, a line each, over a pair of sockets. Place: cluster; pure."""

from typing import Any

from meshproxy.wire.codec import dumps, loads

__all__ = ["Lines", "line_of"]

Json = dict[str, Any]


class Lines:
    """Puts together what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Json]:
        """The objects that are whole by now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [loads(line) for line in lines]


def line_of(said: str, **facts: Any) -> bytes:
    """One object: what is `said`, and about what."""
    return dumps({"said": said, **facts}) + b"\n"
