"""`Directory`: what the mesh says of itself and of what it offers, to each visitor what there is for it. Place: serving."""

from collections.abc import Callable
from typing import Any

from meshproxy.catalog.snapshot import Snapshot
from meshproxy.eras.translate import ServerSignature
from meshproxy.kinds import KindSpec
from meshproxy.links.trail import meta_of
from meshproxy.mesh.composite import CompositeProvider
from meshproxy.relay.downstream import CARRIED_EXTENSIONS
from meshproxy.relay.principal import Visitor
from meshproxy.wire.codec import Raw, dumps
from meshproxy.wire.protocol import MODERN_VERSIONS, Era

__all__ = ["Directory"]


class Directory:
    """Answers that are the same for all who see the same: each is encoded once for a view.

    Attributes:
        instructions: the mesh's own words to a model; None for none.
    """

    def __init__(self, composite: CompositeProvider, stamp: ServerSignature, instructions: str | None) -> None:
        self.instructions = instructions
        self._composite = composite
        self._info = stamp.info
        self._stamps = {"": stamp}

    def initialized(self, visitor: Visitor, version: str) -> Raw:
        """The result of `initialize`, for a negotiated revision."""
        profile = visitor.profile

        def make(view: Snapshot) -> dict[str, Any]:
            about = self._about(view, profile, Era.LEGACY)
            return {"protocolVersion": version, **about, "serverInfo": self._stamp(profile).info}

        return self._said(visitor, ("initialize", version), make)

    def discovered(self, visitor: Visitor) -> Raw:
        """The result of `server/discover`."""
        profile = visitor.profile

        def make(view: Snapshot) -> dict[str, Any]:
            about = {"supportedVersions": list(MODERN_VERSIONS), **self._about(view, profile, Era.MODERN)}
            return self._stamp(profile).into(about, cacheable=True)

        return self._said(visitor, "server/discover", make)

    def listing(self, visitor: Visitor, spec: KindSpec, era: Era) -> Raw:
        """The result of a kind's list method."""

        def make(view: Snapshot) -> dict[str, Any]:
            listing: dict[str, Any] = {spec.items: Raw(view.listing(spec.kind, era)), "_meta": self._trail(view)}
            if era is Era.MODERN:
                ttl, public = view.caching(spec.kind)
                listing |= {"ttlMs": ttl, "cacheScope": "public" if public else "private"}
                self._stamp(visitor.profile).into(listing, cacheable=True)
            return listing

        return self._said(visitor, (spec.list_method, era), make)

    def _stamp(self, profile: str) -> ServerSignature:
        """The mesh's name at a profile's address."""
        stamp = self._stamps.get(profile)
        if stamp is None:
            stamp = self._stamps[profile] = ServerSignature({**self._info, "name": f"{self._info['name']}/{profile}"})
        return stamp

    def _about(self, view: Snapshot, profile: str, era: Era) -> dict[str, Any]:
        """What the mesh can do. A reload may bring any kind at any time, so every kind is promised."""
        about: dict[str, Any] = {
            "capabilities": {
                "tools": {"listChanged": True},
                "resources": {"subscribe": True, "listChanged": True},
                "prompts": {"listChanged": True},
                "completions": {},
                "logging": {},
            },
            "_meta": self._trail(view),
        }
        extensions = {key: value for key, value in view.extensions.items() if key in CARRIED_EXTENSIONS[era]}
        if extensions:
            about["capabilities"]["extensions"] = extensions
        chosen = self._composite.views.profile(profile)
        own = self.instructions if chosen is None or chosen.instructions is None else chosen.instructions
        instructions = view.instructions(own)
        if instructions:
            about["instructions"] = instructions
        return about

    def _trail(self, view: Snapshot) -> dict[str, Any]:
        """What tells a mesh above that what is listed here came from this one."""
        return meta_of(self._stamps[""].token, view.trail)

    def _said(self, visitor: Visitor, key: object, make: Callable[[Snapshot], dict[str, Any]]) -> Raw:
        view = self._composite.router.seen_by(visitor)
        said = view.answers.get(key)
        if said is None:
            said = view.answers[key] = Raw(dumps(make(view)))
        return said
