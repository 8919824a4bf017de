"""`reasons`: which rule decides what a principal may do with a component. Place: access, for whoever explains it: `meshproxy why`, over a file or over `/api` of a mesh that runs.

What it gives is for JSON: {"principal": "key:ada", "name": "docs_search", "profile": "", "allowed": true, "decisions": [{"kind": "tool", "allowed": true, "answer": "...",
"rule": 1, "place": "mesh.yaml:7", "reasons": ["..."]}]}. `rule` counts from 1, and is null where none decides; a component of a name may be of several kinds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshproxy.access.rules import Facts, Verdict
from meshproxy.access.views import Views
from meshproxy.catalog.route import Route
from meshproxy.catalog.snapshot import Snapshot
from meshproxy.config.models import MeshConfig
from meshproxy.errors import MeshError
from meshproxy.kinds import Kind
from meshproxy.relay.principal import ANONYMOUS, LOCAL, Principal, Visitor

__all__ = ["NoComponent", "NoPrincipal", "reasons", "visitor_of"]


class NoPrincipal(MeshError):
    """Nobody is meant by what was written, or no profile."""


class NoComponent(MeshError):
    """Nothing has that name."""


def visitor_of(
    config: MeshConfig, who: str, profile: str, groups: Sequence[str], scopes: Sequence[str], claims: Sequence[str]
) -> Visitor:
    """Whoever is meant, at the address of a profile.

    Args:
        config: whose keys and profiles are meant.
        who: `anonymous`, `local`, the name of a key, or `token:SUBJECT`, `certificate:NAME`, `key:NAME`.
        profile: the name of one; "" for the address of the whole mesh.
        groups: of his, beside those of a key.
        scopes: of a token.
        claims: of a token, each NAME=VALUE; a value is JSON where it can be, and else a text.

    Raises:
        NoPrincipal: there is no such key or profile, or a claim is none.
    """
    if profile and profile not in config.profiles:
        raise NoPrincipal(f"there is no profile {profile!r}; there are: {', '.join(config.profiles) or 'none'}")
    return Visitor(_principal(config, who, groups, scopes, _claims(claims)), profile)


def reasons(config: MeshConfig, visitor: Visitor, snapshot: Snapshot, name: str) -> dict[str, Any]:
    """What `visitor` may do with what a public name or URI stands for, and why; see the module. Nothing is opened for him.

    Raises:
        NoComponent: there is none of that name.
    """
    # What an upstream offers each caller over an account of his own is not opened to explain it.
    snapshot = replace(snapshot, members=tuple(replace(member, own=None) for member in snapshot.members))
    found = [(kind, route) for kind in Kind if (route := snapshot.find(kind, name)) is not None]
    if not found and (route := snapshot.resolve_uri(name)) is not None:
        found = [(Kind.RESOURCE, route)]
    if not found:
        raise NoComponent(f"there is no component {name!r}; meshproxy list shows what there is")
    views = Views()
    views.take(config)
    view = views.look(visitor, snapshot)
    decisions = [_decision(config, views, visitor, view, kind, name, route) for kind, route in found]
    return {
        "principal": visitor.principal.identity,
        "name": name,
        "profile": visitor.profile,
        "allowed": all(one["allowed"] for one in decisions),
        "decisions": decisions,
    }


def _decision(
    config: MeshConfig, views: Views, visitor: Visitor, view: Snapshot, kind: Kind, name: str, route: Route
) -> dict[str, Any]:
    verdict = views.verdict(visitor, _facts(kind, name, route))
    # The profile has the last word, and calls some things differently.
    has = any(shown.origin == route.origin and shown.source is route.source for shown in view.routes[kind].values())
    has = has or (kind is Kind.RESOURCE and view.resolve_uri(name) is not None)
    opens = visitor.principal.profiles
    is_bound = opens is not None and visitor.profile not in opens
    may = has and not is_bound
    answer = "allowed" if may else "forbidden"
    if may and verdict.by_call:
        answer = "allowed or forbidden by the arguments of each call"
    elif may and verdict.confirm:
        answer = "allowed, if the caller agrees when it is asked"
    place = _place(config, verdict)
    told = [_reason(config, verdict, place)]
    if is_bound:
        told.append(f"the key opens these profiles alone: {', '.join(sorted(opens or ()))}")
    elif verdict.allowed and not has:
        told.append(f"profile {visitor.profile!r} leaves it out")
    rule = None if verdict.rule is None else verdict.rule + 1
    return {"kind": str(kind), "allowed": may, "answer": answer, "rule": rule, "place": place, "reasons": told}


def _facts(kind: Kind, name: str, route: Route) -> Facts:
    component = route.component
    if component is None or component.public == name:
        return Facts(kind, name, route.mount.name, route.origin, component.definition if component else {})
    return Facts(kind, name, route.mount.name, route.origin, {}, component.public)


def _place(config: MeshConfig, verdict: Verdict) -> str | None:
    lines = config.source.rules
    if verdict.rule is None:
        return None
    return f"{config.source.path or Path()}:{lines[verdict.rule]}" if verdict.rule < len(lines) else "the config"


def _reason(config: MeshConfig, verdict: Verdict, place: str | None) -> str:
    if config.access is None:
        return "there are no rules, so everybody may use everything"
    if verdict.rule is None:
        return "no rule matches, and what none matches is forbidden"
    decides = "decides first" if verdict.by_call else "decides"
    failed = ": its condition cannot be decided, as where a claim is not there" if verdict.failed else ""
    return f"rule {verdict.rule + 1}, at {place}, {decides}{failed}"


def _claims(written: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in written:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise NoPrincipal(f"{one!r} is no claim; write NAME=VALUE, as dept=docs")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found


def _principal(
    config: MeshConfig, who: str, groups: Sequence[str], scopes: Sequence[str], claims: Mapping[str, Any]
) -> Principal:
    if who in ("anonymous", "local"):
        return (ANONYMOUS if who == "anonymous" else LOCAL).principal
    kind, _, name = who.partition(":")
    if kind not in ("key", "token", "certificate") or not name:
        kind, name = "key", who
    if kind != "key":
        return Principal(kind, name, groups=frozenset(groups), scopes=frozenset(scopes), claims=claims)
    auth = config.server.auth
    key = next((key for key in (auth.keys if auth is not None else ()) if key.name == name), None)
    if key is None:
        raise NoPrincipal(f"there is no key {name!r}; write token:SUBJECT or certificate:NAME for other principals")
    profiles = None if key.profiles is None else frozenset(key.profiles)
    return Principal("key", name, groups=frozenset({*key.groups, *groups}), profiles=profiles)
