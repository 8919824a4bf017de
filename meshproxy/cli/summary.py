"""An upstream's status in few words."""

from collections.abc import Mapping
from typing import Any

from meshproxy.kinds import KINDS

__all__ = ["counted"]


def counted(upstream: Mapping[str, Any]) -> str:
    """What an upstream offers, from its status: `3 tools, 1 prompt`."""
    counts = [(upstream.get(spec.plural, 0), spec) for spec in KINDS.values()]
    shown = [f"{count} {spec.plural if count != 1 else str(spec.kind)}" for count, spec in counts if count]
    return ", ".join(shown) or "nothing"
