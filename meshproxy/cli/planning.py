"""`meshproxy plan`: what a reload would do, without doing it."""

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from meshproxy.catalog.catalog import Catalog
from meshproxy.cli.api_client import ApiClient
from meshproxy.cli.entry import Failure
from meshproxy.cli.peer import is_url, until_interrupted
from meshproxy.cli.text import show, show_json
from meshproxy.config.fingerprint import fingerprints
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.kinds import KINDS, Kind
from meshproxy.login.logins import Logins
from meshproxy.mesh.comparison import compared
from meshproxy.mesh.memory import Memory
from meshproxy.mesh.upstreams import mount_of, provider_of
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.state.place import place
from meshproxy.state.store import Store
from meshproxy.supervision.starts import Starts
from meshproxy.upstream.client import CLIENT

__all__ = ["plan"]

DIFFERS = 10

Names = dict[tuple[str, str], str]
"""By kind and public name, whose it is: the upstream and its own name for it."""


def plan(file: str, against: str | None, *, headers: Sequence[str], as_json: bool) -> int:
    """Print it; 0 if nothing would change, 10 if anything would. Raises `ConfigError` for what is wrong with either file, and `Failure`."""
    if headers and (against is None or not is_url(against)):
        raise Failure("--header goes with a URL after --against", status=2)
    new = load(file)
    if against is not None and is_url(against):
        found, before, listed = _of_running(new, ApiClient(against, headers))
        files = [Path(file)]
    else:
        old = MeshConfig() if against is None else load(against)
        key = secrets.token_bytes(16)
        found = compared(fingerprints(old, key), fingerprints(new, key))
        if against is None:
            found["restart_required"] = []
        files = [Path(one) for one in (file, against) if one is not None]
        before, listed = _names(old, files, {})[0], {}
    after, unknown = _names(new, files, listed)
    found["names"] = {
        "appear": _spelled(key for key in after if key not in before),
        "vanish": _spelled(key for key in before if key not in after),
        "lead_elsewhere": _spelled(key for key in after if key in before and before[key] != after[key]),
        "unknown": unknown,
    }
    differs: bool = found.pop("differs")
    if as_json:
        show_json({"differs": differs, **found})
    else:
        _tell(found, differs=differs)
    return DIFFERS if differs else 0


def _of_running(new: MeshConfig, client: ApiClient) -> tuple[dict[str, Any], Names, dict[str, Catalog]]:
    """What a mesh says that a reload would do; its names; and what it has listed of each upstream that would be the same there."""
    key = secrets.token_bytes(16)
    told = {"version": CLIENT["version"], "key": key.hex(), **fingerprints(new, key)}
    found: dict[str, Any] = client.post("plan", body=told)
    components: Sequence[Mapping[str, Any]] = client.get("catalog")["components"]
    before = {(one["kind"], one["name"]): f"{one['upstream']}\0{one['origin']}" for one in components}
    listed = {}
    for name in found["keep"]:
        definitions = {
            kind: tuple(
                {**one["definition"], spec.key: one["origin"]}
                for one in components
                if (one["kind"], one["upstream"]) == (str(kind), name)
            )
            for kind, spec in KINDS.items()
        }
        listed[name] = Catalog(definitions=definitions)
    return found, before, listed


def _names(config: MeshConfig, files: Iterable[Path], listed: Mapping[str, Catalog]) -> tuple[Names, list[str]]:
    """See `_offered`, which needs an event loop."""
    found: list[tuple[Names, list[str]]] = []

    async def main() -> int:
        found.append(_offered(config, files, listed))
        return 0

    until_interrupted(main)
    return found[0]


def _offered(config: MeshConfig, files: Iterable[Path], listed: Mapping[str, Catalog]) -> tuple[Names, list[str]]:
    """The public names of a config as far as they are remembered or listed, and the upstreams of which nothing is."""
    server = FastMCP(config.name, list_grace=0)
    memories = [Memory(Store(place(config.state, file))) for file in files]
    unknown = []
    for spec in config.enabled:
        provider = provider_of(spec, config.scrubber, server.stamp, Starts(), Logins(None, None))
        if spec.name in listed:
            # What the mesh leaves out it does not tell: what is remembered here of the same upstream is more.
            provider.recollection.recall(listed[spec.name], has_handshake=None, talks=False)
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
