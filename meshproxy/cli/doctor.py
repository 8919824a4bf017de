"""`meshproxy doctor`: what is wrong with this machine and with a config, each with what mends it, and with --fix, mended."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from meshproxy.catalog.snapshot import Snapshot
from meshproxy.cli.nesting import enter
from meshproxy.cli.peer import Peer, peer_of_config, until_interrupted
from meshproxy.cli.text import show, show_json
from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.doctor import (
    certificates,
    clock,
    cost,
    leftovers,
    modes,
    names,
    ports,
    programs,
    schemas,
    servers,
    variables,
)
from meshproxy.doctor.finding import Finding, place_of
from meshproxy.observe.spelling import named
from meshproxy.state.place import place

__all__ = ["doctor"]

FOUND: Final = 10
"""The exit status if anything is left to be done."""
PATIENCE: Final = 60.0
"""Seconds that the upstreams have to come up, all in all."""


class _Report:
    """What was looked at, and what was found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.versions: dict[str, str] = {}
        self.costs: dict[str, cost.Cost] = {}
        self.mended: dict[int, str] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        self.findings += findings

    def mend(self) -> None:
        """Do what is safe."""
        for index, finding in enumerate(self.findings):
            if finding.mend is not None:
                # What cannot be done stays a finding, whose remedy says what it takes.
                with contextlib.suppress(OSError):
                    self.mended[index] = finding.mend()

    @property
    def status(self) -> int:
        return FOUND if len(self.mended) < len(self.findings) else 0


def doctor(file: str | None, *, fix: bool, as_json: bool) -> int:
    """Look at everything; 0 if nothing is found, or nothing is left, and 10 if something is. Raises `ConfigError` for a file that cannot be served."""
    report = _Report()
    scrub: Callable[[str], str] = str
    config: MeshConfig | None = None
    if file is None:
        _look_at_machine(report)
    else:
        config, unset, lacking = variables.judged(file)
        report.add(unset)
        report.add(variables.odd(Path(file)))
        if config is None:
            _look_at_machine(report)
        else:
            scrub = config.scrubber.scrub
            enter(file, over_stdio=False)
            _look_at_file(report, config)
            _look_at_upstreams(report, config, lacking)
    if fix:
        report.mend()
    if as_json:
        show_json(_as_json(report, file, scrub))
    else:
        for line in _lines(report, is_whole=file is None or config is not None):
            show(named(scrub(line)))
    return report.status


def _look_at_machine(report: _Report) -> None:
    """Without a file: what any mesh of this user's would meet."""
    from platformdirs import user_state_path  # noqa: PLC0415

    wrong, report.versions = programs.runtimes(None)
    report.add(wrong)
    with contextlib.suppress(OSError):
        for directory in sorted(user_state_path("meshproxy").iterdir()):
            report.add(modes.open_state(directory))
            report.add(leftovers.stale(directory, None))
    report.add(leftovers.orphans())
    report.add(clock.impossible(()))


def _look_at_file(report: _Report, config: MeshConfig) -> None:
    """What the file says, and what is on this machine for it. Starts nothing."""
    for warning in config.source.warnings:
        where = f"{warning.file}:{warning.line or 1}:{warning.column or 1}: {warning.key}"
        report.add([Finding("config", where, warning.message, warning.hint or "see meshproxy check")])
    report.add(programs.missing(config))
    wrong, report.versions = programs.runtimes(config)
    report.add(wrong)
    report.add(ports.taken(config)[0])
    report.add(certificates.ending(config))
    report.add(modes.open_files(config))
    file = config.source.path or Path()
    directory = place(config.state, file)
    report.add(modes.open_state(directory))
    report.add(leftovers.stale(directory, config.upstreams))
    report.add(leftovers.orphans())
    report.add(clock.impossible(config.source.files))


def _look_at_upstreams(report: _Report, config: MeshConfig, lacking: frozenset[str]) -> None:
    """What they list, as far as they can be started. One that was found fault with already is not tried."""
    at_fault = {place_of(config, spec.name, key) for spec in config.enabled for key in ("command", "cwd")}
    at_fault &= {finding.place for finding in report.findings}

    def wanted(config: MeshConfig, spec: UpstreamSpec) -> bool:
        places = {place_of(config, spec.name, key) for key in ("command", "cwd")}
        return spec.name not in lacking and not places & at_fault

    async def main() -> int:
        asking = asyncio.ensure_future(servers.asked(config))
        try:
            async with peer_of_config(config, wanted) as peer:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(peer.settled(), PATIENCE)
                report.add(_down(config, peer))
                _look_at_listings(report, config, peer.server.composite.snapshot)
            report.add(await asking)
        finally:
            asking.cancel()
        return 0

    until_interrupted(main)


def _down(config: MeshConfig, peer: Peer) -> Iterable[Finding]:
    """Upstreams that did not come up, or not with everything."""
    for provider in peer.providers:
        where = place_of(config, provider.name)
        if not provider.is_up:
            reason = provider.reason or f"it did not come up within {PATIENCE:.0f} s"
            yield Finding(
                "upstream", where, f"is down: {reason}", "what it offers could not be looked at; mend that first"
            )
        elif provider.reason:
            yield Finding("upstream", where, provider.reason, "see meshproxy logs and the upstream's own documentation")


def _look_at_listings(report: _Report, config: MeshConfig, snapshot: Snapshot) -> None:
    report.add(names.unfit(config, snapshot))
    report.add(schemas.refused(config, snapshot))
    report.add(cost.dear(config, snapshot))
    report.costs = cost.costs(config, snapshot)


def _lines(report: _Report, *, is_whole: bool) -> Iterable[str]:
    if report.versions:
        yield ", ".join(f"{name} {version}" for name, version in report.versions.items())
    if report.costs:
        whole = cost.Cost()
        for one in report.costs.values():
            whole = whole.plus(one)
        yield f"{whole.tools} tools, about {whole.tokens} tokens"
    width = max((len(finding.kind) for finding in report.findings), default=0)
    for index, finding in enumerate(report.findings):
        yield f"{finding.kind:{width}}  {finding}"
        if index in report.mended:
            yield f"{'':{width}}  fixed: {report.mended[index]}"
    if not is_whole:
        yield "the rest of the file cannot be looked at until the variables are set"
    count = len(report.findings) - len(report.mended)
    fixable = sum(
        finding.mend is not None for index, finding in enumerate(report.findings) if index not in report.mended
    )
    hint = f"; --fix mends {fixable} of them" if fixable else ""
    yield f"{count} {'finding' if count == 1 else 'findings'}{hint}" if count else "nothing is wrong"


def _as_json(report: _Report, file: str | None, scrub: Callable[[str], str]) -> dict[str, Any]:
    return {
        "file": file,
        "versions": report.versions,
        "upstreams": {name: one._asdict() for name, one in report.costs.items()},
        "findings": [
            {
                "kind": finding.kind,
                "place": scrub(finding.place),
                "what": scrub(finding.what),
                "remedy": scrub(finding.remedy),
                "fixable": finding.mend is not None,
                "fixed": index in report.mended,
            }
            for index, finding in enumerate(report.findings)
        ],
    }
