"""What is to be decided of the upstreams that a reload has started beside those that run. Place: mesh."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog

from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.errors import ConfigError
from meshproxy.mesh.callers import Callers, catalogs_of
from meshproxy.mesh.composite import CompositeProvider, Mounted
from meshproxy.mesh.upstreams import mount_of
from meshproxy.pins.pins import Pins
from meshproxy.supervision.starts import Urgency
from meshproxy.upstream.provider import ProxyProvider

__all__ = ["check_collisions", "check_required", "failures_of", "hold", "mounted_of", "replacements", "warm"]

log = structlog.get_logger(__name__)

SOON: Final = 2.0
"""Seconds after which a reload logs the upstreams that it still waits for."""


async def warm(fresh: Mapping[str, ProxyProvider]) -> None:
    """Start them, and wait until each has come up or failed."""
    for provider in fresh.values():
        # Whoever made the edit waits for it, and those of an earlier start may still be waiting for their turn.
        provider.start(Urgency.AWAITED)
    tasks = {asyncio.ensure_future(provider.settled()): name for name, provider in fresh.items()}
    try:
        waiting = (await asyncio.wait(tasks, timeout=SOON))[1] if tasks else ()
        if waiting:
            # An upstream may take as long as its deadline; without this line it would look as if the edit was not seen.
            log.info("config.warming", waiting_for=[name for task, name in tasks.items() if task in waiting])
            await asyncio.wait(waiting)
    finally:
        for task in tasks:
            task.cancel()


def failures_of(fresh: Mapping[str, ProxyProvider], running: Mapping[str, ProxyProvider]) -> dict[str, str]:
    """Why each of those is that is down, or could not list what the one in whose place it would be offers."""
    return {name: provider.reason for name, provider in fresh.items() if _has_failed(provider, running.get(name))}


def check_required(config: MeshConfig, failures: Mapping[str, str]) -> None:
    """Raise `ConfigError` if an upstream that is required has failed."""
    problems = tuple(
        config.source.problem(spec.name, f"required, and not up: {failures[spec.name]}")
        for spec in config.enabled
        if spec.required and spec.name in failures
    )
    if problems:
        raise ConfigError(problems)


def replacements(
    config: MeshConfig,
    fresh: Mapping[str, ProxyProvider],
    failures: Mapping[str, str],
    specs: Mapping[str, UpstreamSpec],
    running: Mapping[str, ProxyProvider],
) -> dict[str, tuple[UpstreamSpec, ProxyProvider]]:
    """Which provider serves each upstream, under which spec: a new one that failed leaves the old one in its place."""
    chosen = {}
    for spec in config.enabled:
        name = spec.name
        if name in fresh and not (name in failures and name in running):
            chosen[name] = (spec, fresh[name])
        else:
            chosen[name] = (specs[name] if name in failures else spec, running[name])
    return chosen


def mounted_of(chosen: Iterable[tuple[UpstreamSpec, ProxyProvider]], config: MeshConfig, pins: Pins) -> list[Mounted]:
    """What is served under these specs, less what its pins withhold."""
    return [Mounted(provider, mount_of(spec, config), partial(pins.vetted, spec.pin)) for spec, provider in chosen]


def hold(pins: Pins, spec: UpstreamSpec, provider: ProxyProvider) -> None:
    """Hold what an upstream offers against its pins; where each caller has an account of his own there, what it offers to any."""
    if isinstance(provider, Callers):
        provider.on_catalog = partial(pins.note, spec.pin, spec.name)
    for catalog in catalogs_of(provider):
        pins.note(spec.pin, spec.name, catalog)


def check_collisions(config: MeshConfig, mounted: Sequence[Mounted], composite: CompositeProvider) -> None:
    """Raise `ConfigError` if an edit would hide a component behind another's name, unless it is so already."""
    known = set(composite.snapshot.collisions)
    problems = tuple(
        config.source.problem(collision.loser, str(collision))
        for collision in composite.preview(mounted).collisions
        if collision not in known
    )
    if problems:
        raise ConfigError(problems)


def _has_failed(fresh: ProxyProvider, old: ProxyProvider | None) -> bool:
    if fresh.is_down:
        return True
    if old is None or old.catalog is None or not old.is_up or fresh.catalog is None:
        return False
    return any(old.catalog[kind] for kind in fresh.catalog.failed)
