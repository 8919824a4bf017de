"""A config file's text as PyYAML's nodes, which know where they stand. Pure; `document` makes values of them.

Two parsers read it. PyYAML's own, in Python, decides what may stand in a file, and words what may not. libyaml's, where PyYAML was built with
it, is fifteen times as fast; but it takes a few things that the other refuses, and places a few elsewhere. So it is asked first, and believed
where both are known to say the same: it has no complaint, and the text has nothing of what they differ about. A file of hundreds of
upstreams is read at each edit, and most of an edit's time was this.
"""

import re
from typing import Any, Final

import yaml
from yaml.composer import Composer
from yaml.error import Mark
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

__all__ = [
    "CORE",
    "MAX_DEPTH",
    "MarkLoader",
    "NoCharacterError",
    "TooDeepError",
    "compose",
    "compose_in_python",
    "compose_with_libyaml",
    "tag_of_plain",
]

CORE: Final = "tag:yaml.org,2002:"
MAX_DEPTH: Final = 64

_RESOLVERS: Final = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)
_APART: Final = re.compile(
    r"[\t\x85\u2028\u2029\ufeff]"  # tabs and what ends a line or begins a file, depending on the reader
    r"|[|>][-+0-9]*#"  # a comment without a blank before it
    r"|(?:^|[\s\[{,])\?(?:[\s,\]}]|\Z)"  # a key that is marked as one
    rf"|{Reader.NON_PRINTABLE.pattern}",
    re.MULTILINE,
)
"""What the parsers take for different things, or may."""
_LEAST_LIBYAML: Final = (0, 2, 5)
"""Older ones are not known to agree."""


class TooDeepError(Exception):
    """Values stand in one another more than `MAX_DEPTH` deep, at `mark`."""

    def __init__(self, mark: Mark) -> None:
        super().__init__("too deep")
        self.mark = mark


class NoCharacterError(Exception):
    """An escape names no character. `line` and `column` are where it ends, from 0."""

    def __init__(self, line: int, column: int) -> None:
        super().__init__("no character")
        self.line, self.column = line, column


class _Core(Resolver):
    """The resolver of YAML 1.2's core schema."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012  # PyYAML's own way to give a loader its resolvers


for _tag, _pattern, _first in _RESOLVERS:
    _Core.add_implicit_resolver(CORE + _tag, re.compile(rf"(?:{_pattern})\Z"), _first)
_PATTERNS: Final = list(dict.fromkeys(pair for pairs in _Core.yaml_implicit_resolvers.values() for pair in pairs))


class _Composer(Composer):
    """PyYAML's, from events to the graph, but no deeper than is allowed. libyaml's own would go on until the stack is full."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            event = self.peek_event()  # type: ignore[attr-defined]  # it is a part of a loader, which has it
            raise TooDeepError(event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class MarkLoader(Reader, Scanner, Parser, _Composer, _Core):
    """By PyYAML's own parser."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        _Composer.__init__(self)
        _Core.__init__(self)

    def scan_to_next_token(self) -> None:
        # YAML allows tabs between the tokens of a flow collection, so of JSON; PyYAML does not.
        super().scan_to_next_token()
        while self.flow_level and self.peek() == "\t":
            self.forward()
            super().scan_to_next_token()


def compose(text: str) -> yaml.Node | None:
    """The document in `text`, or None if there is none.

    Raises `yaml.reader.ReaderError` for a character that may not be there, and `yaml.error.MarkedYAMLError`, `TooDeepError` or
    `NoCharacterError` for what may not stand there.
    """
    node = compose_with_libyaml(text)
    return compose_in_python(text) if node is None else node


def compose_in_python(text: str) -> yaml.Node | None:
    """As `compose`, by the parser that decides."""
    loader = MarkLoader(text)
    try:
        return loader.get_single_node()
    except (ValueError, OverflowError):
        # PyYAML hands the hex digits of an escape to chr().
        raise NoCharacterError(loader.line, loader.column) from None
    finally:
        loader.dispose()


def tag_of_plain(text: str) -> str | None:
    """What an unquoted `text` is in the core schema, as a tag; None if it is text."""
    return next((tag for tag, pattern in _PATTERNS if pattern.match(text)), None)


def compose_with_libyaml(text: str) -> yaml.Node | None:
    """The mapping in `text`, or None if it is to be read by the other parser."""
    if _swift is None or _APART.search(text):
        return None
    try:
        node = _swift(text).get_single_node()
    except (yaml.YAMLError, TooDeepError, ValueError, OverflowError):
        return None
    return node if isinstance(node, yaml.MappingNode) and _is_read_alike(node) else None


def _is_read_alike(root: yaml.Node) -> bool:
    """Whether there is nothing in a graph that the other parser would refuse, or place elsewhere.

    A question mark ends what is written without quotes in brackets there, and what has no value in brackets begins before its blanks.
    """
    seen: set[int] = set()
    todo = [(root, False)]
    while todo:
        node, in_brackets = todo.pop()
        if isinstance(node, yaml.CollectionNode):
            if id(node) not in seen:
                seen.add(id(node))
                within = in_brackets or bool(node.flow_style)
                pairs = node.value if isinstance(node, yaml.MappingNode) else zip(node.value)
                todo += [(one, within) for pair in pairs for one in pair]
        elif (
            isinstance(node, yaml.ScalarNode)
            and in_brackets
            and not node.style
            and (not node.value or "?" in node.value)
        ):
            return False
    return True


def _swift_loader() -> Any:
    """A loader by libyaml's parser, if there is one."""
    try:
        from yaml._yaml import CParser, get_version  # noqa: PLC0415  # PyYAML may be built without it
    except ImportError:  # pragma: no cover  # the wheels have it
        return None
    if get_version() < _LEAST_LIBYAML:  # pragma: no cover  # so have they this version
        return None

    class Swift(_Composer, CParser, _Core):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            _Composer.__init__(self)
            _Core.__init__(self)

    return Swift


_swift: Final = _swift_loader()
