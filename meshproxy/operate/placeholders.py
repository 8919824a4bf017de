"""What other programs put into the values of their files when they read them, in the words of this one. Place: operate; pure.

Sources: the clients' own documentation of variables (VS Code and Cursor `${workspaceFolder}`, `${userHome}`, `${env:X}`, `${input:id}`; Claude Code `${VAR}` and
`${VAR:-default}`; Gemini `$VAR`; OpenCode `{env:X}` and `{file:path}`; Continue `${{ secrets.X }}`; LibreChat `{{X}}`; MCP Registry `{name}`).
"""

import re
from collections.abc import Mapping
from typing import Final

from meshproxy.config.env import Reference, parse

__all__ = ["NoCounterpartError", "translated", "unset", "variable_of"]

_PLACEHOLDER: Final = re.compile(
    r"\$\{\{\s*(?P<continued>[^}]*?)\s*\}\}|\{\{\s*(?P<chat>[^{}]+?)\s*\}\}|\$\{(?P<braced>[^}]*)\}|(?P<dollars>\$\$)"
    r"|\{(?P<open>(?:env|file):[^{}]+)\}|\$(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
)
_FOLDERS: Final = ("workspaceFolder", "workspaceRoot", "fileWorkspaceFolder", "cwd")


class NoCounterpartError(ValueError):
    """A placeholder that nothing here can be put in for."""


def translated(text: str, client: str, workspace: str) -> str:
    """A value with references of this program in place of placeholders. Raises `NoCounterpartError`."""

    def put(match: re.Match[str]) -> str:
        if match["dollars"]:
            return "$$$$"
        if match["bare"]:
            return f"${{{match['bare']}}}" if client == "gemini" else match[0]
        if match["open"]:
            if client != "opencode":
                return match[0]
            kind, _, what = match["open"].partition(":")
            return f"${{{what}}}" if kind == "env" else f"${{file:{what}}}"
        if match["continued"] is not None:
            kind, dot, name = match["continued"].partition(".")
            if kind in ("secrets", "inputs", "env") and dot:
                return f"${{{variable_of(name)}}}"
            raise NoCounterpartError(match[0])
        if match["chat"]:
            if client == "librechat" or match["chat"].isupper():
                raise NoCounterpartError(match[0])
            return match[0]
        return _braced(match["braced"], match[0], workspace)

    return _PLACEHOLDER.sub(put, text)


def _braced(body: str, written: str, workspace: str) -> str:
    kind, _, rest = body.partition(":")
    if kind in _FOLDERS:
        return workspace.replace("$", "$$")
    if kind == "workspaceFolderBasename":
        return workspace.rpartition("/")[2].replace("$", "$$")
    if kind == "userHome":
        return "${HOME}"
    if kind in ("/", "pathSeparator"):
        return "/"
    if kind == "input":
        return f"${{{variable_of(rest)}}}"
    [part] = parse(written)
    if (
        not isinstance(part, Reference)
        or part.error is not None
        or part.command is not None
        or part.keyring is not None
    ):
        raise NoCounterpartError(written)
    return written


def variable_of(name: str) -> str:
    """A variable's name for what another program calls by a name of its own: `docs-token` is `DOCS_TOKEN`."""
    word = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper() or "VALUE"
    return f"_{word}" if word[0].isdigit() else word


def unset(text: str, environ: Mapping[str, str]) -> set[str]:
    """The variables that a value refers to, that have no default and are not set."""
    return {
        part.variable
        for part in parse(text)
        if isinstance(part, Reference) and part.variable and part.default is None and part.variable not in environ
    }
