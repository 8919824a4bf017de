"""JSON with comments, as editors and MCP clients write their files, made into plain JSON without moving anything. Pure.

Source: RFC 8259 for what is a string; "JSON with Comments" of VS Code for the comments: `//` to the end of the line, and `/* */`. Each comment
becomes blanks of its length, so that whatever is found later stands where the user wrote it. Commas after the last member are left for the parser, which
takes them.
"""

import re
from typing import Final

__all__ = ["LITERAL", "is_json", "without_comments"]

LITERAL: Final = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
"""What stands in JSON without quotes."""

_YAML_NAMES: Final = (".yaml", ".yml")
_BLANK: Final = r"(?:\s|//[^\r\n]*|/\*.*?\*/)*"
_BEGINNING: Final = re.compile(rf"\ufeff?{_BLANK}[{{\[]", re.DOTALL)
_TOKEN: Final = re.compile(r'"(?:[^"\\\r\n]|\\[^\r\n])*"|//[^\r\n]*|/\*.*?\*/|["/]', re.DOTALL)
_VISIBLE: Final = re.compile(r"[^\r\n]")
# They end no line of JSON, but do of YAML; these are the escapes of the latter.
_BREAKS: Final = str.maketrans({"\x85": "\\N", "\u2028": "\\L", "\u2029": "\\P"})


def is_json(text: str, suffix: str) -> bool:
    """Whether a file with this text and this end of its name is read as JSON: it begins so, and is not called YAML."""
    return suffix.lower() not in _YAML_NAMES and _BEGINNING.match(text) is not None


def without_comments(text: str) -> tuple[str, tuple[int, str] | None]:
    """The text with blanks for its comments and tabs, which YAML has no place for; or where it cannot be told what is a comment, as an index, and why."""
    pieces: list[str] = []
    end = 0
    for token in _TOKEN.finditer(text):
        pieces.append(text[end : token.start()].replace("\t", " "))
        found, end = token[0], token.end()
        if len(found) == 1:
            return text, (token.start(), _complaint(text, token.start()))
        pieces.append(found.translate(_BREAKS) if found[0] == '"' else _VISIBLE.sub(" ", found))
    pieces.append(text[end:].replace("\t", " "))
    return "".join(pieces), None


def _complaint(text: str, at: int) -> str:
    if text[at] == '"':
        return "this text has no closing quote on its line; a line end in it is written \\n"
    if text.startswith("/*", at):
        return "this comment has no end; close it with */"
    return "a slash stands outside of a text; a comment begins with // or /*"
