"""`Pin`: what one definition says, and its hash. Place: pins, pure.

Pinned is what a model and a client go by: names, descriptions, schemas and annotations, and an upstream's instructions, which are told to every model. What is not (`_meta`, icons, sizes and dates) may change at
every listing. A component is known by what its upstream calls it, so that a new name in the mesh is no change.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from meshproxy.catalog.catalog import Catalog
from meshproxy.kinds import KINDS, Kind

__all__ = ["INSTRUCTIONS", "SERVER", "Finding", "Listed", "Pin", "Pinned", "findings", "listed", "pin_of"]

_COMMON: Final = ("title", "description")
PINNED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.TOOL: (*_COMMON, "inputSchema", "outputSchema", "annotations"),
    Kind.RESOURCE: ("name", *_COMMON, "mimeType", "annotations"),
    Kind.TEMPLATE: ("name", *_COMMON, "mimeType", "annotations"),
    Kind.PROMPT: (*_COMMON, "arguments"),
}
"""The fields of a definition that are pinned, besides the one that identifies it."""
SERVER: Final = "server"
INSTRUCTIONS: Final = "instructions"
"""What an upstream says of itself stands beside its components, as `instructions` of the kind `server`."""
_DATE: Final = "lastModified"

Standing = Literal["same", "changed", "new", "gone"]


@dataclass(frozen=True, slots=True)
class Pin:
    """One definition.

    Attributes:
        hash: `sha256:` and the hash of the definition as JSON with sorted keys.
        definition: the pinned fields, for people; what decides is the hash.
    """

    hash: str
    definition: Mapping[str, Any] = field(default_factory=dict, compare=False)


Pinned = Mapping[str, Mapping[str, Pin]]
"""What is pinned of one upstream: by kind (`Kind`, or `SERVER`), and by its own name or URI for each component."""
Listed = Mapping[str, Mapping[str, Pin]]
"""What it lists, likewise; without the kinds that it could not list."""


class Finding(NamedTuple):
    """One component, or the upstream's instructions, as it is listed against what is pinned."""

    kind: str
    origin: str
    standing: Standing
    pinned: Pin | None
    listed: Pin | None


def pin_of(kind: Kind, definition: Mapping[str, Any]) -> Pin:
    """The pin of a definition, as its upstream lists it."""
    told = {key: definition[key] for key in PINNED[kind] if definition.get(key) is not None}
    annotations = told.get("annotations")
    if isinstance(annotations, Mapping) and _DATE in annotations:
        told["annotations"] = {key: value for key, value in annotations.items() if key != _DATE}
    return _pin(told)


def _pin(told: Mapping[str, Any]) -> Pin:
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return Pin(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", told)


def listed(catalog: Catalog) -> Listed:
    """The pins of what a catalog has. Of two of one name, the first is served, and counts."""
    found: dict[str, dict[str, Pin]] = {}
    for kind, spec in KINDS.items():
        pins = found[kind] = {}
        for definition in catalog[kind]:
            origin = definition.get(spec.key)
            if isinstance(origin, str) and origin not in pins:
                pins[origin] = pin_of(kind, definition)
        if kind in catalog.failed:
            # What could not be listed may be there all the same.
            del found[kind]
    found[SERVER] = {INSTRUCTIONS: _pin({"text": catalog.instructions})} if catalog.instructions else {}
    return found


def findings(pinned: Pinned, now: Listed) -> Iterator[Finding]:
    """Each component that is listed, in its order, and then those of the same kinds that are pinned and were listed no more.

    Components come and go, and a new one is new. That an upstream has no instructions is pinned with its components: the first ones of an upstream that is known are a change.
    """
    for kind, pins in now.items():
        known = pinned.get(kind, {})
        for origin, pin in pins.items():
            before = known.get(origin)
            is_new = before is None and (kind != SERVER or not any(pinned.values()))
            standing: Standing = "new" if is_new else "same" if before == pin else "changed"
            yield Finding(kind, origin, standing, before, pin)
        for origin, before in known.items():
            if origin not in pins:
                yield Finding(kind, origin, "gone", before, None)
