"""`Mesh`: the control loop. It alone decides which upstreams run, and it starts what is new before it closes what is old.

    edit -> load -> plan -> warm -> build -> swap -> announce -> drain
            └────────── abort: only what this reload opened is closed ┘

See docs/design.md, "Reload", for the steps.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from meshproxy.config.content import Content
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.config.watch import settled, watch
from meshproxy.eras.translate import ServerSignature
from meshproxy.errors import ConfigError
from meshproxy.login.logins import Logins
from meshproxy.mesh.composite import CompositeProvider, Mounted
from meshproxy.mesh.memory import Memory
from meshproxy.mesh.plan import ReloadPlan, plan
from meshproxy.mesh.upstreams import mount_of, provider_of, rules_of
from meshproxy.state.store import Store
from meshproxy.supervision.starts import Starts, Urgency
from meshproxy.upstream.provider import ProxyProvider

log = structlog.get_logger(__name__)

SOON: Final = 2.0
"""Seconds after which a reload logs the upstreams that it still waits for."""


@dataclass(frozen=True)
class Report:
    """How a reload went.

    Attributes:
        plan: what was to be done.
        failures: for each upstream that did not start, or that lists less than before, the reason. Such an upstream goes on with its old
            spec; one that is new to the file is served as unavailable.
        seconds: how long it took from the loaded config to the swap.
    """

    plan: ReloadPlan
    failures: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Mesh:
    """The upstreams of one config file, in `composite`. `on_config` is told each config just before it is in force; `memory` is of earlier runs.

    `logins` has the credentials for upstreams.

    Attributes:
        config: what is in force.
    """

    def __init__(
        self,
        config: MeshConfig,
        composite: CompositeProvider,
        stamp: ServerSignature,
        on_config: Callable[[MeshConfig], None] = lambda _: None,
        memory: Memory | None = None,
        logins: Logins | None = None,
    ) -> None:
        self.config = config
        self.composite = composite
        self._stamp = stamp
        self._on_config = on_config
        self._memory = memory or Memory(Store(None))
        self._logins = logins or Logins()
        self._scrubber = config.scrubber
        self._starts = Starts()
        self._specs: dict[str, UpstreamSpec] = {}
        self._providers: dict[str, ProxyProvider] = {}
        self._retiring: dict[asyncio.Task[None], ProxyProvider] = {}
        self._poke = asyncio.Event()
        self._edited: Content | None = None
        self._digest = config.source.digest
        self._is_rejected = False

    # --- life

    def start(self) -> None:
        """Mount every upstream of the config and let the eager ones begin to connect; what comes up is served as it comes."""
        for spec in self.config.enabled:
            self._adopt(spec, self._make(spec, self.config))
        self._swap(self.config)
        for name, provider in self._providers.items():
            provider.start(Urgency.REQUIRED if self._specs[name].required else Urgency.USUAL)

    async def settled(self) -> None:
        """Wait until every upstream that starts has come up or failed once.

        Raises:
            ConfigError: a required one failed.
        """
        required = [self._providers[spec.name] for spec in self.config.enabled if spec.required]
        await asyncio.gather(*(provider.settled() for provider in required))
        down = {name: provider.reason for name, provider in self._providers.items() if provider.is_down}
        self._check_required(self.config, down)
        await asyncio.gather(*(provider.settled() for provider in self._providers.values()))

    def woken(self) -> None:
        """The machine has slept: what was down meanwhile is tried now, and not after the rest of its pause."""
        for provider in self._providers.values():
            if provider.is_down:
                provider.want()

    async def aclose(self) -> None:
        """Close every upstream, retiring ones too, now."""
        self.composite.close()
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        # The drains were cancelled before they closed anything.
        providers = (*self._providers.values(), *retiring.values())
        await asyncio.gather(*(provider.aclose() for provider in providers))

    def status(self) -> dict[str, dict[str, Any]]:
        """How each upstream is, by name, in the order of the config."""
        return {name: provider.status() for name, provider in self._providers.items()}

    def draining(self) -> list[dict[str, Any]]:
        """How each of those is that were taken out of the mesh, and are not gone yet."""
        return [{"name": provider.name, **provider.status()} for provider in self._retiring.values()]

    @property
    def is_ready(self) -> bool:
        """Whether every required upstream is up."""
        return all(self._providers[spec.name].is_up for spec in self._specs.values() if spec.required)

    def scrub(self, text: str) -> str:
        """A text without the secrets of any config so far: upstreams of the next config are logged already, and those of the last one still."""
        return self._logins.scrub(self._scrubber.scrub(text))

    # --- following the file

    def reload_soon(self) -> None:
        """Read the file again, whether it changed or not."""
        self._edited = None
        self._poke.set()

    async def follow(self, path: Path) -> None:
        """Apply every edit of the file at `path`, for ever; the latest wins. It is watched as long as the config in force says so."""
        watching: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                if watching is None and self.config.reload.watch:
                    watching = group.create_task(self._watch(path))
                elif watching is not None and not self.config.reload.watch:
                    watching.cancel()
                    watching = None
                await self._poke.wait()
                await self._obey(path)

    async def _watch(self, path: Path) -> None:
        async with aclosing(watch(path, self._digest)) as changes:
            async for content in changes:
                # The content may be what `reload_soon` has read and applied meanwhile.
                if content.digest != (self._edited.digest if self._edited is not None else self._digest):
                    self._edited = content
                    self._poke.set()

    async def _obey(self, path: Path) -> None:
        self._poke.clear()
        applying = asyncio.create_task(self._follow_once(path))
        newer = asyncio.create_task(self._poke.wait())
        try:
            await asyncio.wait({applying, newer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            newer.cancel()
            # A newer edit has come, so this one is given up.
            if not applying.done():
                applying.cancel()
            await asyncio.wait({applying, newer})
        if not applying.cancelled():
            applying.result()

    async def _follow_once(self, path: Path) -> None:
        content, self._edited = self._edited, None
        try:
            # The content that the watch found complete is taken: somebody may be writing the next one by now.
            content = content or await settled(path)
            self._digest = content.digest
            config = await asyncio.to_thread(load, path, content=content)
            await self.reload(config)
        except ConfigError as error:
            self._is_rejected = True
            log.error("config.rejected", problems=[str(problem) for problem in error.problems])
        except Exception as error:
            # The config in force stays so. The next edit may pass, so the loop goes on.
            self._is_rejected = True
            log.exception("config.rejected", problems=[f"{path}: a defect of meshproxy: {error!r}"])

    # --- reload

    async def reload(self, config: MeshConfig) -> Report:
        """Bring `config` in force, or leave everything as it is.

        Raises:
            ConfigError: a required upstream could not be started, or two components would have one name; nothing changed.
        """
        begun = time.monotonic()
        todo = plan(self._specs, self.config, config)
        if config == self.config and not todo.start and not todo.retire:
            if self._is_rejected:
                # The last edit was rejected, and its author waits for a word that the file is good again.
                self._tell(Report(todo), ())
            return Report(todo)
        self._scrubber |= config.scrubber
        wanted = {spec.name: spec for spec in config.enabled}
        fresh = {name: self._make(wanted[name], config) for name in todo.start}
        try:
            await self._warm(fresh)
            failures = {name: provider.reason for name, provider in fresh.items() if self._has_failed(provider)}
            self._check_required(config, failures)
            replaced = self._replacements(config, fresh, failures)
            self._check_collisions(config, replaced)
        except BaseException:
            # They are closed in the background: a slow one must not delay the report, or the newer edit that stopped this one.
            for provider in fresh.values():
                self._retire(provider, 0)
            raise
        # From here to the end of the swap there is no await, so that no request sees half of it.
        old = [
            provider
            for name, provider in self._providers.items()
            if replaced.get(name, (None, None))[1] is not provider
        ]
        spare = [provider for name, provider in fresh.items() if replaced[name][1] is not provider]
        self._specs, self._providers = {}, {}
        for spec, provider in replaced.values():
            self._adopt(spec, provider)
        self._swap(config)
        for provider in (*old, *spare):
            self._retire(provider, config.reload.drain_timeout)
        report = Report(todo, failures, time.monotonic() - begun)
        self._tell(report, tuple(provider.name for provider in old))
        return report

    def _tell(self, report: Report, retired: tuple[str, ...]) -> None:
        self._is_rejected = False
        log.info(
            "config.reloaded",
            kept=list(report.plan.keep),
            started=[name for name in report.plan.start if name not in report.failures],
            retired=list(retired),
            failed=dict(report.failures),
            restart_required=list(report.plan.restart_required),
            seconds=round(report.seconds, 3),
        )

    async def _warm(self, fresh: Mapping[str, ProxyProvider]) -> None:
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

    def _replacements(
        self, config: MeshConfig, fresh: Mapping[str, ProxyProvider], failures: Mapping[str, str]
    ) -> dict[str, tuple[UpstreamSpec, ProxyProvider]]:
        """Which provider serves each upstream, under which spec: a new one that failed leaves the old one in its place."""
        chosen = {}
        for spec in config.enabled:
            name = spec.name
            if name in fresh and not (name in failures and name in self._providers):
                chosen[name] = (spec, fresh[name])
            else:
                chosen[name] = (self._specs[name] if name in failures else spec, self._providers[name])
        return chosen

    def _has_failed(self, fresh: ProxyProvider) -> bool:
        """Whether a new provider is down, or could not list what the one in whose place it would be offers."""
        if fresh.is_down:
            return True
        old = self._providers.get(fresh.name)
        if old is None or old.catalog is None or not old.is_up or fresh.catalog is None:
            return False
        return any(old.catalog[kind] for kind in fresh.catalog.failed)

    def _check_required(self, config: MeshConfig, failures: Mapping[str, str]) -> None:
        problems = tuple(
            config.source.problem(spec.name, f"required, and not up: {failures[spec.name]}")
            for spec in config.enabled
            if spec.required and spec.name in failures
        )
        if problems:
            raise ConfigError(problems)

    def _check_collisions(self, config: MeshConfig, chosen: Mapping[str, tuple[UpstreamSpec, ProxyProvider]]) -> None:
        """Refuse an edit that would hide a component behind another's name, unless it is so already."""
        mounted = [Mounted(provider, mount_of(spec, config)) for spec, provider in chosen.values()]
        known = set(self.composite.snapshot.collisions)
        problems = tuple(
            config.source.problem(collision.loser, str(collision))
            for collision in self.composite.preview(mounted).collisions
            if collision not in known
        )
        if problems:
            raise ConfigError(problems)

    def _make(self, spec: UpstreamSpec, config: MeshConfig) -> ProxyProvider:
        provider = provider_of(spec, config.scrubber, self._stamp, self._starts, self._logins)
        self._memory.recall(spec, provider)
        provider.on_change(self._on_change)
        return provider

    def _adopt(self, spec: UpstreamSpec, provider: ProxyProvider) -> None:
        provider.limit(rules_of(spec))
        provider.keep_stderr(spec.stderr)
        self._specs[spec.name] = spec
        self._providers[spec.name] = provider
        self._memory.keep(spec, provider)

    def _on_change(self, provider: ProxyProvider) -> None:
        # A provider that is being warmed is not served yet, and one that retires is not served any more.
        if self._providers.get(provider.name) is provider:
            self._memory.keep(self._specs[provider.name], provider)
            self.composite.refresh()

    def _swap(self, config: MeshConfig) -> None:
        self.config = config
        self._on_config(config)
        self._memory.forget_all_but(config.upstreams)
        self.composite.swap(
            [Mounted(provider, mount_of(self._specs[name], config)) for name, provider in self._providers.items()]
        )

    def _retire(self, provider: ProxyProvider, drain: float | None) -> None:
        task = asyncio.create_task(provider.retire(drain), name=f"retire {provider.name}")
        self._retiring[task] = provider
        task.add_done_callback(self._retiring.pop)
