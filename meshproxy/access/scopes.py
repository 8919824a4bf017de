"""What a scope is good for. Place: access.

Source: RFC 6749, 3.3, which leaves hierarchies to the authorization server; basic/authorization asks that they are accounted for. A scope covers itself and what is
named below it, `files` for one `files:read`, and what the config says that it implies.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

__all__ = ["covers", "widened"]

_BELOW: Final = (":", ".", "/")


def covers(granted: Collection[str], needed: str) -> bool:
    """Whether one of the granted scopes is the needed one, or stands above it."""
    return needed in granted or any(
        needed.startswith(scope) and needed[len(scope) : len(scope) + 1] in _BELOW for scope in granted
    )


def widened(granted: Collection[str], implies: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The granted scopes, and all that they imply."""
    found = set(granted)
    open_ = list(found)
    while open_:
        for scope in implies.get(open_.pop(), ()):
            if scope not in found:
                found.add(scope)
                open_.append(scope)
    return frozenset(found)
