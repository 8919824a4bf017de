"""Conditions of rules, in CEL (the Common Expression Language), as the file writes them: `compiled`. Place: config.

The library is optional (`meshproxy[cel]`), and is imported where the first condition is, since it is slow to import.
"""

import re
from functools import lru_cache
from typing import Any, Final

__all__ = ["NAMES", "claims_of", "compiled", "kinds_of", "needs_arguments"]

NAMES: Final = frozenset({"jwt", "mcp"})
"""What a condition is told of: the claims of the caller's token, and what it wants to use."""
_KINDS: Final = {"tool": ("tools",), "prompt": ("prompts",), "resource": ("resources", "templates")}
_FUNCTIONS: Final = frozenset(
    [
        "bool",
        "bytes",
        "contains",
        "double",
        "duration",
        "endsWith",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getSeconds",
        "int",
        "matches",
        "max",
        "min",
        "size",
        "startsWith",
        "string",
        "timestamp",
        "type",
        "uint",
    ]
)
_BOUND: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_WORD: Final = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_CLAIM: Final = re.compile(r"""\bjwt\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(?:"([^"\\]*)"|'([^'\\]*)')\s*\])""", re.ASCII)
_KIND: Final = re.compile(r"\bmcp\s*\.\s*(tool|prompt|resource)\b", re.ASCII)


@lru_cache(maxsize=1024)
def compiled(text: str) -> Any:
    """The program of a condition, which has `execute(names)`.

    Raises:
        ValueError: it is no CEL, uses names or functions that there are none of, or the library is not there; says where and what to do.
    """
    try:
        import cel  # noqa: PLC0415  # optional, and slow to import
    except ImportError:
        raise ValueError("needs an optional part of meshproxy: pip install 'meshproxy[cel]'") from None
    try:
        program = cel.compile(text)
    except ValueError as error:
        raise ValueError(f"is no CEL expression: {_first(str(error))}") from None
    unknown = sorted({*program.variables()} - NAMES - {*_BOUND.findall(text)})
    if unknown:
        raise ValueError(f"knows jwt and mcp, such as jwt.sub and mcp.tool.name, and not {', '.join(unknown)}")
    if missing := sorted(name for name in program.functions() if _WORD.match(name) and name not in _FUNCTIONS):
        raise ValueError(f"uses functions that CEL does not have: {', '.join(missing)}")
    return program


def needs_arguments(text: str) -> bool:
    """Whether a condition looks at the arguments of a call. It may also be one that only has the word in it, which then is decided late and as rightly."""
    return "arguments" in text


def kinds_of(text: str) -> frozenset[str] | None:
    """The kinds that a condition is about, by what of `mcp` it names, as `tools`; None for all."""
    named = _KIND.findall(text)
    if not named or len(named) != len(re.findall(r"\bmcp\b", text, re.ASCII)):
        return None
    return frozenset(kind for name in named for kind in _KINDS[name])


def claims_of(text: str) -> frozenset[str] | None:
    """The claims that a condition looks at; None for any of them."""
    named = [next(filter(None, groups), "") for groups in _CLAIM.findall(text)]
    if len(named) != len(re.findall(r"\bjwt\b", text, re.ASCII)):
        return None
    return frozenset(named)


def _first(message: str) -> str:
    """What a parser says first, in one line: the place within the expression, and what is wrong there."""
    found = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)", message)
    if found is None:
        return message.splitlines()[0]
    place = f"column {found[2]}" if found[1] == "1" else f"line {found[1]}, column {found[2]}"
    return f"{found[3].partition(' expecting ')[0]} at {place}"
