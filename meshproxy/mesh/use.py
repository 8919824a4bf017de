"""Uses of what has a name: how a tool or a prompt of the snapshot is called, and what comes back of that. Place: mesh, under `composite`."""

from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from meshproxy.catalog.catalog import Mount
from meshproxy.catalog.snapshot import Route, Snapshot
from meshproxy.eras.translate import outgoing
from meshproxy.kinds import Kind
from meshproxy.relay.downstream import Done, GiveUp, Outcome, RequestContext
from meshproxy.wire.codec import opened
from meshproxy.wire.content import is_object
from meshproxy.wire.headers import param_headers
from meshproxy.wire.protocol import Era

__all__ = ["as_public", "begin", "headers_of", "public_id", "public_task"]

T = TypeVar("T")


def begin(
    snapshot: Snapshot, context: RequestContext, method: str, kind: Kind, params: dict[str, Any], done: Done
) -> GiveUp | None:
    """See `CompositeProvider.begin`."""
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str) or not (arguments is None or is_object(arguments)):
        return None
    route = snapshot.find(kind, name)
    if route is None:
        return None
    return route.source.begin(
        method,
        outgoing(params, {"name": route.origin}),
        context,
        route.mount,
        headers_of(route, arguments),
        # A result that is encoded already is of the legacy era, which has no tasks.
        done if context.downstream.era is Era.LEGACY else partial(_publish, route.mount, done),
    )


def headers_of(route: Route, arguments: Any) -> dict[str, str] | None:
    """The arguments that the upstream wants to see in headers too."""
    return param_headers(route.headers, opened(arguments)) if route.headers and arguments is not None else None


def as_public(outcome: T, mount: Mount) -> T | dict[str, Any]:
    """What a use ended with; if that is a task, it is named as the mesh names it."""
    if isinstance(outcome, dict) and opened(outcome.get("resultType")) == "task":
        return public_task(outcome, mount)
    return outcome


def _publish(mount: Mount, done: Done, outcome: Outcome) -> None:
    """Pass on how a request ended that `CompositeProvider.begin` took."""
    try:
        outcome = as_public(outcome, mount)
    except Exception as error:  # noqa: BLE001  # as for every defect, the caller gets an answer
        outcome = error
    done(outcome)


def public_task(result: dict[str, Any], mount: Mount) -> dict[str, Any]:
    """A result that names a task, with the id that leads back to its upstream."""
    return {**result, "taskId": public_id(mount, opened(result["taskId"]))}


def public_id(mount: Mount, origin: Any) -> str:
    return f"{quote(mount.name, safe='')}/{origin}"
