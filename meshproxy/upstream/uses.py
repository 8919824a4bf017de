"""`Uses`: what of an upstream was used before. Place: upstream; no I/O."""

from typing import Any, Final

from meshproxy.limits import MAX_REMEMBERED

__all__ = ["Uses", "use_of"]

_LISTED: Final = frozenset({"tools/call", "prompts/get"})
"""What names something that was looked up in the upstream's listing. Any other name is the caller's to invent."""


def use_of(method: str, params: dict[str, Any]) -> object:
    """What a call uses, as far as that is one of what its upstream lists: a tool, a prompt, or any resource."""
    return (method, params.get("name")) if method in _LISTED else method


class Uses:
    """Those that are remembered. An upstream that renames its tools all the time makes room for the new ones: what is forgotten is new once more."""

    def __init__(self) -> None:
        self._known: set[object] = set()

    def __contains__(self, use: object) -> bool:
        return use in self._known

    def remember(self, use: object) -> None:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known.add(use)

    def clear(self) -> None:
        self._known.clear()
