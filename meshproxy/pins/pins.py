"""`Pins`: what upstreams offer, held against the lock file of the config. Place: pins, beside the mesh that asks it when a catalog is made.

What is seen first is pinned. A definition that is not the pinned one is told, with what differs, once each time that it comes; where the upstream is to be
blocked, the mesh offers it no more until the file says otherwise. The file is followed, so that an approval takes effect at once. Nothing of this is
on the way of a call.

What cannot be read or written costs nobody anything: the pins that were read last stay in force, those that could not be written are in force in
this run, and both are said once.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from meshproxy.catalog.catalog import Catalog, Mount
from meshproxy.config.watch import stirred
from meshproxy.errors import ConfigError
from meshproxy.kinds import Kind
from meshproxy.observe.decisions import decide
from meshproxy.pins.difference import difference, shortened
from meshproxy.pins.file import LockFile
from meshproxy.pins.lock import LOCK_FILE, Lock, merged
from meshproxy.pins.pin import SERVER, Finding, Listed, Pin, Pinned, findings, listed

__all__ = ["Mode", "Pins"]

log = structlog.get_logger(__name__)

Mode = Literal["off", "warn", "block"]
Place = tuple[str, str, str]
"""A component: its upstream, its kind, and its name or URI there."""

_BLOCKED: Final = ("it is not offered", "it is not told to clients")
_WARNED: Final = "it is offered all the same, under pin: warn"
PATIENCE: Final = 0.15
"""Seconds before a file that is gone or half-written is believed to be so."""


class Pins:
    """The pins of one config. `config` is its path; without one, what is seen first in this run is what counts.

    Attributes:
        on_change: called when the file changed what is pinned.
    """

    def __init__(self, config: Path | None = None) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._file = None if config is None else LockFile(config.absolute().parent / LOCK_FILE)
        self._read: Lock | None = None
        self._added: Lock = {}
        self._lock: Lock = {}
        self._listed: dict[str, tuple[Catalog, Listed]] = {}
        self._known: dict[str, tuple[Listed, Pinned, Mapping[str, frozenset[str]]]] = {}
        self._changed: dict[Place, Pin] = {}
        self._is_wanted = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._complaint = ""

    # --- what is asked when a catalog is made

    def need(self, modes: Iterable[Mode]) -> None:
        """The config says this of its upstreams: if any is to be pinned, the file is read, if it was not yet.

        Raises:
            ConfigError: it cannot be used. Nothing is known then of what may be offered.
        """
        if all(mode == "off" for mode in modes) or self._is_wanted.is_set():
            return
        if self._file is not None:
            self._read = self._file.read()
            self._lock = merged(self._added, self._read or {})
        self._is_wanted.set()

    def vetted(self, mode: Mode, mount: Mount, catalog: Catalog) -> Mount:
        """The mount of an upstream without what is not to be offered of its catalog. Changes nothing."""
        withheld = self._withheld(mode, mount.name, catalog)
        if not withheld:
            return mount
        components = {kind: withheld[kind] for kind in Kind if kind in withheld}
        return replace(mount.without(components), is_silent=SERVER in withheld)

    def note(self, mode: Mode, upstream: str, catalog: Catalog | None) -> None:
        """An upstream offers this: pin what is new, and tell what changed."""
        if mode == "off" or catalog is None:
            self._forget(upstream)
            return
        fresh: dict[str, dict[str, Pin]] = {}
        for finding in findings(self._lock.get(upstream, {}), self._hashed(upstream, catalog)):
            if finding.standing == "new" and finding.listed is not None:
                fresh.setdefault(finding.kind, {})[finding.origin] = finding.listed
            else:
                self._compare(mode, upstream, finding)
        if fresh:
            count = sum(map(len, fresh.values()))
            names = [origin for entries in fresh.values() for origin in entries]
            decide("info", "pin.added", upstream=upstream, count=count, names=shortened(names))
            self._added = merged(self._added, {upstream: fresh})
            self._lock = merged(self._added, self._read or {})
            self._write_soon()

    def status(self, upstream: str) -> dict[str, int]:
        """How many components of an upstream are not as they are pinned, if any."""
        count = sum(place[0] == upstream for place in self._changed)
        return {"changed": count} if count else {}

    def _withheld(self, mode: Mode, upstream: str, catalog: Catalog) -> Mapping[str, frozenset[str]]:
        if mode != "block":
            return {}
        now, pinned = self._hashed(upstream, catalog), self._lock.get(upstream, {})
        known = self._known.get(upstream)
        if known is not None and known[0] is now and known[1] == pinned:
            return known[2]
        found: dict[str, set[str]] = {}
        for finding in findings(pinned, now):
            if finding.standing == "changed":
                found.setdefault(finding.kind, set()).add(finding.origin)
        withheld = {kind: frozenset(origins) for kind, origins in found.items()}
        self._known[upstream] = (now, pinned, withheld)
        return withheld

    def _hashed(self, upstream: str, catalog: Catalog) -> Listed:
        """What a catalog lists. To hash a thousand definitions takes some ten milliseconds, so it is done once for each."""
        known = self._listed.get(upstream)
        if known is None or known[0] is not catalog:
            known = self._listed[upstream] = (catalog, listed(catalog))
        return known[1]

    def _compare(self, mode: Mode, upstream: str, finding: Finding) -> None:
        place = (upstream, finding.kind, finding.origin)
        facts = {"upstream": upstream, "kind": str(finding.kind), "name": finding.origin}
        before = self._changed.pop(place, None)
        if finding.standing == "changed" and finding.listed is not None:
            self._changed[place] = finding.listed
            if before != finding.listed:
                consequence = _BLOCKED[finding.kind == SERVER] if mode == "block" else _WARNED
                remedy = f"meshproxy pins approve {upstream}"
                lines = shortened(difference(finding))
                decide("warning", "pin.changed", **facts, consequence=consequence, remedy=remedy, diff=lines)
        elif before is not None and finding.standing == "same":
            decide("info", "pin.as_pinned", **facts)

    def _forget(self, upstream: str) -> None:
        for place in [place for place in self._changed if place[0] == upstream]:
            del self._changed[place]
        self._known.pop(upstream, None)
        self._listed.pop(upstream, None)

    # --- the file

    async def follow(self) -> None:
        """Take every change of the file up, for ever, from when it is needed."""
        file = self._file
        await self._is_wanted.wait()
        if file is None:
            return
        async with aclosing(stirred(lambda: (file.path,))) as stirrings:
            async for _ in stirrings:
                await self._read_again(file)

    async def aclose(self) -> None:
        """Write what is not written yet."""
        if self._writing is not None:
            await self._writing

    async def _read_again(self, file: LockFile) -> None:
        try:
            found = await self._settled(file)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            self._complain(
                "pins.unusable", str(problems), problems=problems, consequence="the pins from before stay in force"
            )
            return
        if found is None:
            if self._read is not None:
                reason = f"{file.path} is gone"
                self._complain(
                    "pins.unusable",
                    reason,
                    problems=[reason],
                    consequence="the pins from before stay in force; start the mesh again to pin anew",
                )
            return
        if found != self._read:
            self._read = found
            self._lock = merged(self._added, found)
            decide("info", "pins.reloaded", file=str(file.path))
            self.on_change()
        self._complaint = ""

    async def _settled(self, file: LockFile) -> Lock | None:
        try:
            if (found := await asyncio.to_thread(file.read)) is not None:
                return found
        except ConfigError:
            pass
        # Somebody may be writing it.
        await asyncio.sleep(PATIENCE)
        return await asyncio.to_thread(file.read)

    def _write_soon(self) -> None:
        if self._file is not None and self._writing is None:
            self._writing = asyncio.create_task(self._write(self._file), name="pins")

    async def _write(self, file: LockFile) -> None:
        try:
            added = None
            while added is not self._added:
                added = self._added
                # What is in the file goes before: somebody approved it.
                self._read = await asyncio.to_thread(file.change, partial(merged, added))
            self._added = {}
            self._lock = self._read or {}
        except (OSError, ConfigError) as error:
            reason = f"{file.path}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
            self._complain(
                "pins.unwritable", reason, reason=reason, consequence="what is new is pinned until the mesh ends"
            )
        finally:
            self._writing = None

    def _complain(self, event: str, what: str, **facts: Any) -> None:
        if what != self._complaint:
            self._complaint = what
            log.warning(event, **facts)
