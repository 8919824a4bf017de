"""From a file to a frozen `MeshConfig`, or to a `ConfigError` with everything that is wrong with it.

The steps: read; parse to items that know their places; refuse unknown keys; give every key its one spelling; put `defaults` into the upstreams; put
in what references stand for; let the models judge; say what they refuse at the place where it is written. The same code
checks and serves.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from meshproxy.config.content import Content, read_content
from meshproxy.config.document import Item
from meshproxy.config.document import Path as KeyPath
from meshproxy.config.env import Interpolated, interpolate
from meshproxy.config.foreign import placeholder_in
from meshproxy.config.models import MeshConfig, ServerConfig
from meshproxy.config.problems import describe, halves
from meshproxy.config.reading import Reading
from meshproxy.config.trees import shown
from meshproxy.config.upstream import (
    OF_COMMANDS,
    RENAMED_KEYS,
    URL_KEYS,
    ConfigSource,
    Provenance,
    UpstreamDefaults,
)
from meshproxy.errors import ConfigError, Problem
from meshproxy.naming import default_namespace


def load(
    path: str | Path,
    environ: Mapping[str, str] | None = None,
    *,
    content: Content | None = None,
    before: MeshConfig | None = None,
) -> MeshConfig:
    """The config in the file at `path`. `environ` is what `${VAR}` looks in, by default the environment of this process.

    `content` is what the file holds, if the caller has read it. `before` is an earlier config, whose upstreams are taken over where nothing about them
    differs: one that was edited among hundreds costs no more than itself. Raises `ConfigError` with every problem found, in the order of the
    file. Warnings are in `MeshConfig.source`.
    """
    content = content or read_content(Path(path))
    if content.data is None:
        message, hint = halves(content.error or "")
        raise ConfigError((Problem(str(path), None, None, "", message, hint),))
    return _Loading(str(path), content, os.environ if environ is None else environ, before).run(content.data)


def with_server(config: MeshConfig, **changes: Any) -> MeshConfig:
    """The config with other `server` settings, as a command line has them: `host`, `port`. Raises `ConfigError` as `load` does."""
    try:
        written = {
            **config.server.model_dump(exclude={"auth", "tls", "metrics"}),
            "auth": config.server.auth,
            "tls": config.server.tls,
            # As one writes it: none at all is false.
            "metrics": config.server.metrics or False,
        }
        server = ServerConfig.model_validate({**written, **changes})
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False, include_input=False):
            key = (*detail["loc"], *detail.get("ctx", {}).get("keys", ()))[0]
            value = changes.get(str(key))
            message, hint = describe(detail, Item(value, (key,), 0, 0, 0, 0, str(value)))
            problems.append(Problem(str(config.source.path or ""), None, None, f"server.{key}", message, hint))
        raise ConfigError(tuple(problems)) from None
    return config.model_copy(update={"server": server})


class _Loading(Reading):
    """One load."""

    def run(self, data: bytes) -> MeshConfig:
        root, defaults = self._normalised(self._parse(data))
        config = self._judged(root, defaults)
        if config is not None:
            self._refuse_collisions(config, root)
        if config is None or self._problems:
            raise self._error()
        return config

    # What references stand for

    def _plain(self, item: Item, *, optional: bool = False) -> Any:
        """The values of a tree, with what their references stand for. `optional`: what is missing is a warning."""
        if isinstance(item.value, dict):
            return {key: self._plain(child, optional=optional) for key, child in item.value.items()}
        if isinstance(item.value, list):
            return [self._plain(child, optional=optional) for child in item.value]
        if not isinstance(item.value, str) or ("$" not in item.value and not (self._lenient and "{{" in item.value)):
            return item.value
        if self._lenient and (placeholder := placeholder_in(item.value)) is not None:
            message = f"{placeholder} is filled in by the client whose file this is; take the file over with: meshproxy import {self._file} --into mesh.yaml"
            if not self._has_foreign:
                self._problem(item.line, item.column, item.key, message, warning=optional)
            self._has_foreign = not optional
            self._unresolved.add(item.path)
            return Interpolated(item.value)
        found = interpolate(item.value, self._directory, self._environ, self._asked)
        self._secrets += found.secrets
        for error in found.errors:
            self._problem(item.line, item.column, item.key, error, warning=optional)
        if found.errors:
            self._unresolved.add(item.path)
            return Interpolated(item.value)
        return Interpolated(found.value)

    def _upstream_data(self, item: Item) -> Any:
        """The values of an upstream, its paths absolute; None if it is left out, because it is disabled and lacks a variable."""
        enabled = item.mapping.get("enabled")
        optional = enabled is not None and self._switch(enabled) is False
        warnings = len(self._warnings)
        data = self._plain(item, optional=optional)
        if optional and len(self._warnings) > warnings:
            return None
        if isinstance(data, dict) and "command" in data:
            directory, command = data.get("cwd", "."), data["command"]
            if isinstance(directory, str) and directory:
                data["cwd"] = directory = self._absolute(self._directory, directory)
                if isinstance(command, str) and "/" in command:
                    data["command"] = self._absolute(Path(directory), command)
        return data

    def _absolute(self, directory: Path, path: str) -> str:
        return os.path.normpath(directory / os.path.expanduser(path))  # noqa: PTH111  # Path's raises where there is no such user

    # The models' judgement

    def _judged(self, root: Item, defaults: Item | None) -> MeshConfig | None:
        top = root.mapping
        data = {key: self._plain(item) for key, item in top.items() if key != "upstreams"}
        upstreams = top.get("upstreams")
        named = {} if upstreams is None else upstreams.mapping
        displayed: dict[str, Any] = {}
        given: dict[str, tuple[Any, Any]] = {}
        secrets: dict[str, tuple[str, ...]] = {}
        specs: dict[str, Any] = {}
        for name, item in named.items():
            begin = len(self._secrets)
            values = self._upstream_data(item)
            if values is None:
                continue
            given[name], secrets[name] = (item.plain, values), tuple(self._secrets[begin:])
            before = None if self._before is None else self._before.upstreams.get(name)
            if before is not None and before.is_of(*given[name], secrets[name]):
                specs[name] = before
            else:
                specs[name], displayed[name] = values, shown(item)
        secrets[""] = tuple(self._secrets)
        if upstreams is not None:
            data["upstreams"] = specs if isinstance(upstreams.value, dict) else upstreams.value
            self._warn_of_shared_namespaces(named, {name: values for name, (_, values) in given.items()})
        if not data.get("upstreams"):
            self._problem(root.line, root.column, "upstreams", "is empty; the mesh serves nothing", warning=True)
        if defaults is not None:
            self._validated(UpstreamDefaults, self._plain(defaults), defaults, None)
        content = self._content
        places = {name: (item.key_line, item.key_column) for name, item in named.items()}
        written = top.get("access")
        rules = tuple(rule.line for rule in written.value) if written and isinstance(written.value, list) else ()
        source = ConfigSource(
            content.path, content.digest, content.files, self._in_order(self._warnings), places, rules
        )
        scrubber = None if self._before is None else self._before.scrubber
        context = Provenance(source, displayed, given, secrets, scrubber)
        config = self._validated(MeshConfig, data, root, context)
        return config if isinstance(config, MeshConfig) else None

    def _validated(self, model: type[BaseModel], data: Any, item: Item, context: Provenance | None) -> BaseModel | None:
        try:
            return model.model_validate(data, context=context)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        for detail in details:
            keys = detail.get("ctx", {}).get("keys", ())
            at_key = bool(detail["loc"]) and detail["loc"][-1] == "[key]"
            place = item.find((*(detail["loc"][:-1] if at_key else detail["loc"]), *keys))
            if place.path in self._unresolved or _is_known_conflict(detail["loc"], detail["type"], keys):
                continue
            message, hint = describe(detail, place)
            text = f"{message}; {hint}" if hint else message
            # A value that is not there has no place of its own.
            if at_key or (place.value is None and not place.text):
                self._at_key(place, text)
            else:
                self._problem(place.line, place.column, place.key, text)
        return None

    def _warn_of_shared_namespaces(self, items: Mapping[str, Item], upstreams: Mapping[str, Any]) -> None:
        """Tell of two upstreams that their names, and not the user, put into one namespace: `my docs` and `my.docs`."""
        taken: dict[str, tuple[str, bool]] = {}
        for name, values in upstreams.items():
            enabled = items[name].mapping.get("enabled")
            if not isinstance(values, dict) or (enabled is not None and self._switch(enabled) is False):
                continue
            is_default = "namespace" not in values
            namespace = default_namespace(name) if is_default else str(values["namespace"])
            other, is_others_default = taken.setdefault(namespace, (name, is_default))
            if other != name and namespace and (is_default or is_others_default):
                message = (
                    f"has the namespace {namespace!r}, as upstream {other!r} has; give one of them another namespace"
                )
                self._at_key(items[name], message, warning=True)

    def _refuse_collisions(self, config: MeshConfig, root: Item) -> None:
        """Two renamed components that end at one public name."""
        taken: dict[tuple[str, str, str], str] = {}
        for spec in config.enabled:
            for kind in RENAMED_KEYS:
                for origin, name in getattr(spec, kind).rename.items():
                    if kind in ("tools", "prompts"):
                        public = ("", f"{spec.namespace}{config.separator}{name}" if spec.namespace else name)
                    else:
                        public = (spec.namespace, name)
                    other = taken.setdefault((kind, *public), spec.name)
                    if other != spec.name:
                        place = root.find(("upstreams", spec.name, kind, "rename", origin))
                        message = (
                            f"upstream {other!r} has {public[1]!r} already; choose another name, or another namespace"
                        )
                        self._problem(place.line, place.column, place.key, message)


def _is_known_conflict(loc: KeyPath, kind: str, keys: tuple[str, ...]) -> bool:
    """Whether the models refuse a whole upstream, or its name for the second time: `_upstream` has seen the one, its key the other."""
    if len(loc) == 3 and loc[0] == "upstreams" and loc[2] == "name":
        return True
    return (
        kind == "refused"
        and len(loc) == 2
        and loc[0] == "upstreams"
        and len(keys) < 2
        and (not keys or keys[0] in (*OF_COMMANDS, *URL_KEYS))
    )
