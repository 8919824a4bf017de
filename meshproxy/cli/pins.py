"""`meshproxy pins`: what upstreams offer, against what is pinned beside the config, and how it comes to be approved."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meshproxy.catalog.catalog import Mount
from meshproxy.cli.entry import Failure, note
from meshproxy.cli.peer import loaded, peer_of_config, until_interrupted
from meshproxy.cli.text import show, show_json
from meshproxy.config.models import MeshConfig
from meshproxy.kinds import KINDS, Kind
from meshproxy.mesh.upstreams import mount_of
from meshproxy.observe.spelling import named
from meshproxy.pins.difference import difference
from meshproxy.pins.file import LockFile
from meshproxy.pins.lock import LOCK_FILE, Lock, merged, without
from meshproxy.pins.pin import SERVER, Finding, Pin, findings, listed
from meshproxy.upstream.provider import ProxyProvider

__all__ = ["approve", "diff", "list_", "verify"]

DEFAULT: Final = "mesh.yaml"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class _Found:
    """One component, and how it stands."""

    mount: Mount
    finding: Finding

    @property
    def public(self) -> str:
        kind = self.finding.kind
        if kind == SERVER:
            return f"{self.mount.name}:{self.finding.origin}"
        kind = Kind(kind)
        return self.mount.public_key(kind, self.finding.origin, by_uri=KINDS[kind].by_uri)

    def is_called(self, names: Sequence[str]) -> bool:
        return not names or bool({self.mount.name, self.public} & {*names})

    def as_json(self) -> dict[str, Any]:
        pinned, now, kind = self.finding.pinned, self.finding.listed, self.finding.kind
        return {
            "upstream": self.mount.name,
            "kind": str(kind),
            "name": self.finding.origin,
            "public": self.public,
            "standing": self.finding.standing,
            "pinned": pinned and pinned.hash,
            "listed": now and now.hash,
            "diff": difference(self.finding) if self.finding.standing == "changed" else [],
        }


class _Asked:
    """What a command line names: the config, its lock file, and some of what is in it."""

    def __init__(self, words: Sequence[str]) -> None:
        has_file = bool(words) and (words[-1].endswith(_SUFFIXES) or Path(words[-1]).is_file())
        self.names = list(words[:-1] if has_file else words)
        self.file = words[-1] if has_file else DEFAULT
        self.config = loaded(self.file)
        self.lock_file = LockFile(Path(self.file).absolute().parent / LOCK_FILE)
        self.lock: Lock = self.lock_file.read() or {}

    def unknown(self, found: Iterable[_Found]) -> list[str]:
        """The names that nothing has."""
        known = {name for one in found for name in (one.mount.name, one.public)} | {*self.config.upstreams}
        return [name for name in self.names if name not in known]


def list_(words: Sequence[str], *, as_json: bool) -> int:
    """Print what is pinned."""
    asked = _Asked(words)
    found = [
        one
        for name, pinned in sorted(asked.lock.items())
        for kind, pins in pinned.items()
        for origin, pin in sorted(pins.items())
        if (one := _Found(_mount(asked.config, name), Finding(kind, origin, "same", pin, None))).is_called(asked.names)
    ]
    _check(asked, found)
    if as_json:
        show_json([{key: value for key, value in one.as_json().items() if key in _OF_A_PIN} for one in found])
        return 0
    for one in found:
        show(f"{one.finding.kind} {named(one.finding.origin)} of {one.mount.name}: {_hash(one.finding.pinned)}")
    if not found:
        note("nothing is pinned; an upstream with pin: warn or pin: block is when it is first seen")
    return 0


def diff(words: Sequence[str], *, as_json: bool) -> int:
    """Print how what is offered differs from what is pinned; 1 if something could not be listed."""
    return _with_findings(words, lambda _, found, failures: _diff(found, failures, as_json=as_json))


def verify(words: Sequence[str], *, as_json: bool) -> int:
    """The same; 1 if anything changed, is new or could not be listed."""

    def judge(asked: _Asked, found: list[_Found], failures: list[str]) -> int:
        status = _diff(found, failures, as_json=as_json)
        bad = [one for one in found if one.finding.standing in ("changed", "new")]
        if not bad and not status:
            note(f"ok: {len(found)} components are as {asked.lock_file.path} has them")
        return 1 if bad else status

    return _with_findings(words, judge)


def approve(words: Sequence[str], *, as_json: bool) -> int:
    """Pin what is offered; 1 if something could not be listed, of which the pins stay."""

    def judge(asked: _Asked, found: list[_Found], failures: list[str]) -> int:
        status = _diff(found, failures, as_json=as_json)
        more: dict[str, dict[str, dict[str, Pin]]] = {}
        gone = []
        for one in found:
            name, finding = one.mount.name, one.finding
            if finding.listed is None:
                gone.append((name, finding.kind, finding.origin))
            else:
                more.setdefault(name, {}).setdefault(finding.kind, {})[finding.origin] = finding.listed
        try:
            asked.lock_file.change(lambda there: without(merged(there, more), gone))
        except OSError as error:
            raise Failure(f"{asked.lock_file.path}: cannot be written: {error.strerror or error}") from None
        count = sum(one.finding.standing != "same" for one in found)
        note(f"{asked.lock_file.path}: {count} {'change' if count == 1 else 'changes'} approved")
        return status

    return _with_findings(words, judge)


_OF_A_PIN: Final = ("upstream", "kind", "name", "public", "pinned")

_Judge = Callable[[_Asked, list[_Found], list[str]], int]


def _with_findings(words: Sequence[str], judge: _Judge) -> int:
    asked = _Asked(words)
    pinned = [spec for spec in asked.config.enabled if spec.pin != "off"]
    named_ones = {spec.name for spec in pinned} & {*asked.names}
    if not pinned:
        raise Failure(
            f"{asked.file}: no upstream is pinned; write pin: warn or pin: block for those to be watched", status=2
        )
    only = named_ones if named_ones and named_ones == {*asked.names} else {spec.name for spec in pinned}

    async def main() -> int:
        async with peer_of_config(asked.config, lambda _, spec: spec.name in only) as peer:
            await peer.settled()
            found = [one for provider in peer.providers for one in _found(asked, provider)]
            failures = peer.failures
        _check(asked, found, is_whole=not failures)
        chosen = [one for one in found if one.is_called(asked.names)]
        return judge(asked, chosen, failures)

    return until_interrupted(main)


def _found(asked: _Asked, provider: ProxyProvider) -> list[_Found]:
    if provider.catalog is None or not provider.is_up:
        return []
    mount = _mount(asked.config, provider.name)
    return [_Found(mount, one) for one in findings(asked.lock.get(provider.name, {}), listed(provider.catalog))]


def _mount(config: MeshConfig, name: str) -> Mount:
    spec = config.upstreams.get(name)
    return Mount(name) if spec is None else mount_of(spec, config)


def _check(asked: _Asked, found: Iterable[_Found], *, is_whole: bool = True) -> None:
    if (unknown := asked.unknown(found)) and is_whole:
        raise Failure(*(f"there is no upstream and no component {name!r}" for name in unknown), status=2)


def _diff(found: list[_Found], failures: list[str], *, as_json: bool) -> int:
    differing = [one for one in found if one.finding.standing != "same"]
    if as_json:
        show_json([one.as_json() for one in differing])
    else:
        for one in differing:
            show(f"{one.finding.kind} {named(one.finding.origin)} of {one.mount.name} {_WORDS[one.finding.standing]}")
            if one.finding.standing == "changed":
                for line in difference(one.finding):
                    show(f"  {line}")
    for line in failures:
        note(f"warning: {line}; it is not compared")
    return 1 if failures else 0


_WORDS: Final = {"changed": "changed", "new": "is not pinned yet", "gone": "is pinned, and not listed any more"}


def _hash(pin: Pin | None) -> str:
    return "" if pin is None else pin.hash[:19]
