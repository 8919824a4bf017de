"""The variables that a config refers to: those that are not set, and those whose value looks like a slip. Place: doctor."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meshproxy.config.env import Reference, is_unset, parse
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding
from meshproxy.errors import ConfigError

__all__ = ["judged", "odd"]

_NAME: Final = re.compile(r"environment variable (\w+) ")
_STAND_INS: Final = ("unset-1", "unset-2")
"""In place of what is not set. There are two, so that what differs between them is what depends on it."""


def judged(file: str) -> tuple[MeshConfig | None, list[Finding], frozenset[str]]:
    """The config of a file; the variables that it lacks here; and the upstreams that cannot be tried for that.

    The mesh may run where they are set, so a file that lacks nothing else is looked at in all other respects, as far as that can be done: None if it cannot.

    Raises:
        ConfigError: something else is wrong with it.
    """
    try:
        return load(file), [], frozenset()
    except ConfigError as error:
        if not all(is_unset(problem.message) for problem in error.problems):
            raise
        problems = error.problems
    findings = [
        Finding(
            "variable",
            f"{problem.file}:{problem.line}:{problem.column}: {problem.key}",
            problem.message,
            f"{problem.hint}, or set it where the mesh runs",
        )
        for problem in problems
    ]
    names = {match[1] for problem in problems if (match := _NAME.match(problem.message))}
    try:
        one, other = (load(file, {**os.environ, **dict.fromkeys(names, word)}) for word in _STAND_INS)
    except ConfigError:
        return None, findings, frozenset()
    lacking = {spec.name for spec in one.upstreams.values() if spec != other.upstreams.get(spec.name)}
    return one, findings, frozenset(lacking)


def odd(file: Path) -> Iterable[Finding]:
    """The variables of a file that are set, but hardly to what was meant."""
    lines = file.read_text("utf-8-sig", "replace").splitlines()
    written = "\n".join(line for line in lines if not line.lstrip().startswith(("#", "//")))
    references = [part for part in parse(written) if isinstance(part, Reference) and part.variable is not None]
    for name in dict.fromkeys(str(reference.variable) for reference in references):
        value = os.environ.get(name)
        has_default = any(reference.default for reference in references if reference.variable == name)
        what = None if value is None else _odd(value, has_default=has_default)
        if what is not None:
            yield Finding("variable", f"{file}: ${{{name}}}", what, f"set {name} anew, or give it a default")


def _odd(value: str, *, has_default: bool) -> str | None:
    """What is strange about a value, without showing it."""
    if not value:
        return None if has_default else "is set, and empty"
    if value != value.strip():
        return "begins or ends with a space or a line break"
    if value[0] in "\"'" and value[-1] == value[0] and len(value) > 1:
        return "has quotes around it, which are part of the value"
    return None
