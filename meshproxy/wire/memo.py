"""`Memo`: what was made of bytes or texts that come again and again, such as what a client says of itself with each request. Place: wire, pure."""

from typing import Any, Final

__all__ = ["Memo"]

_MOST: Final = 1024
"""What is more than that makes everything new again. Each is small: who remembers sees to that."""


class Memo:
    """Finds what was made of the same before; see `functools.lru_cache`, whose look-up costs compiled code four times as much."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}

    def get(self, data: bytes | str) -> Any:
        """What was made of `data`; None if it is not remembered."""
        return self._made.get(data)

    def put(self, data: bytes | str, made: Any) -> Any:
        """Remember what was made of `data`, which is not None; it comes back."""
        if len(self._made) >= _MOST:
            self._made.clear()
        self._made[data] = made
        return made
