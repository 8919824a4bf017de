"""What a mesh.yaml says and what must come of it: the model that a running mesh is held against."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from meshproxy.naming import public_uri
from tests.kit.places import ROOT

LIGHT = str(ROOT / "tests" / "servers" / "light.py")
KINDS = ("tools", "prompts", "resources", "templates")
METHOD = {kind: f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")}
METHOD["templates"] = METHOD["resources"]

Components = Mapping[str, tuple[tuple[str, str | None], ...]]
"""By kind: names, or URIs, and descriptions."""
Place = tuple[str, ...]


@dataclass(frozen=True)
class Upstream:
    """One upstream of the file.

    Attributes:
        serial: of what it offers; two that differ in it have no component in common.
        counts: how many components it has of each kind.
        fault: "" if it starts; else why it does not: `missing`, `dies` or `silent`.
        web: where it is and what it offers, if it is no program.
    """

    name: str
    serial: int
    counts: tuple[int, ...] = (1, 0, 0, 0)
    era: str = "legacy"
    fault: str = ""
    web: tuple[str, Components] | None = None
    namespace: str = ""
    exclude: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    env: str = ""
    session: str = "auto"
    call: str = "5m"
    when_down: str = "keep"
    enabled: bool = True
    required: bool = False

    @property
    def connection(self) -> tuple[object, ...]:
        """A change of it takes a new process or connection."""
        where = self.web[0] if self.web else (self.serial, self.counts, self.era, self.env)
        return (where, self.fault, self.session, self.call)

    @property
    def offers(self) -> Components:
        """In its own names."""
        if self.web:
            return self.web[1]
        forms = {
            "tools": "t{}_{}",
            "prompts": "p{}_{}",
            "resources": "soak://r{}/{}",
            "templates": "soak://t{}/{}/{{id}}",
        }
        label = f"s{self.serial}"
        return {
            kind: tuple((forms[kind].format(self.serial, number), label) for number in range(count))
            for kind, count in zip(KINDS, self.counts, strict=True)
        }

    def shown(self, kind: str, separator: str) -> list[tuple[str, str | None]]:
        """As the mesh lists them."""
        found = []
        for origin, description in self.offers[kind]:
            if kind == "tools" and origin in self.exclude:
                continue
            name = dict(self.rename).get(origin, origin) if kind == "tools" else origin
            if kind in ("tools", "prompts"):
                public = f"{self.namespace}{separator}{name}" if self.namespace else name
            else:
                public = public_uri(self.namespace, name)
            found.append((public, description))
        return found

    def keys(self) -> dict[str, object]:
        """As the file says it."""
        keys: dict[str, object] = {}
        timeouts = {"call": self.call}
        if self.web:
            keys["url"] = self.web[0]
        else:
            arguments = [LIGHT, "--label", f"s{self.serial}", "--era", self.era]
            for kind in KINDS:
                arguments += [f"--{kind}", ",".join(origin for origin, _ in self.offers[kind])]
            if self.fault == "dies":
                arguments += ["--dies", "no licence"]
            if self.fault == "silent":
                arguments += ["--silent"]
                timeouts["connect"] = "1s"
            keys["command"] = "/nowhere/soak" if self.fault == "missing" else sys.executable
            keys["args"] = ["-IS", *arguments]
            keys["env"] = {"SOAK": f"secret-{self.env}"}
        keys |= {"namespace": self.namespace, "session": self.session, "timeouts": timeouts}
        keys |= {"when_down": self.when_down, "enabled": self.enabled, "required": self.required}
        if self.exclude or self.rename:
            keys["tools"] = {"exclude": list(self.exclude), "rename": dict(self.rename)}
        return keys


@dataclass(frozen=True)
class Document:
    """A valid config file."""

    upstreams: tuple[Upstream, ...]
    separator: str = "_"
    instructions: str = ""
    comment: str = ""

    def __getitem__(self, name: str) -> Upstream:
        return next(upstream for upstream in self.upstreams if upstream.name == name)

    def put(self, upstream: Upstream) -> "Document":
        """With this upstream in the place of the one of its name, or behind the others."""
        if any(one.name == upstream.name for one in self.upstreams):
            kept = tuple(upstream if one.name == upstream.name else one for one in self.upstreams)
            return replace(self, upstreams=kept)
        return replace(self, upstreams=(*self.upstreams, upstream))

    def drop(self, name: str) -> "Document":
        return replace(self, upstreams=tuple(one for one in self.upstreams if one.name != name))

    def lines(self) -> tuple[list[str], dict[Place, int]]:
        """The text, and at which line each upstream and each of its keys stands; lines count from 1."""
        lines = [f"# {self.comment}", f"separator: {json.dumps(self.separator)}"]
        lines += [f"instructions: {json.dumps(self.instructions)}", "server: {list_grace: 3s}", "upstreams:"]
        places = {}
        for upstream in self.upstreams:
            lines.append(f"  {upstream.name}:")
            places[(upstream.name,)] = len(lines)
            for key, value in upstream.keys().items():
                lines.append(f"    {key}: {json.dumps(value)}")
                places[(upstream.name, key)] = len(lines)
        return lines, places

    def data(self) -> bytes:
        return "\n".join([*self.lines()[0], ""]).encode()


@dataclass(frozen=True)
class InForce:
    """What the mesh runs: for each upstream the spec that it runs by, which is an older one where the newer does not start."""

    document: Document
    running: tuple[Upstream, ...]

    def after(self, document: Document) -> tuple["InForce", "Changes"]:
        """What runs when `document` is in force, by the rules of a reload."""
        old = {upstream.name: upstream for upstream in self.running}
        running, kept, started, failed = [], [], [], []
        for upstream in document.upstreams:
            if not upstream.enabled:
                continue
            before = old.get(upstream.name)
            if before is not None and before.connection == upstream.connection:
                running.append(upstream)
                kept.append(upstream.name)
            elif not upstream.fault:
                running.append(upstream)
                started.append(upstream.name)
            else:
                running.append(before or upstream)
                failed.append(upstream.name)
        after = InForce(document, tuple(running))
        kinds = {kind for kind in KINDS if self.listing(kind) != after.listing(kind)}
        retired = old.keys() - set(kept) - set(failed)
        is_news = document.lines()[0][1:] != self.document.lines()[0][1:] or bool(started or failed or retired)
        faults = {upstream.fault for upstream in document.upstreams if upstream.name in failed}
        changes = Changes(
            tuple(kept),
            tuple(started),
            tuple(failed),
            frozenset(METHOD[kind] for kind in kinds),
            is_news=is_news,
            waits=1.0 if "silent" in faults else 0.0,
        )
        return after, changes

    def listing(self, kind: str) -> list[tuple[str, str | None]]:
        """What every client must be listed."""
        separator = self.document.separator
        return [item for one in self.running if not one.fault for item in one.shown(kind, separator)]


@dataclass(frozen=True)
class Changes:
    """What a reload does.

    Attributes:
        methods: the `list_changed` notifications that are due, each once.
        is_news: whether there is anything to report.
        waits: seconds that an upstream without an answer delays it.
    """

    kept: tuple[str, ...]
    started: tuple[str, ...]
    failed: tuple[str, ...]
    methods: frozenset[str]
    is_news: bool
    waits: float
