"""`meshproxy why`: which rule decides what a principal may do with a component."""

import asyncio
import json
from pathlib import Path
from typing import Any

from meshproxy.access.rules import Facts, Verdict
from meshproxy.access.views import Views
from meshproxy.catalog.snapshot import Route, Snapshot
from meshproxy.cli.entry import Failure
from meshproxy.cli.peer import loaded, peer_of_config, until_interrupted
from meshproxy.cli.text import show
from meshproxy.config.models import MeshConfig
from meshproxy.kinds import Kind
from meshproxy.relay.principal import ANONYMOUS, LOCAL, Principal, Visitor

__all__ = ["why"]


def why(
    who: str, name: str, file: str, *, groups: list[str], scopes: list[str], claims: list[str], profile: str
) -> int:
    """Say what may be done and which rule says so; 0 if it may be used, 1 if not."""
    config = loaded(file)
    if profile and profile not in config.profiles:
        raise Failure(f"there is no profile {profile!r}; there are: {', '.join(config.profiles) or 'none'}", status=2)
    principal = _principal(config, who, groups, scopes, _claims(claims))
    views = Views()
    views.take(config)

    async def main() -> int:
        async with peer_of_config(config) as peer:
            await asyncio.gather(*(provider.settled() for provider in peer.providers))
            return _told(config, views, Visitor(principal, profile), peer.server.composite.snapshot, name)

    return until_interrupted(main)


def _told(config: MeshConfig, views: Views, visitor: Visitor, snapshot: Snapshot, name: str) -> int:
    found = [(kind, route) for kind in Kind if (route := snapshot.find(kind, name)) is not None]
    if not found and (route := snapshot.resolve_uri(name)) is not None:
        found = [(Kind.RESOURCE, route)]
    if not found:
        raise Failure(f"there is no component {name!r}; meshproxy list shows what there is")
    view = views.look(visitor, snapshot)
    who = visitor.principal
    may_all = True
    for kind, route in found:
        verdict = views.verdict(visitor, _facts(kind, name, route))
        # The profile has the last word, and calls some things differently.
        sources = [
            shown
            for shown in view.routes[kind].values()
            if shown.origin == route.origin and shown.source is route.source
        ]
        has = bool(sources) or (kind is Kind.RESOURCE and view.resolve_uri(name) is not None)
        is_bound = who.profiles is not None and visitor.profile not in who.profiles
        may = has and not is_bound
        may_all &= may
        answer = "allowed" if may else "forbidden"
        if may and verdict.by_call:
            answer = "allowed or forbidden by the arguments of each call"
        elif may and verdict.confirm:
            answer = "allowed, if the caller agrees when it is asked"
        show(f"{kind} {name} for {who.identity}: {answer}")
        show(f"  {_reason(config, verdict)}")
        if is_bound:
            show(f"  the key opens these profiles alone: {', '.join(sorted(who.profiles or ()))}")
        elif verdict.allowed and not has:
            show(f"  profile {visitor.profile!r} leaves it out")
    return 0 if may_all else 1


def _facts(kind: Kind, name: str, route: Route) -> Facts:
    component = route.component
    if component is None or component.public == name:
        return Facts(kind, name, route.mount.name, route.origin, component.definition if component else {})
    return Facts(kind, name, route.mount.name, route.origin, {}, component.public)


def _reason(config: MeshConfig, verdict: Verdict) -> str:
    if config.access is None:
        return "there are no rules, so everybody may use everything"
    if verdict.rule is None:
        return "no rule matches, and what none matches is forbidden"
    lines = config.source.rules
    place = f"{config.source.path or Path()}:{lines[verdict.rule]}" if verdict.rule < len(lines) else "the config"
    decides = "decides first" if verdict.by_call else "decides"
    failed = ": its condition cannot be decided, as where a claim is not there" if verdict.failed else ""
    return f"rule {verdict.rule + 1}, at {place}, {decides}{failed}"


def _claims(written: list[str]) -> dict[str, Any]:
    """Claims as NAME=VALUE; a value is JSON where it can be, and else a text."""
    found: dict[str, Any] = {}
    for one in written:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise Failure(f"{one!r} is no claim; write NAME=VALUE, as dept=docs", status=2)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _principal(config: MeshConfig, who: str, groups: list[str], scopes: list[str], claims: dict[str, Any]) -> Principal:
    """A principal as it is written: anonymous, local, the name of a key, or kind:name."""
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
        raise Failure(
            f"there is no key {name!r}; write token:SUBJECT or certificate:NAME for other principals", status=2
        )
    profiles = None if key.profiles is None else frozenset(key.profiles)
    return Principal("key", name, groups=frozenset({*key.groups, *groups}), profiles=profiles)
