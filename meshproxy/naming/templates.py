"""URI templates (RFC 6570): whether a URI may be an expansion of one, and the expansion of one with values.

`TemplateMatcher` is asked to route a read, never to take values out. It is forgiving where servers and clients are: a value may be empty, a
value that should have been percent-encoded may not be, an exploded `{path*}` may span segments, `:N` is not counted, and what is no valid
expression counts as a plain variable. It never refuses an expansion that RFC 6570 gives, unless it is absurdly long.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

_EXPRESSION: Final = re.compile(r"\{([^{}]*)\}")
_LITERAL_HEAD: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*+")
_LONE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

_SEGMENT: Final = re.compile(r"[^/?#]*")
_PATH: Final = re.compile(r"[^?#]*")
_QUERY: Final = re.compile(r"[^#]*")
_ANYTHING: Final = re.compile(r".*", re.DOTALL)

_OPERATORS: Final[dict[str, tuple[str, re.Pattern[str], re.Pattern[str]]]] = {
    # operator: what an expansion begins with unless it is empty, what follows for one value, and for several (appendix A)
    "": ("", _SEGMENT, _PATH),
    "+": ("", _ANYTHING, _ANYTHING),
    "#": ("#", _ANYTHING, _ANYTHING),
    ".": (".", _SEGMENT, _PATH),
    "/": ("/", _SEGMENT, _PATH),
    ";": (";", _SEGMENT, _PATH),
    "?": ("?", _QUERY, _QUERY),
    "&": ("&", _QUERY, _QUERY),
}

_RESERVED: Final = ":/?#[]@!$&'()*+,;="
_TRIPLET: Final = re.compile(r"(%[0-9A-Fa-f]{2})")
_EXPANSIONS: Final[dict[str, tuple[str, str, bool, bool]]] = {
    # operator: what an expansion begins with, what parts its values, whether they have names, whether reserved characters stay (appendix A)
    "": ("", ",", False, False),
    "+": ("", ",", False, True),
    "#": ("#", ",", False, True),
    ".": (".", ".", False, False),
    "/": ("/", "/", False, False),
    ";": (";", ";", True, False),
    "?": ("?", "&", True, False),
    "&": ("&", "&", True, False),
}

_WORK: Final = 200_000
"""Characters of the URI times parts of the template above which nothing matches: some ten milliseconds."""


class TemplateMatcher:
    """A template, compiled. `matches` takes time in proportion to the length of the URI, whatever the template.

    That is why this is no regular expression: Python's backtrack, and `{+a}{+b}{+c}` would make them take forever. Instead, all places
    where the parts so far may end are carried from part to part.
    """

    __slots__ = ("_head", "_parts", "template")

    def __init__(self, template: str) -> None:
        self.template = template
        self._head = _LITERAL_HEAD.match(template)[0]  # type: ignore[index]  # a pattern with * always matches
        self._parts: list[str | tuple[str, re.Pattern[str]]] = []
        for index, text in enumerate(_EXPRESSION.split(template)):
            if index % 2:
                self._parts.append(_expression(text))
            elif text:
                self._parts.append(_encoded(text))

    def __repr__(self) -> str:
        return f"TemplateMatcher({self.template!r})"

    def matches(self, uri: str) -> bool:
        """Say whether `uri` looks like an expansion of the template."""
        if not uri.startswith(self._head):
            return False
        uri = _encoded(uri)
        if len(uri) * len(self._parts) > _WORK:
            return False
        ends = {0}
        for part in self._parts:
            if isinstance(part, str):
                ends = {end + len(part) for end in ends if uri.startswith(part, end)}
            else:
                first, rest = part
                ends |= _spread({end + len(first) for end in ends if uri.startswith(first, end)}, uri, rest)
        return len(uri) in ends


def expanded(template: str, values: Mapping[str, Any]) -> str:
    """Expand a URI template (RFC 6570) with its variables' values: texts, sequences of texts, and what can be written as a text.

    A variable without a value, or with None, is left out. What is no expression stays as it is.
    """
    return _EXPRESSION.sub(lambda found: _expanded(found[1], values), template)


def _expanded(body: str, values: Mapping[str, Any]) -> str:
    operator = body[:1] if body[:1] in _EXPANSIONS else ""
    first, separator, is_named, is_reserved = _EXPANSIONS[operator]
    parts = []
    for variable in body[len(operator) :].split(","):
        name, _, prefix = variable.strip().removesuffix("*").partition(":")
        value = values.get(name)
        if value is None or value in ([], ()):
            continue
        if isinstance(value, list | tuple):
            written = [_escaped(str(one), is_reserved) for one in value]
        else:
            written = [_escaped(str(value)[: int(prefix) if prefix.isdecimal() else None], is_reserved)]
        if not variable.endswith("*"):
            written = [",".join(written)]
        # `;x` and not `;x=` where the value is empty (section 3.2.7).
        parts += [f"{name}={one}" if one or operator != ";" else name for one in written] if is_named else written
    return first + separator.join(parts) if parts else ""


def _escaped(text: str, is_reserved: bool) -> str:  # noqa: FBT001  # a column of the table
    """A value as its operator has it: what is reserved, and what is encoded already, stays or not (section 3.2.1)."""
    pieces = _TRIPLET.split(text) if is_reserved else [text]
    safe = _RESERVED if is_reserved else ""
    return "".join(
        piece if index % 2 else quote(piece, safe=safe, errors="surrogatepass") for index, piece in enumerate(pieces)
    )


def _expression(body: str) -> tuple[str, re.Pattern[str]]:
    """What the expansions of `{body}` begin with, and the run of characters that may follow."""
    operator = body[:1] if body[:1] in _OPERATORS else ""
    first, one, several = _OPERATORS[operator]
    return first, several if "," in body or "*" in body else one


def _spread(starts: set[int], uri: str, run: re.Pattern[str]) -> set[int]:
    """All places that can be reached from `starts` through characters of `run`."""
    ends: set[int] = set()
    reached = -1
    for start in sorted(starts):
        if start > reached:
            reached = run.match(uri, start).end()  # type: ignore[union-attr]  # a pattern with * always matches
            ends.update(range(start, reached + 1))
    return ends


def _encoded(text: str) -> str:
    """`text` as an expansion spells it: what a URI cannot hold is percent-encoded (RFC 6570, section 3.1)."""
    return _LONE_PERCENT.sub("%25", quote(text, safe=":/?#[]@!$&'()*+,;=%", errors="surrogatepass"))
