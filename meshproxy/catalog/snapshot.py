"""`Snapshot`: all listings and routes of one version of the mesh, built at once by `build_snapshot`. Immutable.

The listing and the look-up come from the same table, so they cannot disagree.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from meshproxy.catalog.catalog import Catalog, Mount
from meshproxy.catalog.component import COMPONENTS, ProxyTool, Source
from meshproxy.catalog.definitions import with_object_schemas
from meshproxy.catalog.rewrite import rewrite_definition
from meshproxy.catalog.route import Route
from meshproxy.kinds import KINDS, Kind
from meshproxy.naming import TemplateMatcher, split_uri
from meshproxy.wire.codec import dumps
from meshproxy.wire.headers import ParamMap, param_header_map
from meshproxy.wire.protocol import KNOWN_EXTENSIONS, Era

INSTRUCTIONS_LIMIT: Final = 16_000
"""Characters of one upstream's instructions that are handed on; a model reads them all."""


@dataclass(frozen=True, slots=True)
class Member:
    """One upstream as a snapshot is built of it.

    Attributes:
        mount: its place.
        source: where it is used.
        catalog: what it offers; None as long as it was never listed.
        is_up: whether it can be used.
        own: what stands in its place for a visitor, where that is each one's own; None where it is the same for all.
    """

    mount: Mount
    source: Source
    catalog: Catalog | None
    is_up: bool = True
    own: Callable[[Any], "Member"] | None = None


@dataclass(frozen=True)
class Part:
    """What one upstream brings into a snapshot. It is made once, and is in each snapshot until the upstream or its place in the mesh changes.

    Attributes:
        member: the upstream that it was made of.
        routes: per kind, the public names or URIs and where they lead, in the upstream's order. A name may come twice.
    """

    member: Member
    routes: Mapping[Kind, tuple[tuple[str, Route], ...]]

    def is_of(self, member: Member) -> bool:
        """Whether `member` would bring the same."""
        mine = self.member
        is_placed_alike = mine.mount is member.mount or mine.mount == member.mount
        return mine.catalog is member.catalog and mine.source is member.source and is_placed_alike

    def shown(self, kind: Kind, era: Era) -> tuple[bytes, ...]:
        """The definition of each of a kind's routes, as clients of an era are shown it. Encoded once."""
        known = self._shown.get((kind, era))
        if known is None:
            known = tuple(dumps(_shown(route, era)) for _, route in self.routes[kind])
            self._shown[kind, era] = known
        return known

    @cached_property
    def _shown(self) -> dict[tuple[Kind, Era], tuple[bytes, ...]]:
        return {}


@dataclass(frozen=True, slots=True)
class Collision:
    """Two components that end at one public name: `loser` is not served."""

    kind: Kind
    public: str
    winner: str
    loser: str

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.public!r} of upstream {self.loser!r} is hidden by that of {self.winner!r}: "
            "give one of them another namespace, or rename or exclude it"
        )


@dataclass(frozen=True)
class Snapshot:
    """One version of the mesh.

    Attributes:
        members: the upstreams, in the order of the config.
        routes: per kind, public name or URI -> route, in the order of the listing.
        collisions: what lost its name to an earlier upstream.
        parts: what the upstreams bring that are shown, in the order of the config.
        silent: the names of members of which nothing is told, as nothing of them may be used by whoever sees this.
        admits: says whether a public URI that is not listed may be had by its route; None admits all.
        is_private: whether it is for some clients and not for others, so that nobody may keep it for all (SEP-2549).
    """

    members: tuple[Member, ...] = ()
    routes: Mapping[Kind, Mapping[str, Route]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    collisions: tuple[Collision, ...] = ()
    parts: tuple[Part, ...] = field(default=(), compare=False, repr=False)
    silent: frozenset[str] = frozenset()
    admits: Callable[[str, Route], bool] | None = None
    is_private: bool = False

    @cached_property
    def annotated(self) -> Mapping[str, dict[str, Any]]:
        """The input schemas of the tools of which arguments go into headers, by public names."""
        tools = ((public, route) for public, route in self.routes[Kind.TOOL].items() if route.headers)
        return {
            public: route.component.definition["inputSchema"] for public, route in tools if route.component is not None
        }

    def find(self, kind: Kind, public: str) -> Route | None:
        """The route of a listed name or URI."""
        return self.routes[kind].get(public)

    def resolve_uri(self, uri: str) -> Route | None:
        """The route of any public URI: listed, else an expansion of a template, else by its namespace, else at the upstream without one.

        A mount's filters hold for what is not listed, too; an expansion need not be included, since its template is.
        """
        route = self.routes[Kind.RESOURCE].get(uri)
        if route is not None:
            return route
        route = self._unlisted(uri)
        return route if route is None or self.admits is None or self.admits(uri, route) else None

    def _unlisted(self, uri: str) -> Route | None:
        for matcher, template in self.matchers:
            if matcher.matches(uri):
                mount = template.mount
                origin = mount.origin(uri)
                if not mount.filter(Kind.RESOURCE).excludes(origin):
                    return Route(template.source, origin, mount, template.component)
        split = split_uri(uri)
        member = (self._by_namespace.get(split[0]) if split else None) or self._by_namespace.get("")
        if member is None:
            return None
        origin = member.mount.origin(uri)
        if not member.mount.filter(Kind.RESOURCE).admits(origin) or member.mount.withholds(origin):
            return None
        return Route(member.source, origin, member.mount)

    def resolve_template(self, template: str) -> Route | None:
        """The route of a public URI template, or of a concrete URI, as a completion refers to it."""
        return self.routes[Kind.TEMPLATE].get(template) or self.resolve_uri(template)

    def listing(self, kind: Kind, era: Era) -> bytes:
        """The JSON array of a kind's definitions, as clients of an era are shown them. Encoded once."""
        known = self._listings.get((kind, era))
        if known is None:
            table = self.routes[kind]
            pieces = [
                piece
                for part in self.parts
                for (public, route), piece in zip(part.routes[kind], part.shown(kind, era), strict=True)
                if table.get(public) is route
            ]
            known = self._listings[kind, era] = b"[%b]" % b",".join(pieces)
        return known

    def changed_kinds(self, other: "Snapshot") -> tuple[Kind, ...]:
        """The kinds whose listing differs between two snapshots."""
        return tuple(kind for kind in Kind if self.listing(kind, Era.MODERN) != other.listing(kind, Era.MODERN))

    def caching(self, kind: Kind) -> tuple[int, bool]:
        """`ttlMs` and whether the scope is public, for a listing: the shortest of all, and public only if all are."""
        catalogs = [member.catalog for member in self.members if member.catalog is not None]
        ttl = min((catalog.ttl.get(kind, 0) for catalog in catalogs), default=0)
        is_public = bool(catalogs) and not self.is_private
        return ttl, is_public and not any(kind in catalog.private for catalog in catalogs)

    @cached_property
    def is_personal(self) -> bool:
        """Whether something in it is each visitor's own, so that nobody sees this as it is."""
        return any(member.own is not None for member in self.members)

    @cached_property
    def trail(self) -> frozenset[str]:
        """The other meshes that what is listed here came through."""
        return frozenset().union(*(member.catalog.trail for member in self.members if member.catalog is not None))

    @cached_property
    def extensions(self) -> dict[str, Any]:
        """Server extensions that pass through the mesh, the first upstream's settings of each."""
        found: dict[str, Any] = {}
        for member in self._told:
            offered = member.catalog.capabilities.get("extensions") if member.catalog else None
            if isinstance(offered, Mapping):
                found = {key: value for key, value in offered.items() if key in KNOWN_EXTENSIONS} | found
        return found

    def instructions(self, preface: str | None) -> str | None:
        """The mesh's own words, then a section for each upstream that has some; None if there is nothing to say."""
        parts = [preface] if preface else []
        for member in self._told:
            text = member.catalog.instructions if member.catalog and not member.mount.is_silent else None
            if text:
                title = member.mount.namespace or member.mount.name
                parts.append(f"## {title}\n\n{text[:INSTRUCTIONS_LIMIT]}" if self._needs_titles else text)
        return "\n\n".join(parts) or None

    @property
    def _needs_titles(self) -> bool:
        return len(self._told) > 1 or any(member.mount.namespace for member in self._told)

    @cached_property
    def _told(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.mount.name not in self.silent)

    @cached_property
    def answers(self) -> dict[object, Any]:
        """What is asked again and again, encoded, by whatever the asker calls it."""
        return {}

    @cached_property
    def _listings(self) -> dict[tuple[Kind, Era], bytes]:
        return {}

    @cached_property
    def matchers(self) -> tuple[tuple[TemplateMatcher, Route], ...]:
        """What tells the expansions of each template, and its route."""
        return tuple((TemplateMatcher(public), route) for public, route in self.routes[Kind.TEMPLATE].items())

    @cached_property
    def _by_namespace(self) -> dict[str, Member]:
        found: dict[str, Member] = {}
        for member in self.members:
            found.setdefault(member.mount.namespace, member)
        return found


def build_snapshot(members: Sequence[Member], before: Snapshot | None = None) -> Snapshot:
    """Put the catalogs of all upstreams together. Pure: the same members make an equal snapshot.

    What is the same as in `before` is taken from there, so that a mesh of hundreds does not do all of its work for each of them that changes.
    """
    known = {id(part.member.source): part for part in before.parts} if before is not None else {}
    parts = []
    for member in members:
        if member.catalog is None or (member.mount.hide_when_down and not member.is_up):
            continue
        part = known.get(id(member.source))
        parts.append(part if part is not None and part.is_of(member) else _part(member, member.catalog))
    collisions: list[Collision] = []
    routes: dict[Kind, dict[str, Route]] = {kind: {} for kind in Kind}
    for kind, table in routes.items():
        for part in parts:
            for public, route in part.routes[kind]:
                winner = table.setdefault(public, route)
                if winner is not route and not _are_the_same(winner, route, kind):
                    collisions.append(Collision(kind, public, winner.mount.name, route.mount.name))
    return Snapshot(tuple(members), routes, tuple(collisions), tuple(parts))


def _part(member: Member, catalog: Catalog) -> Part:
    return Part(member, {kind: tuple(_routes(member, catalog[kind], kind)) for kind in Kind})


def _are_the_same(winner: Route, loser: Route, kind: Kind) -> bool:
    """Whether nothing is hidden: an upstream lists something twice, or two list what every client can fetch at its URI."""
    if winner.origin != loser.origin:
        return False
    return winner.source is loser.source or (
        KINDS[kind].by_uri and winner.origin.lower().startswith(("http:", "https:"))
    )


def _routes(member: Member, definitions: Iterable[Mapping[str, Any]], kind: Kind) -> Iterable[tuple[str, Route]]:
    mount, spec = member.mount, KINDS[kind]
    shown = mount.filter(kind)
    for definition in definitions:
        origin = definition.get(spec.key)
        # A component without its key cannot be used by anybody.
        if not isinstance(origin, str) or not shown.admits(origin):
            continue
        public = mount.public_key(kind, origin, by_uri=spec.by_uri)
        mapped = rewrite_definition(definition, mount.public)
        component = COMPONENTS[kind](definition=mapped, source=member.source, origin=origin, public=public)
        headers: ParamMap = param_header_map(definition.get("inputSchema")) if kind is Kind.TOOL else {}
        needs_task = isinstance(component, ProxyTool) and component.needs_task
        yield public, Route(member.source, origin, mount, component, headers, needs_task=needs_task)


def _shown(route: Route, era: Era) -> dict[str, Any]:
    """A definition as an era allows it: `execution` is of 2025-11-25 tasks, which clients do not make; legacy schemas are of objects, in objects."""
    definition = route.component.listed() if route.component else {}
    definition.pop("execution", None)
    if era is Era.LEGACY:
        for key in ("inputSchema", "outputSchema"):
            schema = definition.get(key)
            if isinstance(schema, Mapping):
                definition[key] = with_object_schemas(schema)
        schema = definition.get("outputSchema")
        if isinstance(schema, Mapping) and schema.get("type") != "object":
            del definition["outputSchema"]
    return definition
