"""Which meshes a listing came through, so that a mesh which lists itself notices. Place: links, pure.

A mesh names itself, and every mesh that its upstreams name, in the `_meta` of what it says of itself and of its listings. If it finds its own name in what
an upstream says, what it would list is what it lists already, under one more namespace each time, without an end. The name is random and of one
running mesh, so two meshes of one file are two. A proxy between them that passes `_meta` on hides nothing; of one that does not, nothing is seen.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from meshproxy.errors import UpstreamUnavailable
from meshproxy.wire.codec import opened

__all__ = ["META_TRAIL", "check_trail", "meta_of", "trail_in"]

META_TRAIL: Final = "meshproxy/trail"
"""The key in `_meta`: a list of names, that of whoever says it first."""
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
        reason = "it lists this mesh itself, directly or through another one, and such a listing would never end; take one of the two out of the other's config"
        raise UpstreamUnavailable(upstream, reason, is_lasting=True)
