"""`Finding`: one thing that is wrong, where, and what mends it. Place: doctor, below all of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from meshproxy.config.models import MeshConfig

__all__ = ["Finding", "enumerated", "place_of"]

_SHOWN = 3
"""Names that a line shows of many."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: one word of the table in docs/cli.md.
        place: a file with line and column, a path, an address, or a program.
        what: what is wrong, as a clause without its end.
        remedy: what to do, likewise.
        mend: does it, where that is safe, and says in one line what was done. Raises `OSError`.
    """

    kind: str
    place: str
    what: str
    remedy: str
    mend: Callable[[], str] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.remedy}"


def place_of(config: MeshConfig, upstream: str, key: str = "") -> str:
    """Where an upstream stands in its file, with one of its keys."""
    path = f"upstreams.{upstream}{key and f'.{key}'}"
    line, column = config.source.places.get(upstream, (None, None))
    file = config.source.path or ""
    return f"{file}: {path}" if line is None else f"{file}:{line}:{column}: {path}"


def enumerated(names: Iterable[str]) -> str:
    """The first few of many names, and how many more there are."""
    found = list(names)
    rest = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
