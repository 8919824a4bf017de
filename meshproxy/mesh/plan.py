"""`plan`: what a reload has to do, from two configs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec

STATIC_SECTIONS = ("name", "state", "server", "cluster")
"""The sections of a config that take effect only when the mesh is started, but for `server.auth`, the files of `server.tls` and `cluster.key`, which are live."""


@dataclass(frozen=True)
class ReloadPlan:
    """What to do with each upstream, by name.

    Attributes:
        keep: stays connected; its place in the mesh may change.
        start: is connected anew; if the name is in `retire` too, the new one replaces the old one.
        retire: is drained and closed.
        restart_required: sections of the config that differ and take effect at the next start of the mesh.
    """

    keep: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    retire: tuple[str, ...] = ()
    restart_required: tuple[str, ...] = ()


def plan(running: Mapping[str, UpstreamSpec], old: MeshConfig, new: MeshConfig, again: str | None = None) -> ReloadPlan:
    """Compare what runs with what is wanted.

    Args:
        running: the specs that are in force, by name: those of `old`, or older ones where a newer could not be started.
        old: the config in force.
        new: the config that was just loaded.
        again: an upstream that is started anew, whatever differs.
    """
    wanted = {spec.name: spec for spec in new.enabled}
    keep = tuple(
        name
        for name, spec in wanted.items()
        if name != again
        and (before := running.get(name)) is not None
        and (before is spec or before.connection == spec.connection)
    )
    return ReloadPlan(
        keep=keep,
        start=tuple(name for name in wanted if name not in keep),
        retire=tuple(name for name in running if name not in keep),
        restart_required=tuple(key for key in STATIC_SECTIONS if _static(old, key) != _static(new, key)),
    )


def _static(config: MeshConfig, section: str) -> object:
    """What of a section takes effect at the next start alone."""
    if section == "cluster":
        return config.cluster.model_copy(update={"key": ()})
    if section != "server":
        return getattr(config, section)
    server = config.server
    return server.model_copy(update={"auth": None, "tls": None}), server.tls is not None
