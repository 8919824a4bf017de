"""Whether a URI may be an expansion of a URI template (RFC 6570): asked to route a read, never to take values out.

Forgiving where servers and clients are: a value may be empty, a value that should have been percent-encoded may not be, an
exploded `{path*}` may span segments, `:N` is not counted, and what is no valid expression counts as a plain variable. Never refuses
an expansion that RFC 6570 gives, unless it is absurdly long.
"""

import re
from typing import Final
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
