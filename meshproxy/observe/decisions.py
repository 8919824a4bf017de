"""`decide`: what the mesh decides about somebody or something, in the log, and to whoever keeps such decisions. Place: observe.

Like the log, they are those of the process.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import structlog

__all__ = ["Decided", "Level", "decide", "listen"]

log = structlog.get_logger(__name__)

Level = Literal["debug", "info", "warning"]
Decided: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Takes a decision, by its event, and its facts. It must not block."""

_LISTENERS: Final[list[Decided]] = []


def listen(listener: Decided) -> Callable[[], None]:
    """Tell `listener` of each decision from now on; the answer takes that back."""
    _LISTENERS.append(listener)
    return lambda: _LISTENERS.remove(listener)


def decide(level: Level, event: str, **facts: Any) -> None:
    """Something was decided."""
    getattr(log, level)(event, **facts)
    for listener in tuple(_LISTENERS):
        listener(event, facts)
