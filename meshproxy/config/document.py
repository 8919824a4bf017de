"""A config file's text as a tree of values that know where they stand. Pure: no file is touched here.

YAML 1.2's core schema through PyYAML's parser: `yes`, `on`, `1:30` and `2024-01-01` are text, octal is `0o17`, and JSON is YAML,
tabs and surrogate pairs included. A file of JSON may have comments (`jsonc`), and nothing else that JSON has not, since YAML would make values of
what other readers refuse. Refused, each with its place: repeated keys, several documents, tags, anchors that contain
themselves, and what expands or nests beyond all reason.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.error import Mark, MarkedYAMLError
from yaml.reader import ReaderError

from meshproxy.config.jsonc import LITERAL, without_comments
from meshproxy.config.nodes import CORE, MAX_DEPTH, NoCharacterError, TooDeepError, compose, tag_of_plain

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None

MAX_NODES: Final = 100_000
"""Values in one file, aliases expanded."""

_COMMENT_AS_TEXT: Final = re.compile(r"//|/\*.*\*/ ")
"""How a plain text begins that was a comment before YAML joined it to what follows."""
_FOREIGN_COMMENT: Final = re.compile(r"(?:^|[\s,{\[])(?://|/\*)")
_PYTHON: Final = {"True": "true", "False": "false", "None": "null", "NULL": "null", "TRUE": "true", "FALSE": "false"}
_SIMPLE_KEY: Final = re.compile(r"[\w$-]+")


@dataclass(frozen=True)
class Item:
    """One value. `line` and `column` count from 1; `key_line` and `key_column` are of its key, and its own in a list."""

    value: "Scalar | dict[str, Item] | list[Item]"
    path: Path
    line: int
    column: int
    key_line: int
    key_column: int
    text: str = field(default="", repr=False)
    """A scalar as it is written, without quotes."""

    @property
    def key(self) -> str:
        """Its path for a reader: `upstreams.docs.args[1]`."""
        return spell(self.path)

    @property
    def mapping(self) -> "dict[str, Item]":
        """Its items by key; none if it is no mapping."""
        return self.value if isinstance(self.value, dict) else {}

    def find(self, path: Path) -> "Item":
        """The item at `path` below this one, or the nearest that there is on the way."""
        item = self
        for step in path:
            child: Item | None = None
            if isinstance(item.value, dict):
                child = item.value.get(str(step))
            elif isinstance(item.value, list) and isinstance(step, int) and step < len(item.value):
                child = item.value[step]
            if child is None:
                break
            item = child
        return item

    def with_value(self, value: "Scalar | dict[str, Item] | list[Item]") -> "Item":
        """Another value at the same place."""
        return Item(value, self.path, self.line, self.column, self.key_line, self.key_column, self.text)

    @property
    def plain(self) -> Any:
        """The values alone, as they are written."""
        if isinstance(self.value, dict):
            return {key: child.plain for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain for child in self.value]
        return self.value


@dataclass(frozen=True)
class Flaw:
    """Something wrong with the text, and where. `line` and `column` count from 1."""

    line: int
    column: int
    key: str
    message: str


def spell(path: Path) -> str:
    """A path as text; a key that is no plain word is quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            word = step if _SIMPLE_KEY.fullmatch(step) else '"' + step.replace("\\", "\\\\").replace('"', '\\"') + '"'
            text += f".{word}" if text else word
    return text


def parse(text: str, *, is_json: bool = False) -> tuple[Item | None, list[Flaw]]:
    """The document in `text`, or None if there is none or it cannot be parsed, and the flaws found. `is_json`: it is to be JSON, with comments."""
    if is_json:
        text, complaint = without_comments(text)
        if complaint is not None:
            at, message = complaint
            lines = re.split("\r\n|[\r\n]", text[:at])
            return None, [Flaw(len(lines), len(lines[-1]) + 1, "", message)]
    try:
        node = compose(text)
    except ReaderError as error:
        before = text[: error.position]
        column = error.position - (before.rfind("\n") + 1) + 1
        message = f"the character U+{ord(text[error.position]):04X} is not allowed; remove it"
        return None, [Flaw(before.count("\n") + 1, column, "", message)]
    except TooDeepError as error:
        return None, [_flaw(error.mark, f"nested more than {MAX_DEPTH} levels deep")]
    except MarkedYAMLError as error:
        return None, [_explain(error, text, is_json=is_json)]
    except NoCharacterError as error:
        return None, [Flaw(error.line + 1, error.column + 1, "", "an escape names no character")]
    if node is None:
        return None, []
    tree = _Tree(is_json=is_json)
    item = tree.item(node, (), node.start_mark)
    return item, tree.flaws


class _Tree:
    """Turns the node graph into items, expanding aliases and merges, and gathers what is wrong on the way."""

    def __init__(self, *, is_json: bool) -> None:
        self.flaws: list[Flaw] = []
        self._is_json = is_json
        self._flow = 0  # how many collections around here are written in brackets
        self._count = 0
        self._open: set[int] = set()

    def item(self, node: yaml.Node, path: Path, key: Mark) -> Item | None:
        """The value of `node`, or None if it has none that can be used."""
        self._count += 1
        if self._count > MAX_NODES:
            if self._count == MAX_NODES + 1:
                self._flaw(node.start_mark, path, f"more than {MAX_NODES} values, with its aliases expanded")
            return None
        if id(node) in self._open:
            self._flaw(node.start_mark, path, "this anchor contains itself")
            return None
        if isinstance(node, yaml.ScalarNode) and (wrong := self._misread(node)):
            self._flaw(node.start_mark if node.value else key, path, wrong)
            return None
        in_brackets = isinstance(node, yaml.CollectionNode) and bool(node.flow_style)
        self._flow += in_brackets
        self._open.add(id(node))
        value = self._value(node, path)
        self._open.discard(id(node))
        self._flow -= in_brackets
        if value is _NOTHING:
            return None
        mark = node.start_mark
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        return Item(value, path, mark.line + 1, mark.column + 1, key.line + 1, key.column + 1, text)

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == CORE + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == CORE + "seq":
            items = (self.item(child, (*path, index), child.start_mark) for index, child in enumerate(node.value))
            return [item for item in items if item is not None]
        if isinstance(node, yaml.ScalarNode):
            try:
                return _scalar(node)
            except ValueError as error:
                self._flaw(node.start_mark, path, str(error))
                return _NOTHING
        self._flaw(node.start_mark, path, f"the tag {_tag_name(node.tag)} is not supported; remove it")
        return _NOTHING

    def _misread(self, node: yaml.ScalarNode, *, is_key: bool = False) -> str | None:
        """Why a scalar would be read as something that its author did not mean; None if it is meant."""
        if node.style and not self._is_json:
            return None
        if self._is_json:
            if node.style == '"' or (not is_key and LITERAL.fullmatch(node.value)):
                return None
            if not node.value and not node.style:
                return "has no value; give it one, or remove the key"
            if (word := _PYTHON.get(node.value)) is not None and not is_key:
                return f"JSON writes this {word}"
            return "JSON has its texts and keys in double quotes; put it in them"
        if self._flow and _COMMENT_AS_TEXT.match(node.value):
            return "this is no comment in YAML, but a text; begin comments with #, and put texts like this in quotes"
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Item]:
        own: dict[str, Item] = {}
        merged: dict[str, Item] = {}
        first: dict[str, Mark] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._flaw(key.start_mark, path, "a key must be text, not a list or a mapping")
                continue
            try:
                name = _text(key.value)
            except ValueError as error:
                self._flaw(key.start_mark, path, str(error))
                continue
            here = (*path, name)
            if wrong := self._misread(key, is_key=True):
                self._flaw(key.start_mark, here, wrong)
                continue
            if (before := first.get(name)) is not None:
                self._flaw(
                    key.start_mark,
                    here,
                    f"repeated key; it is set at line {before.line + 1}, column {before.column + 1}",
                )
                continue
            first[name] = key.start_mark
            if key.tag == CORE + "merge":
                merged = self._merged(child, path)
            elif (item := self.item(child, here, key.start_mark)) is not None:
                own[name] = item
        if not merged:
            return own
        return {name: own.get(name, merged.get(name)) for name in {**merged, **own}}  # type: ignore[misc]

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, Item]:
        """What `<<` brings: of several mappings the first that has a key (YAML's merge type)."""
        result: dict[str, Item] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            item = self.item(source, path, source.start_mark)
            if item is None:
                continue
            if not isinstance(item.value, dict):
                self._flaw(source.start_mark, (*path, "<<"), "only a mapping can be merged, as in <<: *anchor")
                continue
            result = {**item.value, **result}
        return result

    def _flaw(self, mark: Mark, path: Path, message: str) -> None:
        self.flaws.append(Flaw(mark.line + 1, mark.column + 1, spell(path), message))


_NOTHING: Final = object()


def resolve(text: str) -> Scalar:
    """What an unquoted `text` is in YAML 1.2's core schema. Raises ValueError for a number that is none."""
    tag = tag_of_plain(text)
    return text if tag is None else _typed(tag, text)


def _scalar(node: yaml.ScalarNode) -> Scalar:
    value = _typed(node.tag, node.value)
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    if value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value):
        return value
    # JSON writes what lies beyond U+FFFF as two escapes; PyYAML makes two characters of them.
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("half of a surrogate pair is no character") from None


def _typed(tag: str, text: str) -> Scalar:
    match tag.removeprefix(CORE):
        case "str" | "merge":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _integer(text)
        case "float":
            return _real(text)
    raise ValueError(f"the tag {_tag_name(tag)} is not supported; remove it")


def _integer(text: str) -> int:
    if len(text) > 400:
        raise ValueError("this number is too long")
    for prefix, base in (("0o", 8), ("0x", 16)):
        if text.startswith(prefix):
            return int(text[2:], base)
    try:
        return int(text)
    except ValueError:
        raise ValueError("!!int marks something that is no whole number") from None


def _real(text: str) -> float:
    try:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise ValueError("!!float marks something that is no number") from None


def _tag_name(tag: str) -> str:
    return "!!" + tag.removeprefix(CORE) if tag.startswith(CORE) else tag


def _flaw(mark: Mark, message: str) -> Flaw:
    return Flaw(mark.line + 1, mark.column + 1, "", message)


def _explain(error: MarkedYAMLError, text: str, *, is_json: bool) -> Flaw:
    """PyYAML's complaint in words that help."""
    mark = error.problem_mark or error.context_mark
    if mark is None:  # pragma: no cover  # PyYAML marks everything that it raises while it parses
        return Flaw(1, 1, "", str(error.problem))
    problem = error.problem or "cannot be parsed"
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", text)
    line = lines[mark.line] if mark.line < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if (not is_json and "\t" in indent) or "'\\t'" in problem:
        column = line.index("\t") + 1 if "\t" in line else mark.column + 1
        return Flaw(mark.line + 1, column, "", "a tab is not allowed here; YAML is indented with spaces")
    if "single document" in (error.context or ""):
        return _flaw(mark, "a second document begins here; write one file per mesh")
    if "cannot start any token" in problem:
        return _flaw(mark, f"a value cannot begin with {text[mark.index : mark.index + 1]!r}; put it in quotes")
    if text[mark.index - 1 : mark.index + 1] == "${":
        return Flaw(mark.line + 1, mark.column, "", 'inside { } and [ ], put a reference in quotes: "${...}"')
    if "mapping values" in problem:
        return _flaw(
            mark, "a colon that starts no value; put text that contains ': ' in quotes, or mend the indentation"
        )
    began = ""
    if error.context and error.context_mark is not None and error.context_mark.line != mark.line:
        began = f" {error.context}, which began at line {error.context_mark.line + 1}"
    elif error.context:
        began = f" {error.context}"
    if is_json:
        return _flaw(mark, f"not valid JSON: {_of_json(problem, began)}")
    hint = (
        "; comments begin with # in YAML, and not with // or /*" if _FOREIGN_COMMENT.search(text, 0, mark.index) else ""
    )
    return _flaw(mark, f"not valid YAML: {problem}{began}{hint}")


def _of_json(problem: str, began: str) -> str:
    """The same of JSON, for somebody who may have written none before."""
    began = began.replace("a flow mapping", "an object").replace("a flow sequence", "an array")
    if "escape" in problem:
        return "a backslash in a text is written twice, as in C:\\\\Users"
    if "<document start>" in problem:
        return "this stands after the end of the object; remove it"
    if "<stream end>" in problem or "unexpected end of stream" in problem:
        return f"the file ends too early{began}; close what is open"
    if problem.startswith("expected ',' or") and problem.endswith(("'<scalar>'", "'{'", "'['")):
        return f"a comma is missing before this{began}"
    return f"{problem}{began}"
