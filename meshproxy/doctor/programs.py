"""The programs that upstreams need: whether they are there, and not too old. Place: doctor; runs `PROGRAM --version`."""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from meshproxy.config.login import HeadersFromCommand
from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding, enumerated, place_of
from meshproxy.links.stdio import environment, find_program

__all__ = ["missing", "runtimes"]

_PATIENCE: Final = 10.0
"""Seconds that a program may take to say its version."""


class _Runtime(NamedTuple):
    """A program that runs servers that are packages.

    Attributes:
        names: the commands that need it.
        ask: what it is asked for its version by.
        oldest: the version below which servers cannot be expected to run, and why so.
        get: how one comes by a newer one, or by it at all.
    """

    names: frozenset[str]
    ask: tuple[str, ...]
    oldest: tuple[int, ...]
    why: str
    get: str


_RUNTIMES: Final = {
    "node": _Runtime(
        frozenset({"node", "npx", "npm", "pnpm", "pnpx", "yarn"}),
        ("node", "--version"),
        (18,),
        "the MCP SDK for TypeScript needs 18 or newer",
        "install Node.js 22 or newer from https://nodejs.org",
    ),
    "uv": _Runtime(
        frozenset({"uv", "uvx"}),
        ("uv", "--version"),
        (0, 3),
        "uvx runs packages from 0.3 on",
        "install uv from https://docs.astral.sh/uv",
    ),
    "docker": _Runtime(
        frozenset({"docker"}),
        ("docker", "version", "--format", "{{.Server.Version}}"),
        (20,),
        "older ones are no longer kept",
        "start the daemon of Docker, and let this user reach it",
    ),
}


def missing(config: MeshConfig) -> Iterable[Finding]:
    """The commands of a config that cannot be started as they are written."""
    for spec in config.enabled:
        where = str(spec.cwd) if spec.cwd is not None else None
        if spec.command is not None and (wrong := _missing(str(spec.command), dict(spec.env), where)):
            is_folder = "working directory" in wrong[0]
            yield Finding("command", place_of(config, spec.name, "cwd" if is_folder else "command"), *wrong)
        if isinstance(spec.auth, HeadersFromCommand):
            folder = None if config.source.path is None else str(config.source.path.parent)
            if wrong := _missing(spec.auth.command[0], {}, folder):
                yield Finding("command", place_of(config, spec.name, "auth.command"), *wrong)


def runtimes(config: MeshConfig | None) -> tuple[list[Finding], dict[str, str]]:
    """What is wrong with the runtimes that a config needs, or that are on the machine; and the version of each that is there."""
    findings, versions = [], {}
    for name, runtime in _RUNTIMES.items():
        path = environment({})["PATH"]
        users = [] if config is None else _users(config, runtime.names)
        if users and config is not None:
            path = environment(dict(config.upstreams[users[0]].env))["PATH"]
        version = _version(runtime.ask, path)
        if version is None:
            if users:
                what = f"{name} does not answer, and {enumerated(users)} need it"
                findings.append(Finding("version", name, what, runtime.get))
            continue
        versions[name] = version
        # Of what nothing needs, only what is there is said.
        if (users or config is None) and _numbers(version) < runtime.oldest:
            findings.append(Finding("version", name, f"version {version} is too old: {runtime.why}", runtime.get))
    return findings, versions


def _missing(command: str, env: dict[str, str], cwd: str | None) -> tuple[str, str] | None:
    """What is wrong, and the remedy; None if it can be started."""
    try:
        find_program(command, environment(env)["PATH"], cwd)
    except FileNotFoundError as error:
        what, _, advice = str(error).partition(": ")
        name = Path(command).name
        if "directory" in what:
            return what, "create it, or correct cwd"
        if "executable" in what:
            return what, f"chmod u+x {command}"
        for runtime in _RUNTIMES.values():
            if name in runtime.names and advice:
                return what, f"{runtime.get}, or give its full path"
        return what, advice or "correct the path"
    return None


def _users(config: MeshConfig, names: frozenset[str]) -> list[str]:
    """The upstreams whose command is one of these and is there at all."""
    return [
        spec.name
        for spec in config.enabled
        if spec.command is not None
        and Path(str(spec.command)).name in names
        and not _missing(str(spec.command), dict(spec.env), None if spec.cwd is None else str(spec.cwd))
    ]


def _version(ask: tuple[str, ...], path: str) -> str | None:
    """The version that a program says; None if it is not there, or does not say one."""
    try:
        program = find_program(ask[0], path, None)
        ended = subprocess.run(  # noqa: S603 - a program of the table above
            [program, *ask[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "PATH": path},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(rb"\d+(?:\.\d+)+", ended.stdout)
    return found[0].decode() if found is not None and ended.returncode == 0 else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
