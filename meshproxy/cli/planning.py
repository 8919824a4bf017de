"""`meshproxy plan`: what a reload would do, without doing it."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from meshproxy.cli.peer import until_interrupted
from meshproxy.cli.text import show, show_json
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.kinds import Kind
from meshproxy.login.logins import Logins
from meshproxy.mesh.memory import Memory
from meshproxy.mesh.plan import plan as planned
from meshproxy.mesh.upstreams import mount_of, provider_of
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.state.place import place
from meshproxy.state.store import Store
from meshproxy.supervision.starts import Starts

__all__ = ["plan"]

DIFFERS = 10
_LIVE = ("reload", "access", "profiles", "observe")
"""Sections that are in force at once, besides `server.auth`."""

Names = dict[tuple[str, str], str]
"""By kind and public name, whose it is: the upstream and its own name for it."""


def plan(file: str, against: str | None, *, as_json: bool) -> int:
    """Print it; 0 if nothing would change, 10 if anything would. Raises `ConfigError` for what is wrong with either file."""
    new = load(file)
    old = MeshConfig() if against is None else load(against)
    running = {spec.name: spec for spec in old.enabled}
    todo = planned(running, old, new)
    changed = [name for name in todo.start if name in todo.retire]
    found: dict[str, Any] = {
        "keep": list(todo.keep),
        "start": [name for name in todo.start if name not in changed],
        "change": changed,
        "retire": [name for name in todo.retire if name not in changed],
        "show": [name for name in todo.keep if running[name].view != new.upstreams[name].view],
        "limit": [name for name in todo.keep if running[name].live != new.upstreams[name].live],
        "live": [key for key in _LIVE if getattr(old, key, None) != getattr(new, key, None)],
        "restart_required": [] if against is None else list(todo.restart_required),
    }
    if old.server.auth != new.server.auth:
        found["live"].append("server.auth")
    files = [Path(one) for one in (file, against) if one is not None]

    async def main() -> int:
        before, _ = _offered(old, files)
        after, unknown = _offered(new, files)
        found["names"] = {
            "appear": _spelled(key for key in after if key not in before),
            "vanish": _spelled(key for key in before if key not in after),
            "lead_elsewhere": _spelled(key for key in after if key in before and before[key] != after[key]),
            "unknown": unknown,
        }
        return 0

    until_interrupted(main)
    differs = any(found[key] for key in found if key not in ("keep", "names")) or old != new
    if as_json:
        show_json({"differs": differs, **found})
    else:
        _tell(found, differs=differs)
    return DIFFERS if differs else 0


def _offered(config: MeshConfig, files: Iterable[Path]) -> tuple[Names, list[str]]:
    """The public names of a config as far as they are remembered, and the upstreams of which nothing is."""
    server = FastMCP(config.name, list_grace=0)
    memories = [Memory(Store(place(config.state, file))) for file in files]
    unknown = []
    for spec in config.enabled:
        provider = provider_of(spec, config.scrubber, server.stamp, Starts(), Logins(None, None))
        for memory in memories:
            with contextlib.suppress(OSError):
                memory.recall(spec, provider)
        if provider.catalog is None:
            unknown.append(spec.name)
        server.composite.add(provider, mount_of(spec, config))
    snapshot = server.composite.snapshot
    names = {
        (str(kind), public): f"{route.mount.name}\0{route.origin}"
        for kind in Kind
        for public, route in snapshot.routes[kind].items()
    }
    return names, unknown


def _spelled(keys: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"kind": kind, "name": name} for kind, name in keys]


def _tell(found: dict[str, Any], *, differs: bool) -> None:
    words = {
        "keep": "kept", "start": "started", "change": "started anew, and the old one drained", "retire": "drained and closed",
        "show": "shown differently", "limit": "limited differently", "live": "in force at once", "restart_required": "in force at the next start",
    }  # fmt: skip
    for key, told in words.items():
        if found[key]:
            show(f"{told}: {', '.join(found[key])}")
    for key, told in (("appear", "+"), ("vanish", "-"), ("lead_elsewhere", "~")):
        for one in found["names"][key]:
            show(f"  {told} {one['kind']} {one['name']}")
    if found["names"]["unknown"] and differs:
        show(f"names not known, since they were never listed here: {', '.join(found['names']['unknown'])}")
    if not differs:
        show("nothing would change")
