"""`Catalog`: what one upstream offers. `Mount`: how it stands in the mesh. Both frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

from meshproxy.kinds import KINDS, Kind
from meshproxy.naming import TemplateMatcher, origin_uri, public_name, public_uri

Definitions = Mapping[Kind, tuple[Mapping[str, Any], ...]]


@dataclass(frozen=True)
class Catalog:
    """The components of one upstream, as it listed them, and what it says of itself.

    Attributes:
        definitions: per kind, the listed definitions in the upstream's order.
        capabilities: its server capabilities.
        instructions: its own words to a model; None without.
        ttl: per kind, the milliseconds for which a listing may be kept (SEP-2549); absent or 0 is not at all.
        private: the kinds whose listing it calls private to its caller.
        trail: the meshes that it came through; see `meshproxy.links.trail`.
        failed: the kinds that could not be listed, and why; what is here of them is what was known before.
    """

    definitions: Definitions = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    instructions: str | None = None
    ttl: Mapping[Kind, int] = field(default_factory=dict)
    private: frozenset[Kind] = frozenset(Kind)
    failed: Mapping[Kind, str] = field(default_factory=dict)
    trail: frozenset[str] = frozenset()

    def __getitem__(self, kind: Kind) -> tuple[Mapping[str, Any], ...]:
        return self.definitions.get(kind, ())

    def counts(self) -> dict[Kind, int]:
        """How many components of each kind."""
        return {kind: len(self[kind]) for kind in Kind}


EMPTY: Final = Catalog()


@dataclass(frozen=True)
class Filter:
    """Which components of a kind are shown, by globs on their origins, and under which other names.

    `rename` maps an origin to what is then put under the namespace as if the upstream called it so. `withheld` are origins that are not to be had for now.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()

    def admits(self, origin: str) -> bool:
        """Whether a component is shown: some `include` matches and no `exclude` does."""
        return any(fnmatchcase(origin, glob) for glob in self.include) and not self.excludes(origin)

    def excludes(self, origin: str) -> bool:
        """Whether a component is not to be had, by whatever way."""
        return origin in self.withheld or any(fnmatchcase(origin, glob) for glob in self.exclude)

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """The way back of `rename`."""
        return {shown: origin for origin, shown in self.rename.items()}


_OPEN: Final = Filter()


@dataclass(frozen=True)
class Mount:
    """How an upstream stands in the mesh.

    Attributes:
        name: the upstream's configured name.
        namespace: what its names and URIs get; "" for nothing.
        separator: what stands between the namespace and a name.
        filters: per kind, what is shown; a missing kind is shown whole.
        is_silent: whether its instructions are kept from clients.
        hide_when_down: whether its components leave the listing while it is down.
        home: the name of the process that alone has what is kept there, such as tasks, as what it is called begins (`meshproxy.cluster.home`); "" where any may ask.
    """

    name: str
    namespace: str = ""
    separator: str = "_"
    filters: Mapping[Kind, Filter] = field(default_factory=dict)
    hide_when_down: bool = False
    is_silent: bool = False
    home: str = ""

    def filter(self, kind: Kind) -> Filter:
        return self.filters.get(kind, _OPEN)

    def without(self, withheld: Mapping[Kind, frozenset[str]]) -> "Mount":
        """The same, but that these origins are not to be had."""
        filters = {kind: replace(self.filter(kind), withheld=origins) for kind, origins in withheld.items()}
        return replace(self, filters={**self.filters, **filters})

    def withholds(self, uri: str) -> bool:
        """Whether a URI of the upstream's is an expansion of a template that is withheld, or is one itself."""
        return any(matcher.template == uri or matcher.matches(uri) for matcher in self._withheld)

    @cached_property
    def _withheld(self) -> tuple[TemplateMatcher, ...]:
        return tuple(map(TemplateMatcher, self.filter(Kind.TEMPLATE).withheld))

    def public_key(self, kind: Kind, origin: str, *, by_uri: bool) -> str:
        """What a component is called in the mesh."""
        shown = self.filter(kind).rename.get(origin, origin)
        return public_uri(self.namespace, shown) if by_uri else public_name(self.namespace, self.separator, shown)

    def public_of(self, kind: Kind, key: str) -> str:
        """The same, by what tells a component from others of its kind."""
        return self.public_key(kind, key, by_uri=KINDS[kind].by_uri)

    def public(self, uri: str) -> str:
        """A URI of the upstream's as clients see it, listed or not."""
        return public_uri(self.namespace, self.filter(Kind.RESOURCE).rename.get(uri, uri))

    def origin(self, uri: str) -> str:
        """A URI that clients use as the upstream knows it, listed or not."""
        shown = origin_uri(self.namespace, uri)
        return self.filter(Kind.RESOURCE).origins.get(shown, shown)
