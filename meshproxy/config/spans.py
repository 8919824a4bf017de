"""Where in a text its keys and values stand, for edits that touch nothing else. Pure.

`document` says what a text means, with aliases expanded; here an alias is an alias. JSON is read as the YAML that it is, with blanks for its comments.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import yaml

from meshproxy.config.jsonc import without_comments
from meshproxy.config.nodes import MarkLoader

__all__ = ["Span", "blanked", "spans"]

_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s+)+")
_BREAKS: Final = str.maketrans("\x85\u2028\u2029", "___")


@dataclass(frozen=True)
class Span:
    """A value, and where it stands: `text[start:end]`, its anchor and tag included, and nothing that follows it.

    Attributes:
        kind: what it is.
        start: index of its first character, or of its anchor.
        body: index of its first character behind an anchor and a tag.
        end: index behind its last character.
        flow: of a collection: whether it is in brackets.
        anchor: the name of its anchor, or of an alias the one that it refers to.
        text: of a scalar, what it says.
        entries: of a mapping, the pairs of key and value, in order.
        items: of a list.
    """

    kind: Literal["mapping", "list", "scalar", "alias"]
    start: int
    body: int
    end: int
    flow: bool = False
    anchor: str | None = None
    text: str = ""
    entries: "tuple[tuple[Span, Span], ...]" = ()
    items: "tuple[Span, ...]" = ()

    def entry(self, key: str) -> "tuple[Span, Span] | None":
        """The key and the value that a mapping itself has under `key`."""
        return next((pair for pair in self.entries if pair[0].kind == "scalar" and pair[0].text == key), None)

    def walk(self) -> "Iterator[Span]":
        """It and everything in it, in the order of the text."""
        yield self
        for key, value in self.entries:
            yield from key.walk()
            yield from value.walk()
        for item in self.items:
            yield from item.walk()


def blanked(text: str, *, is_json: bool) -> str:
    """The text with blanks for the comments of JSON, nothing moved."""
    return without_comments(text.translate(_BREAKS))[0] if is_json else text


def spans(text: str, *, is_json: bool = False) -> Span | None:
    """The whole of a text that `document.parse` takes; None if there is nothing in it."""
    loader = MarkLoader(blanked(text, is_json=is_json))
    try:
        while not isinstance(loader.peek_event(), yaml.DocumentStartEvent):  # type: ignore[no-untyped-call]
            if isinstance(loader.get_event(), yaml.StreamEndEvent):  # type: ignore[no-untyped-call]
                return None
        loader.get_event()  # type: ignore[no-untyped-call]
        return _span(loader, text)
    finally:
        loader.dispose()


def _span(loader: MarkLoader, text: str) -> Span:
    event = loader.get_event()  # type: ignore[no-untyped-call]  # typeshed leaves it untyped
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, yaml.AliasEvent):
        return Span("alias", start, start, end, anchor=event.anchor)
    properties = _PROPERTIES.match(text, start) if event.anchor or event.tag else None
    body = min(properties.end(), end) if properties else start
    if isinstance(event, yaml.ScalarEvent):
        if event.style in ("|", ">"):
            end = _end_of_block(text, body, end)
        if body == end and properties:
            end = start + len(text[start:end].rstrip())
        return Span("scalar", start, body, end, anchor=event.anchor, text=event.value)
    children: list[Span] = []
    while not isinstance(loader.peek_event(), yaml.CollectionEndEvent):  # type: ignore[no-untyped-call]
        children.append(_span(loader, text))
    last = loader.get_event()  # type: ignore[no-untyped-call]
    flow = bool(event.flow_style)
    # The mark at the end of a block is where the next thing begins.
    end = last.end_mark.index if flow else children[-1].end if children else end
    if isinstance(event, yaml.MappingStartEvent):
        pairs = tuple(zip(children[::2], children[1::2], strict=True))
        return Span("mapping", start, body, end, flow, event.anchor, entries=pairs)
    return Span("list", start, body, end, flow, event.anchor, items=tuple(children))


def _end_of_block(text: str, body: int, end: int) -> int:
    """Where a block scalar ends: the blank lines behind it are its own only if its head says so (YAML 1.2, 8.1.1.2)."""
    head = text[body : end if (at := text.find("\n", body)) < 0 else at].partition("#")[0]
    if "+" in head:
        return end - (text[:end].endswith("\n")) - (text[:end].endswith("\r\n"))
    return body + len(text[body:end].rstrip())
