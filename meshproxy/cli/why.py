"""`meshproxy why`: which rule decides what a principal may do with a component, by a file, or as a mesh that runs says."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from meshproxy.access.why import NoComponent, NoPrincipal, reasons, visitor_of
from meshproxy.cli.api_client import ApiClient
from meshproxy.cli.entry import Failure
from meshproxy.cli.peer import is_url, loaded, peer_of_config, until_interrupted
from meshproxy.cli.text import show, show_json

__all__ = ["why"]


def why(
    who: str,
    name: str,
    target: str,
    *,
    groups: Sequence[str],
    scopes: Sequence[str],
    claims: Sequence[str],
    profile: str,
    headers: Sequence[str],
    as_json: bool,
) -> int:
    """Say what may be done and which rule says so; 0 if it may be used, 1 if not."""
    if headers and not is_url(target):
        raise Failure("--header goes with a URL", status=2)
    if is_url(target):
        found = ApiClient(target, headers).get(
            "why", principal=who, name=name, profile=profile, group=groups, scope=scopes, claim=claims
        )
    else:
        found = _by_file(who, name, target, profile, groups, scopes, claims)
    if as_json:
        show_json(found)
    else:
        _show(found)
    return 0 if found["allowed"] else 1


def _by_file(
    who: str, name: str, file: str, profile: str, groups: Sequence[str], scopes: Sequence[str], claims: Sequence[str]
) -> dict[str, Any]:
    config = loaded(file)
    told: list[dict[str, Any]] = []

    async def main() -> int:
        async with peer_of_config(config) as peer:
            await asyncio.gather(*(provider.settled() for provider in peer.providers))
            told.append(reasons(config, visitor, peer.server.composite.snapshot, name))
        return 0

    try:
        visitor = visitor_of(config, who, profile, groups, scopes, claims)
        until_interrupted(main)
    except NoPrincipal as error:
        raise Failure(str(error), status=2) from None
    except NoComponent as error:
        raise Failure(str(error)) from None
    return told[0]


def _show(found: Mapping[str, Any]) -> None:
    for one in found["decisions"]:
        show(f"{one['kind']} {found['name']} for {found['principal']}: {one['answer']}")
        for reason in one["reasons"]:
            show(f"  {reason}")
