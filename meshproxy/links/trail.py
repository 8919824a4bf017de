"""Which meshes a listing came through, so that a mesh which lists itself notices. Place: links, pure.

A mesh names itself, and every mesh that its upstreams name, in the `_meta` of what it says of itself and of its listings. If it finds its own name in what
an upstream says, what it would list is what it lists already, under one more namespace each time, without an end. The name is random and of one
running mesh, so two meshes of one file are two. A proxy between them that passes `_meta` on hides nothing. One that builds its answers anew hides the trail, and cannot
hide what grows: whoever lists itself finds there, one listing later, what it calls by its own names what was listed before.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from meshproxy.catalog.catalog import Catalog
from meshproxy.errors import UpstreamUnavailable
from meshproxy.kinds import KINDS, Kind
from meshproxy.wire.codec import dumps, opened

__all__ = ["META_TRAIL", "Shown", "check_growth", "check_trail", "meta_of", "trail_in"]

Shown: TypeAlias = Callable[[Kind, str], str]
"""What this mesh calls what an upstream calls so."""

META_TRAIL: Final = "meshproxy/trail"
"""The key in `_meta`: a list of names, that of whoever says it first."""
REMEDY: Final = "take one of the two out of the other's config"
MOST: Final = 64
"""Names that are kept of one trail, and characters of each."""


def meta_of(own: str, beyond: Iterable[str]) -> dict[str, Any]:
    """The `_meta` of a listing of the mesh `own`, which has what it lists from `beyond`, too."""
    return {META_TRAIL: [own, *sorted(beyond)][:MOST]}


def trail_in(result: Mapping[str, Any]) -> frozenset[str]:
    """The meshes that an upstream's introduction, or a page of its, came through: none, if it says nothing of that."""
    meta = opened(result.get("_meta"))
    named = opened(meta.get(META_TRAIL)) if isinstance(meta, Mapping) else None
    if not isinstance(named, list):
        return frozenset()
    return frozenset(name for name in named[:MOST] if isinstance(name, str) and len(name) <= MOST)


def check_trail(upstream: str, own: str, trail: frozenset[str]) -> None:
    """Refuse what came through the mesh `own`.

    Raises:
        UpstreamUnavailable: it did.
    """
    if own in trail:
        reason = (
            f"it lists this mesh itself, directly or through another one, and such a listing would never end; {REMEDY}"
        )
        raise UpstreamUnavailable(upstream, reason, is_lasting=True)


def check_growth(upstream: str, before: Catalog, now: Catalog, shown: Shown) -> None:
    """Refuse a listing that has more than the one before by what this mesh has made of that one: it came through this mesh.

    Something new is such an image if its name ends with what this mesh calls something that was there before (another proxy may have put something in front of that, too),
    and all else that is said of the two is the same. Without a namespace nothing grows: what is listed twice is listed once.

    Raises:
        UpstreamUnavailable: it did.
    """
    for kind, spec in KINDS.items():
        known = {item[spec.key]: item for item in before[kind]}
        new = [item for item in now[kind] if item[spec.key] not in known]
        if not new:
            continue
        images = {shown(kind, key): key for key in known}
        for item in new:
            key = item[spec.key]
            for image, origin in images.items():
                if image != origin and key.endswith(image) and _same(item, known[origin], spec.key):
                    reason = f"it lists this mesh itself, through a proxy that does not say so: {key} is what this mesh calls its {origin}; {REMEDY}"
                    raise UpstreamUnavailable(upstream, reason, is_lasting=True)


def _same(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    """Whether two definitions differ in their names alone, and in what a proxy notes of its own."""
    own = (key, "name", "title", "_meta")
    first, second = ({name: value for name, value in item.items() if name not in own} for item in (one, other))
    return first == second or dumps(first) == dumps(second)
