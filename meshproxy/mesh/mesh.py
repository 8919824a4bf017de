"""`Mesh`: the control loop. It alone decides which upstreams run, and it starts what is new before it closes what is old.

    edit -> load -> plan -> warm -> build -> swap -> announce -> drain
            └────────── abort: only what this reload opened is closed ┘

See docs/design.md, "Reload", for the steps.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from meshproxy.cluster.concert import Concert
from meshproxy.config.content import Content
from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.eras.translate import ServerSignature
from meshproxy.errors import Problem
from meshproxy.guard.lender import Lending
from meshproxy.login.logins import Logins
from meshproxy.mesh.composite import CompositeProvider, Mounted
from meshproxy.mesh.edits import Edits, changes, renamed
from meshproxy.mesh.following import Following
from meshproxy.mesh.memory import Memory
from meshproxy.mesh.plan import ReloadPlan, plan
from meshproxy.mesh.successors import (
    check_collisions,
    check_required,
    failures_of,
    hold,
    mounted_of,
    replacements,
    warm,
)
from meshproxy.mesh.upstreams import provider_of, rules_of
from meshproxy.pins.pins import Pins
from meshproxy.state.store import Store
from meshproxy.supervision.starts import Starts, Urgency
from meshproxy.upstream.provider import ProxyProvider

log = structlog.get_logger(__name__)

Agree: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


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

    def log(self, retired: tuple[str, ...] = ()) -> None:
        """Say so. `retired` are the names of those whose old connection is drained."""
        log.info(
            "config.reloaded",
            kept=list(self.plan.keep),
            started=[name for name in self.plan.start if name not in self.failures],
            retired=list(retired),
            failed=dict(self.failures),
            restart_required=list(self.plan.restart_required),
            seconds=round(self.seconds, 3),
        )


class Mesh:
    """The upstreams of one config file, in `composite`. `on_config` is told each config just before it is in force; `memory` is of earlier runs.

    Attributes:
        config: what is in force.
        logins: the credentials for upstreams.
        edits: what became of the edits so far.
        pins: what its upstreams are held against.
        need: looks at a config before it is taken up; raises `ConfigError` if something that it names cannot be used.
        lending: lends what limits allow that hold over several replicas; None where they hold for this mesh. Set before `start`.
        concert: the other processes that serve the same file, with which an edit is in force at once or not at all; None where there are none.
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
        self.edits = Edits()
        self.composite = composite
        self._stamp = stamp
        self._on_config = on_config
        self._memory = memory or Memory(Store(None))
        self.logins = logins or Logins()
        self.pins = Pins(config.source.path)
        self.pins.on_change = self._on_pins
        self.need: Callable[[MeshConfig], None] = lambda _: None
        self._scrubber = config.scrubber
        self._starts = Starts()
        self._specs: dict[str, UpstreamSpec] = {}
        self._providers: dict[str, ProxyProvider] = {}
        self._retiring: dict[asyncio.Task[None], ProxyProvider] = {}
        self.concert: Concert | None = None
        self._following = Following(self, config.source.digest)
        self.lending: Lending | None = None
        self._is_rejected = False
        self._turn = asyncio.Lock()
        self._restarting: asyncio.Task[Report] | None = None

    # --- life

    def start(self) -> None:
        """Mount every upstream of the config and let the eager ones begin to connect; what comes up is served as it comes.

        Raises:
            ConfigError: there is a lock file, and it cannot be used.
        """
        self.pins.need(spec.pin for spec in self.config.enabled)
        for spec in self.config.enabled:
            self._adopt(spec, self._make(spec, self.config))
        running = zip(self._specs.values(), self._providers.values(), strict=True)
        self._swap(self.config, mounted_of(running, self.config, self.pins))
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
        check_required(self.config, down)
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
        await self.pins.aclose()

    def status(self) -> dict[str, dict[str, Any]]:
        """How each upstream is, by name, in the order of the config."""
        return {name: provider.status() | self.pins.status(name) for name, provider in self._providers.items()}

    def draining(self) -> list[dict[str, Any]]:
        """How each of those is that were taken out of the mesh, and are not gone yet."""
        return [{"name": provider.name, **provider.status()} for provider in self._retiring.values()]

    @property
    def is_ready(self) -> bool:
        """Whether every required upstream is up."""
        return all(self._providers[spec.name].is_up for spec in self._specs.values() if spec.required)

    def scrub(self, text: str) -> str:
        """A text without the secrets of any config so far: upstreams of the next config are logged already, and those of the last one still."""
        return self.logins.scrub(self._scrubber.scrub(text))

    # --- following the file

    def reload_soon(self) -> None:
        """Read the file again, whether it changed or not; everywhere, where others serve it, too."""
        if self.concert is not None:
            self.concert.all_reload()
        else:
            self.read_again()

    def read_again(self) -> None:
        """The same, here."""
        self._following.again()

    async def follow(self, path: Path) -> None:
        """Apply every edit of the file at `path`, for ever; the latest wins. It is watched as long as the config in force says so."""
        await self._following.follow(path, self.pins.follow)

    async def take(self, config: MeshConfig, content: Content) -> None:
        """Bring what the file holds in force, as `reload`; everywhere or nowhere, where others serve it, too."""
        concert = self.concert
        if concert is None:
            await self.reload(config)
        else:
            data = content.data or b""
            await self.reload(config, partial(concert.agree, content.digest, data))
            concert.holds(content.digest, data)
        self.edits.looked()

    def reject(self, problems: tuple[Problem, ...], revision: str, config: MeshConfig | None) -> None:
        """Note that an edit of this revision was rejected."""
        self._is_rejected = True
        differing = () if config is None else changes(self.config, config)
        told = tuple(replace(one, message=self.scrub(one.message)) for one in problems)
        self.edits.add(is_applied=False, revision=revision, problems=told, changes=differing)
        self.edits.looked()

    # --- reload

    async def reload(self, config: MeshConfig, agree: Agree | None = None) -> Report:
        """Bring `config` in force, or leave everything as it is. `agree` is awaited when nothing else is to be waited for, and may raise `ConfigError`.

        Raises:
            ConfigError: a required upstream could not be started, or two components would have one name; nothing changed.
        """
        if self._restarting is not None:
            # It may wait for an upstream that this edit takes away.
            self._restarting.cancel()
        async with self._turn:
            return await self._reload(config, agree=agree)

    async def restart(self, name: str, *, alone: bool = False) -> Report:
        """Start an upstream anew beside the one that runs, which then drains, or goes on if the new one fails (see `Report.failures`).

        Others that serve the file do the same, unless it is done `alone`; what is reported is how it went here.

        Raises:
            KeyError: no upstream of this name runs.
            ConfigError: it is required, and failed.
            CancelledError: an edit came meanwhile.
        """
        if name not in self._providers:
            raise KeyError(name)
        if self.concert is not None and not alone:
            self.concert.others_restart(name)
        async with self._turn:
            restarting = asyncio.ensure_future(self._reload(self.config, again=name))
            self._restarting = restarting
            try:
                return await restarting
            finally:
                self._restarting = None
                restarting.cancel()

    async def _reload(self, config: MeshConfig, again: str | None = None, agree: Agree | None = None) -> Report:
        begun = time.monotonic()
        todo = plan(self._specs, self.config, config, again)
        if config == self.config and not todo.start and not todo.retire:
            if self._is_rejected:
                # The last edit was rejected, and its author waits for a word that the file is good again.
                self._is_rejected = False
                Report(todo).log()
                self.edits.add(is_applied=True, revision=config.source.digest, plan=todo)
            return Report(todo)
        self.need(config)
        self.pins.need(spec.pin for spec in config.enabled)
        self._scrubber |= config.scrubber
        wanted = {spec.name: spec for spec in config.enabled}
        fresh = {name: self._make(wanted[name], config) for name in todo.start}
        try:
            await warm(fresh)
            failures = failures_of(fresh, self._providers)
            check_required(config, failures)
            replaced = replacements(config, fresh, failures, self._specs, self._providers)
            check_collisions(config, mounted_of(replaced.values(), config, self.pins), self.composite)
            if agree is not None:
                await agree()
        except BaseException:
            # They are closed in the background: a slow one must not delay the report, or the newer edit that stopped this one.
            for provider in fresh.values():
                self._retire(provider, 0)
            raise
        # From here to the end of the swap there is no await, so that no request sees half of it.
        mounted = mounted_of(replaced.values(), config, self.pins)
        old = [one for name, one in self._providers.items() if replaced.get(name, (None, None))[1] is not one]
        spare = [provider for name, provider in fresh.items() if replaced[name][1] is not provider]
        differing, before = changes(self.config, config), self.composite.snapshot
        specs, providers = self._specs, self._providers
        self._specs, self._providers = {}, {}
        for name, (spec, provider) in replaced.items():
            self._adopt(spec, provider, is_news=specs.get(name) is not spec or providers.get(name) is not provider)
        self._swap(config, mounted)
        for provider in (*old, *spare):
            self._retire(provider, config.reload.drain_timeout)
        report = Report(todo, failures, time.monotonic() - begun)
        retired = tuple(provider.name for provider in old)
        self._is_rejected = False
        report.log(retired)
        self.edits.add(
            is_applied=True,
            cause="restart" if again is not None else "file",
            revision=config.source.digest,
            changes=differing,
            plan=todo,
            retired=retired,
            failed=failures,
            names=renamed(before, self.composite.snapshot),
            seconds=report.seconds,
        )
        return report

    def _make(self, spec: UpstreamSpec, config: MeshConfig) -> ProxyProvider:
        told = self.composite.session_ended
        provider = provider_of(spec, config.scrubber, self._stamp, self._starts, self.logins, told)
        self._memory.recall(spec, provider)
        provider.on_change(self._on_change)
        return provider

    def _adopt(self, spec: UpstreamSpec, provider: ProxyProvider, *, is_news: bool = True) -> None:
        self._specs[spec.name] = spec
        self._providers[spec.name] = provider
        if is_news:
            provider.limit(rules_of(spec, self.lending))
            provider.keep_stderr(spec.stderr)
            self._memory.keep(spec, provider)
            hold(self.pins, spec, provider)

    def _on_pins(self) -> None:
        for name, provider in self._providers.items():
            hold(self.pins, self._specs[name], provider)
        self.composite.refresh()

    def _on_change(self, provider: ProxyProvider) -> None:
        # A provider that is being warmed is not served yet, and one that retires is not served any more.
        if self._providers.get(provider.name) is provider:
            spec = self._specs[provider.name]
            self._memory.keep(spec, provider)
            hold(self.pins, spec, provider)
            self.composite.refresh()

    def _swap(self, config: MeshConfig, mounted: Sequence[Mounted]) -> None:
        self.config = config
        self._on_config(config)
        self._memory.forget_all_but(config.upstreams)
        self.composite.swap(mounted)

    def _retire(self, provider: ProxyProvider, drain: float | None) -> None:
        task = asyncio.create_task(provider.retire(drain), name=f"retire {provider.name}")
        self._retiring[task] = provider
        task.add_done_callback(self._retiring.pop)
