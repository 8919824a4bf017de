"""A server of the MCP Registry: `server.json`, by the schema of 2025-12-11. Place: operate; pure.

An address of the server is taken before a package of it. An input that is a secret, or that is required and has no value, is a reference to a variable
that its user sets; the first of the packages that can be run here is taken.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshproxy.operate.found import Found, Source
from meshproxy.operate.placeholders import variable_of

__all__ = ["found_of_registry"]

_VARIABLE: Final = re.compile(r"\{([A-Za-z_][\w-]*)\}")
_RUNNERS: Final = {
    "npm": ("npx", ["-y"], "@"),
    "pypi": ("uvx", [], "=="),
    "oci": ("docker", ["run", "-i", "--rm"], ":"),
    "nuget": ("dnx", ["--yes"], "@"),
}


def found_of_registry(tree: dict[str, Any], source: Source) -> Iterator[Found]:
    """The one server that the document describes."""
    name = str(tree.get("name", "server")).rpartition("/")[2]
    found = Found(name, source)
    remotes = [one for one in tree.get("remotes") or () if isinstance(one, Mapping) and one.get("url")]
    packages = [one for one in tree.get("packages") or () if isinstance(one, Mapping)]
    inputs = _Inputs(found)
    runnable = next((one for one in packages if one.get("registryType") in _RUNNERS), None)
    if remotes:
        _remote(found, remotes[0], inputs)
    elif runnable is not None:
        _package(found, runnable, inputs)
    else:
        kinds = ", ".join(str(one.get("registryType")) for one in packages) or "none"
        found.skipped = f"has packages of kinds that nothing here can run ({kinds}), and no address"
    yield found


class _Inputs:
    """What the user is to give, as references; each is told once."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def value(self, given: Mapping[str, Any], name: str) -> str | None:
        """What an input comes to: its value with its variables put in, its default, or a reference; None if it is not needed."""
        if (value := given.get("value")) is not None:
            variables = given.get("variables")
            return self.put_in(str(value), variables if isinstance(variables, Mapping) else {})
        if (default := given.get("default")) is not None and not given.get("isSecret"):
            return str(default).replace("$", "$$")
        if given.get("isRequired") or given.get("isSecret"):
            return self._asked(given, name)
        return None

    def put_in(self, text: str, variables: Mapping[str, Any]) -> str:
        """A template with what its variables stand for."""

        def put(match: re.Match[str]) -> str:
            given = variables.get(match[1])
            if not isinstance(given, Mapping):
                return match[0]
            return self.value(given, match[1]) or ""

        return _VARIABLE.sub(put, text)

    def _asked(self, given: Mapping[str, Any], name: str) -> str:
        variable = variable_of(name)
        about = [str(given.get("description") or "")]
        if isinstance(choices := given.get("choices"), list):
            about.append(f"one of {', '.join(map(str, choices))}")
        told = "; ".join(filter(None, about))
        self._found.notes.append(f"set {variable}" + (f" ({told})" if told else ""))
        return f"${{{variable}}}"


def _remote(found: Found, remote: Mapping[str, Any], inputs: _Inputs) -> None:
    variables = remote.get("variables")
    found.entry["url"] = inputs.put_in(str(remote["url"]), variables if isinstance(variables, Mapping) else {})
    if remote.get("type") == "sse":
        found.entry["transport"] = "sse"
    headers = _named(remote.get("headers"), inputs)
    if headers:
        found.entry["headers"] = headers


def _package(found: Found, package: Mapping[str, Any], inputs: _Inputs) -> None:
    command, first, between = _RUNNERS[package["registryType"]]
    hint = package.get("runtimeHint")
    command = str(hint) if hint in ("npx", "uvx", "docker", "podman", "dnx", "bunx", "pnpx") else command
    identifier, version = str(package.get("identifier", "")), package.get("version")
    if version and version != "latest" and between not in identifier[1:]:
        identifier = f"{identifier}{between}{version}"
    env = _named(package.get("environmentVariables"), inputs)
    own = _arguments(package.get("runtimeArguments"), inputs)
    args = first + [one for one in own if one not in first]
    if command == "docker":
        args += [word for name in env for word in ("-e", name)]
    found.entry |= {
        "command": command,
        "args": [*args, identifier, *_arguments(package.get("packageArguments"), inputs)],
    }
    if env:
        found.entry["env"] = env


def _named(given: Any, inputs: _Inputs) -> dict[str, str]:
    pairs = {}
    for one in given if isinstance(given, list) else ():
        if isinstance(one, Mapping) and one.get("name") and (value := inputs.value(one, str(one["name"]))) is not None:
            pairs[str(one["name"])] = value
    return pairs


def _arguments(given: Any, inputs: _Inputs) -> list[str]:
    words: list[str] = []
    for one in given if isinstance(given, list) else ():
        if not isinstance(one, Mapping):
            continue
        name = str(one.get("name") or "")
        value = inputs.value(one, str(one.get("valueHint") or name.lstrip("-") or "argument"))
        if one.get("type") == "named":
            words += (
                [name]
                if value is None
                and (one.get("isRequired") or not one.get("format"))
                and one.get("value") is None
                and one.get("format") is None
                else []
            )
            words += [name, value] if value is not None else []
        elif value is not None:
            words.append(value)
    return words
