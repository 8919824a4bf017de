"""`Views`: what each visitor sees of a snapshot. A view is a snapshot itself, with less in it. Place: access.

One is made for each class of principals at each address when the first of them comes, and is thrown away with the snapshot. Whatever is listed, called, completed,
read, subscribed to or announced is looked up in it and nowhere else, so that none of these can disagree.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from meshproxy.access.rules import FREE, Facts, Rules, Standing, Verdict
from meshproxy.catalog.catalog import Filter
from meshproxy.catalog.route import Route
from meshproxy.catalog.snapshot import Member, Part, Snapshot, build_snapshot
from meshproxy.config.access import Profile
from meshproxy.config.models import MeshConfig
from meshproxy.config.sections import Renaming
from meshproxy.kinds import KINDS, Kind
from meshproxy.naming import TemplateMatcher
from meshproxy.relay.principal import Visitor

__all__ = ["Views"]

_MOST: Final = 4096
"""Views that are kept of one snapshot; tokens of many people may make many classes."""


class Views:
    """The views of the snapshot that is looked at, by the rules and profiles in force."""

    def __init__(self) -> None:
        self.rules = FREE
        self.is_private = False
        self._profiles: dict[str, Profile] = {}
        self._of: Snapshot | None = None
        self._made: dict[tuple[str, Standing], Snapshot] = {}
        self._own: OrderedDict[tuple[str, str], _Own] = OrderedDict()

    def take(self, config: MeshConfig) -> None:
        """Go by what a config says, from the next snapshot on."""
        self.rules = Rules(config.access)
        self.is_private = config.server.auth is not None
        self._profiles = dict(config.profiles)
        self._of = None
        self._own.clear()

    def look(self, visitor: Visitor, snapshot: Snapshot) -> Snapshot:
        """What a visitor sees of a snapshot; it is remembered with the visitor."""
        if snapshot.is_personal:
            return self._look_at_own(visitor, snapshot)
        if visitor.viewed is not snapshot:
            if self._of is not snapshot or len(self._made) >= _MOST:
                self._of = snapshot
                self._made.clear()
            kind = (visitor.profile, self.rules.about(visitor.principal))
            view = self._made.get(kind)
            if view is None:
                view = self._made[kind] = self._make(snapshot, *kind)
            visitor.viewed, visitor.view = snapshot, view
        found: Snapshot = visitor.view
        return found

    def _look_at_own(self, visitor: Visitor, snapshot: Snapshot) -> Snapshot:
        """The same where something in the snapshot is the visitor's own, which changes by itself: so it is looked at each time."""
        profile = self._profiles.get(visitor.profile)
        chosen = None if profile is None else profile.upstreams
        members = tuple(
            # What is not at this address needs nothing of his own.
            member
            if member.own is None or (chosen is not None and member.mount.name not in chosen)
            else member.own(visitor)
            for member in snapshot.members
        )
        standing = self.rules.about(visitor.principal)
        key = (visitor.principal.identity, visitor.profile)
        known = self._own.get(key)
        if known is None or known.standing != standing or not _are_same(known.members, members):
            whole = build_snapshot(members, snapshot if known is None else known.whole)
            view = self._make(whole, visitor.profile, standing)
            view = view if view.is_private else replace(view, is_private=True)
            known = self._own[key] = _Own(members, standing, whole, view)
            if len(self._own) > _MOST:
                self._own.popitem(last=False)
        self._own.move_to_end(key)
        visitor.viewed, visitor.view = None, known.view
        return known.view

    def verdict(self, visitor: Visitor, facts: Facts) -> Verdict:
        """What the rules say to a visitor of a component, whatever its profile has."""
        return self.rules.decide(self.rules.about(visitor.principal), facts)

    def profile(self, name: str) -> Profile | None:
        """A profile by its name."""
        return self._profiles.get(name)

    def _make(self, snapshot: Snapshot, name: str, standing: Standing) -> Snapshot:
        profile = self._profiles.get(name)
        if self.rules.rules is None and profile is None:
            return replace(snapshot, is_private=True) if self.is_private else snapshot
        return _Choice(self.rules, standing, profile or Profile()).of(snapshot)


class _Own(NamedTuple):
    """What one principal sees at one address, and of what it was made: `whole` is what is there before rules and profiles."""

    members: tuple[Member, ...]
    standing: Standing
    whole: Snapshot
    view: Snapshot


def _are_same(members: tuple[Member, ...], others: tuple[Member, ...]) -> bool:
    return len(members) == len(others) and all(
        one is other
        or (
            one.source is other.source
            and one.catalog is other.catalog
            and one.is_up == other.is_up
            and one.mount == other.mount
        )
        for one, other in zip(members, others, strict=True)
    )


class _Choice:
    """What one class of principals may have at one address."""

    def __init__(self, rules: Rules, standing: Standing, profile: Profile) -> None:
        self._rules = rules
        self._standing = standing
        self._upstreams = None if profile.upstreams is None else frozenset(profile.upstreams)
        self._filters = {kind: _filter(profile, kind) for kind in Kind}
        self._hidden: dict[str, TemplateMatcher] = {}

    def of(self, snapshot: Snapshot) -> Snapshot:
        """What it is of a snapshot."""
        members = tuple(member for member in snapshot.members if self._has(member))
        routes: dict[Kind, dict[str, Route]] = {kind: {} for kind in Kind}
        parts = []
        for part in snapshot.parts:
            chosen = {kind: self._chosen(snapshot, part, kind) for kind in Kind}
            is_altered = False
            for kind, pairs in chosen.items():
                for (public, route), name, as_seen in pairs:
                    routes[kind].setdefault(name, as_seen)
                    is_altered |= as_seen is not route or name != public
            # One of which nothing is altered is listed from what is encoded already, less what is not in the table.
            altered = {kind: tuple((name, seen) for _, name, seen in pairs) for kind, pairs in chosen.items()}
            parts.append(Part(part.member, altered) if is_altered else part)
        for matcher, route in snapshot.matchers:
            if route.component is not None and (public := route.component.public) not in routes[Kind.TEMPLATE]:
                self._hidden[public] = matcher
        heard = {id(route.source) for table in routes.values() for route in table.values()}
        silent = frozenset(member.mount.name for member in members if id(member.source) not in heard)
        return Snapshot(members, routes, snapshot.collisions, tuple(parts), silent, self._admits, is_private=True)

    def _chosen(self, snapshot: Snapshot, part: Part, kind: Kind) -> list[tuple[tuple[str, Route], str, Route]]:
        """What is seen of a part: the public name and the route, and what both are for whoever sees it."""
        table, shown = snapshot.routes[kind], self._filters[kind]
        chosen = []
        for public, route in part.routes[kind]:
            if table.get(public) is route and (verdict := self._verdict(kind, public, route)).allowed:
                as_seen = _called(route, shown, public)
                if verdict.by_call:
                    as_seen = as_seen.judged(partial(self._judged, self._facts(kind, public, route)))
                elif verdict.confirm:
                    as_seen = as_seen.confirmed()
                chosen.append(((public, route), shown.rename.get(public, public), as_seen))
        return chosen

    def _has(self, member: Member) -> bool:
        return self._upstreams is None or member.mount.name in self._upstreams

    def _admits(self, public: str, route: Route) -> bool:
        """Whether a URI that is not listed may be read, by the rules for itself and for its template, if it has one.

        An expansion need not be included, since its template is; one of a template that the profile leaves out is left out, too.
        """
        if self._filters[Kind.RESOURCE].excludes(public):
            return False
        template = self._template(public) if route.component is None else route.component.public
        if template is None:
            return self._verdict(Kind.RESOURCE, public, route).allowed
        if not self._filters[Kind.TEMPLATE].admits(template):
            return False
        facts = Facts(Kind.RESOURCE, public, route.mount.name, route.origin, {}, template)
        return self._rules.decide(self._standing, facts).allowed

    def _template(self, public: str) -> str | None:
        """The template that is not shown and that a URI is an expansion of, or that it is itself."""
        if public in self._hidden:
            return public
        return next((template for template, hidden in self._hidden.items() if hidden.matches(public)), None)

    def _verdict(self, kind: Kind, public: str, route: Route) -> Verdict:
        upstream = route.mount.name
        if (self._upstreams is not None and upstream not in self._upstreams) or not self._filters[kind].admits(public):
            return Verdict(allowed=False)
        return self._rules.decide(self._standing, self._facts(kind, public, route))

    def _facts(self, kind: Kind, public: str, route: Route) -> Facts:
        definition: Any = route.component.definition if route.component is not None else {}
        return Facts(kind, public, route.mount.name, route.origin, definition)

    def _judged(self, facts: Facts, arguments: Mapping[str, Any]) -> tuple[bool, bool]:
        """See `Route.judge`."""
        verdict = self._rules.decide(self._standing, facts, arguments)
        return verdict.allowed, verdict.confirm


def _called(route: Route, shown: Filter, public: str) -> Route:
    """A route as a profile calls it."""
    component, name = route.component, shown.rename.get(public)
    if name is None or component is None:
        return route
    return route.called(replace(component, public=name))


def _filter(profile: Profile, kind: Kind) -> Filter:
    written = getattr(profile, KINDS[kind].plural)
    renames = dict(written.rename) if isinstance(written, Renaming) else {}
    return Filter(tuple(written.include), tuple(written.exclude), renames)
