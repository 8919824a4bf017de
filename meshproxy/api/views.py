"""What `/api` shows of a mesh, as values for JSON. Place: api. Nothing here changes anything.

A secret of the config is in none of it: what the config says is shown as `check` shows it, and what upstreams say is scrubbed as the log is.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from meshproxy.catalog.route import Route
from meshproxy.catalog.snapshot import Snapshot
from meshproxy.kinds import KINDS, Kind
from meshproxy.mesh.edits import Edit
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe.spelling import as_json
from meshproxy.relay.principal import LOCAL, Visitor
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.supervision.condition import stamped
from meshproxy.wire.codec import dumps

__all__ = ["STARTED", "catalog", "edit", "edits", "encoded", "status", "stderr_of", "tokens", "upstream"]

STARTED: Final = time.time()
"""When this process began, near enough."""
BYTES_A_TOKEN: Final = 4
"""Of JSON, by which tokens are estimated. Tokenizers differ from each other by more than what this is wrong by."""
_TARGETS: Final = ("command", "args", "url", "urls", "transport")


def encoded(value: Any) -> bytes:
    """A value as JSON, in which nothing stands that a terminal or a browser would take for more than text."""
    return as_json(dumps(value).decode()).encode()


def tokens(definition: Any) -> int:
    """About how many tokens of a model's context something takes: an estimate."""
    return -(-len(dumps(definition)) // BYTES_A_TOKEN)


def status(mesh: Mesh, server: FastMCP, statistics: Mapping[str, int], traffic: Mapping[str, Any]) -> dict[str, Any]:
    """How the mesh is, and each of its upstreams; disabled ones, too."""
    config, states = mesh.config, mesh.status()
    return {
        "name": server.info["name"],
        "version": server.info["version"],
        "started": stamped(STARTED),
        "now": stamped(time.time()),
        "ready": mesh.is_ready,
        "config": {
            "file": None if config.source.path is None else str(config.source.path),
            "revision": config.source.digest[:12],
            "watched": config.reload.watch,
            "warnings": [mesh.scrub(str(warning)) for warning in config.source.warnings],
        },
        "auth": server.entrance.access.asks,
        "profiles": sorted(config.profiles),
        **statistics,
        "upstreams": [upstream(name, mesh, states, traffic) for name in config.upstreams],
        "draining": mesh.draining(),
    }


def upstream(name: str, mesh: Mesh, states: Mapping[str, dict[str, Any]], traffic: Mapping[str, Any]) -> dict[str, Any]:
    """How one upstream is, with what the config says of where it is."""
    spec = mesh.config.upstreams[name]
    shown = spec.display()
    state = states.get(name)
    if state is None:
        state = {"state": "disabled", "phase": "disabled"} if not spec.enabled else {"state": "starting"}
    return {
        "name": name,
        "namespace": spec.namespace,
        "enabled": spec.enabled,
        "required": spec.required,
        "target": {key: shown[key] for key in _TARGETS if key in shown},
        "login": None if spec.auth is None else str(getattr(spec.auth, "type", "oauth")),
        **state,
        "traffic": traffic.get(name, {}),
    }


def catalog(mesh: Mesh, server: FastMCP) -> dict[str, Any]:
    """Every component of the whole mesh, and what each upstream and each profile costs a model that is shown its tools."""
    snapshot = server.composite.snapshot
    components = [_component(kind, public, route) for kind in Kind for public, route in snapshot.routes[kind].items()]
    costs = {(one["kind"], one["name"]): one["tokens"] for one in components}
    profiles = ("", *sorted(mesh.config.profiles))
    return {
        "components": components,
        "collisions": [str(collision) for collision in snapshot.collisions],
        "upstreams": {name: _sum(components, name) for name in mesh.config.upstreams},
        "profiles": {name: _cost(server, snapshot, name, costs) for name in profiles},
        "missing": {
            member.mount.name: {str(kind): str(why) for kind, why in member.catalog.failed.items()}
            if member.catalog is not None
            else {}
            for member in snapshot.members
            if member.catalog is None or member.catalog.failed
        },
    }


def _component(kind: Kind, public: str, route: Route) -> dict[str, Any]:
    definition = route.component.listed() if route.component is not None else {}
    return {
        "kind": str(kind),
        "name": public,
        "upstream": route.mount.name,
        "origin": route.origin,
        "tokens": tokens(definition) if kind is Kind.TOOL else 0,
        "definition": definition,
    }


def _sum(components: list[dict[str, Any]], name: str) -> dict[str, int]:
    own = [one for one in components if one["upstream"] == name]
    counts = {row.plural: sum(one["kind"] == str(kind) for one in own) for kind, row in KINDS.items()}
    return {**counts, "tokens": sum(one["tokens"] for one in own)}


def _cost(server: FastMCP, snapshot: Snapshot, name: str, costs: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """What is seen at the address of a profile by whom the rules let see everything of it."""
    seen = server.composite.views.look(Visitor(LOCAL.principal, name), snapshot)
    tools = seen.routes[Kind.TOOL]
    found = 0
    for public, route in tools.items():
        known = costs.get((str(Kind.TOOL), public))
        found += known if known is not None else tokens(route.component.listed() if route.component else {})
    counts = {row.plural: len(seen.routes[kind]) for kind, row in KINDS.items()}
    return {**counts, "tokens": found}


def edits(mesh: Mesh) -> list[dict[str, Any]]:
    """What became of the last edits, newest first."""
    return [edit(one) for one in reversed(list(mesh.edits))]


def edit(one: Edit) -> dict[str, Any]:
    """What became of one."""
    plan = one.plan
    return {
        "number": one.number,
        "at": stamped(one.at),
        "cause": one.cause,
        "outcome": "applied" if one.is_applied else "rejected",
        "revision": one.revision[:12],
        "changes": [{"key": change.key, "before": change.before, "after": change.after} for change in one.changes],
        "kept": list(plan.keep) if plan else [],
        "started": [name for name in plan.start if name not in one.failed] if plan else [],
        "retired": list(one.retired),
        "failed": dict(one.failed),
        "restart_required": list(plan.restart_required) if plan else [],
        "names": {kind: {word: list(names) for word, names in told.items()} for kind, told in one.names.items()},
        "problems": [
            {
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "key": problem.key,
                "message": problem.message,
                "hint": problem.hint,
            }
            for problem in one.problems
        ],
        "seconds": round(one.seconds, 3),
    }


def stderr_of(mesh: Mesh, name: str) -> tuple[list[str], int] | None:
    """What an upstream's processes wrote to standard error last, and how many lines they wrote in all; None if there is no such, or it is no program."""
    found = next((one.provider for one in mesh.composite.mounted if one.mount.name == name), None)
    kept = None if found is None else found.stderr()
    return None if kept is None else ([mesh.scrub(line) for line in kept.lines], kept.count)
