"""Counts in words."""

from collections.abc import Mapping
from typing import Any

from meshproxy.kinds import KINDS, KindSpec

__all__ = ["counted", "how_many"]


def how_many(count: int, spec: KindSpec) -> str:
    """So many of a kind: `3 tools`, `1 prompt`."""
    return f"{count} {spec.plural if count != 1 else spec.kind}"


def counted(upstream: Mapping[str, Any]) -> str:
    """What an upstream offers, from its status: `3 tools, 1 prompt`."""
    counts = [(upstream.get(spec.plural, 0), spec) for spec in KINDS.values()]
    return ", ".join(how_many(count, spec) for count, spec in counts if count) or "nothing"
