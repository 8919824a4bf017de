"""`Surgery`: one change of a config file's text, at the place that a path leads to. Pure; `draft` sees that it did what was meant."""

from typing import Any

from meshproxy.config.document import Path, spell
from meshproxy.config.lines import Lines
from meshproxy.config.spans import Span, spans
from meshproxy.config.writing import as_block, as_flow, as_json, scalar

__all__ = ["Surgery", "UneditableError"]


class UneditableError(ValueError):
    """What cannot be changed without changing something else, and what to do about it."""


class Surgery:
    """What a text is, and a way to change it. One change each: where things stand is not looked up again.

    Raises:
        UneditableError: by each of its methods; the text may be half changed then.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._root = spans(lines.text, is_json=lines.is_json)

    def put(self, path: Path, value: Any) -> None:
        if self._root is None:
            self._add_to_end(path, value)
            return
        span = self._root
        for depth, step in enumerate(path):
            is_alias = span.kind == "alias" and depth == len(path) - 1
            inner = None if is_alias else self._child(span, step, path[: depth + 1])
            if inner is None:
                rest = value
                for key in reversed(path[depth + 1 :]):
                    rest = {key: rest}
                self._insert(span, path[:depth], str(step), rest)
                return
            span = inner
        if span.kind == "alias":
            self._lines.splice(span.start, span.end, self._inline(value))
        elif span.kind != "scalar":
            raise UneditableError(f"{spell(path)} is no single value; edit it by hand")
        else:
            new = (
                self._inline(value)
                if isinstance(value, (dict, list))
                else self._scalar(value, self._lines.text[span.body :])
            )
            space = " " if self._lines.text[span.body - 1 : span.body] == ":" else ""
            self._lines.splice(span.body, span.end, space + new)

    def put_apart(self, path: Path, value: Any) -> None:
        """Put a key into a mapping that others share by its anchor: what they share becomes what it merges, and they stay as they are."""
        span = self._find(path[:-1])
        name = f"&{span.anchor}"
        text, lines = self._lines.text, self._lines
        if span.kind != "mapping" or text[span.start : span.body].rstrip() != name:
            raise UneditableError(f"{spell(path[:-1])} is shared with what refers to its anchor; edit it by hand")
        key = scalar(path[-1])
        if span.flow:
            written = text[span.start : span.end]
            lines.splice(span.start, span.end, f"{{<<: {written}, {key}: {as_flow(value)}}}")
            return
        first = span.entries[0][0].start
        begin = lines.line(first)
        column = first - begin
        stop = lines.end_of_entry(span.end, column - 1)
        step = lines.step(span, column)
        head = text[: span.start].rstrip(" ") + text[span.start + len(name) : begin]
        own = [f"{' ' * column}{key}: {as_flow(value)}", f"{' ' * column}<<: {name}"]
        deeper = [step + line if line.strip() else line for line in text[begin:stop].splitlines(keepends=True)]
        lines.take(head + "".join(line + lines.newline for line in own) + "".join(deeper) + text[stop:])

    def _insert(self, span: Span, path: Path, key: str, value: Any) -> None:
        """Put a key at the end of the mapping `span`."""
        if span.kind == "alias":
            self._lines.splice(
                span.start,
                span.end,
                "{<<: " + self._lines.text[span.start : span.end] + f", {scalar(key)}: {as_flow(value)}}}",
            )
            return
        if (span.kind == "scalar" and span.text in ("", "null", "~")) or (span.flow and not span.entries):
            self._fill(span, path, key, value)
            return
        if span.kind != "mapping":
            raise UneditableError(f"{spell(path) or 'the file'} is no mapping; edit it by hand")
        if span.flow:
            self._insert_in_brackets(span, span.entries[-1], span.entries[0][0].start, key, value)
            return
        column = span.entries[0][0].start - self._lines.line(span.entries[0][0].start)
        step = self._lines.step(span, column)
        lines = as_block(key, value, " " * column, step)
        self._lines.insert(self._lines.end_of_entry(span.entries[-1][1].end, column), lines)

    def _fill(self, span: Span, path: Path, key: str, value: Any) -> None:
        """Put the first key into what is empty."""
        parent = self._find(path[:-1]) if path else None
        if self._lines.is_json or (parent is not None and parent.flow):
            inner = (
                self._line_of_json(key, value, span.start)
                if self._lines.is_json
                else f"{scalar(key)}: {as_flow(value)}"
            )
            self._lines.splice(span.body, span.end, "{" + inner + "}")
            return
        column = -2
        if parent is not None and (pair := parent.entry(str(path[-1]))) is not None:
            column = pair[0].start - self._lines.line(pair[0].start)
        before = self._lines.text[: span.body].rstrip(" ") if span.end > span.body else self._lines.text[: span.body]
        self._lines.take(before + self._lines.text[span.end :])
        lines = as_block(key, value, " " * (column + 2))
        self._lines.insert(self._lines.next_line(len(before)), lines)

    def _line_of_json(self, key: str, value: Any, at: int) -> str:
        """What stands between the braces of an object that was empty."""
        if "\n" not in self._lines.text:
            return as_json(key, value, "", "")
        line = self._lines.text[self._lines.line(at) :]
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        step = self._lines.json_step()
        return f"\n{indent}{step}{as_json(key, value, step, indent + step)}\n{indent}".replace(
            "\n", self._lines.newline
        )

    def _insert_in_brackets(
        self, span: Span, last: tuple[Span, Span] | Span, first: int, key: str | None, value: Any
    ) -> None:
        """Put a member behind the last one, on a line of its own if those that there are have such."""
        end = last.end if isinstance(last, Span) else last[1].end
        begin = last.start if isinstance(last, Span) else last[0].start
        has_lines = "\n" in self._lines.code[span.body : first]
        indent = self._lines.indent(begin) if has_lines else ""
        if self._lines.is_json:
            inner = last if isinstance(last, Span) else last[1]
            written = self._lines.text[inner.start : inner.end]
            step = self._lines.json_step() if has_lines and ("\n" in written or inner.kind == "scalar") else ""
            new = as_json(key, value, step, indent).replace("\n", self._lines.newline)
        else:
            new = as_flow(value) if key is None else f"{scalar(key)}: {as_flow(value)}"
        comma = self._lines.comma(end)
        tail = "," if comma is not None else ""
        at = end if comma is None else comma + 1
        if not has_lines:
            self._lines.splice(at, at, f"{' ' if comma is not None else ', '}{new}{tail}")
            return
        # What is said of the last member behind it on its line stays with it.
        stop = self._lines.next_line(at)
        rest = self._lines.text[at:stop]
        closes = self._lines.code[at:stop].partition("#")[0].strip()
        if closes:
            self._lines.splice(at, at, f"{'' if comma is not None else ','}{self._lines.newline}{indent}{new}{tail}")
            return
        self._lines.take(self._lines.text[:at] + ("" if comma is not None else ",") + rest + self._lines.text[stop:])
        stop += comma is None
        self._lines.splice(stop, stop, f"{indent}{new}{tail}{self._lines.newline}")

    def append(self, path: Path, value: Any) -> None:
        span = self._find(path)
        if (span.kind == "scalar" and span.text in ("", "null", "~")) or (span.flow and not span.items):
            parent = self._find(path[:-1])
            pair = parent.entry(str(path[-1]))
            if self._lines.is_json or parent.flow or pair is None:
                self._lines.splice(span.body, span.end, f"[{self._inline(value)}]")
                return
            column = pair[0].start - self._lines.line(pair[0].start)
            before = (
                self._lines.text[: span.body].rstrip(" ") if span.end > span.body else self._lines.text[: span.body]
            )
            self._lines.take(before + self._lines.text[span.end :])
            self._lines.insert(self._lines.next_line(len(before)), [f"{' ' * (column + 2)}- {as_flow(value)}"])
        elif span.kind != "list":
            raise UneditableError(f"{spell(path)} is no list that stands here; edit it by hand")
        elif span.flow:
            self._insert_in_brackets(span, span.items[-1], span.items[0].start, None, value)
        else:
            column = self._lines.dash(span.items[-1].start) - self._lines.line(span.items[-1].start)
            at = self._lines.end_of_entry(span.items[-1].end, column)
            self._lines.insert(at, [f"{' ' * column}- {as_flow(value)}"])

    def remove(self, path: Path) -> None:
        span = self._find(path[:-1])
        step = path[-1]
        if span.kind == "alias":
            raise UneditableError(f"{spell(path)} comes from {self._place(span)}; edit it by hand")
        if isinstance(step, int):
            value = span.items[step]
            start, members = value.start, len(span.items)
        else:
            pair = span.entry(step)
            if pair is None:
                raise UneditableError(f"{spell(path)} comes from a merge (<<); edit it by hand")
            start, value, members = pair[0].start, pair[1], len(span.entries)
        _hold_anchors(self._root, self._lines.text, start, value.end)
        if span.flow:
            self._remove_from_brackets(span, start, value.end)
            return
        marked = self._lines.dash(start) if isinstance(step, int) else start
        begin = self._lines.line(marked)
        if self._lines.text[begin:marked].strip() not in ("", "?"):
            raise UneditableError(f"{spell(path)} shares its line with what is around it; edit it by hand")
        stop = self._lines.end_of_entry(value.end, marked - begin)
        self._lines.splice(begin, stop, "")
        if members == 1 and path[:-1]:
            at = span.start + len(self._lines.text[span.start : span.body].rstrip()) if span.body > span.start else None
            if at is None:
                before = self._lines.code[:begin]
                at = self._colon(path[:-1])
                at = len(before.rstrip()) if at is None else at
            self._lines.splice(at, at, " []" if isinstance(step, int) else " {}")

    def _colon(self, path: Path) -> int | None:
        """Where the colon behind a key ends."""
        found: Span | None = spans(self._lines.text, is_json=self._lines.is_json)
        for step in path[:-1]:
            found = None if found is None else self._child(found, step, path)
        pair = None if found is None else found.entry(str(path[-1]))
        return None if pair is None else self._lines.text.index(":", pair[0].end) + 1

    def _remove_from_brackets(self, span: Span, start: int, end: int) -> None:
        comma = self._lines.comma(end)
        begin = self._lines.line(start)
        if comma is None:
            # The last one: the comma before it is too much now, in JSON at least.
            ends = [pair[1].end for pair in span.entries] or [item.end for item in span.items]
            before = max((other for other in ends if other <= start), default=None)
            if not self._lines.code[begin:start].strip() and not self._lines.rest(end):
                stop = self._lines.next_line(end)
            elif before is None:
                begin, stop = start, end
            else:
                self._lines.splice(before, end, self._kept(before, start))
                return
            self._lines.splice(begin, stop, "")
            if before is not None and (left := self._lines.comma(before)) is not None:
                self._lines.splice(left, left + 1, "")
            return
        stop = comma + 1
        if not self._lines.code[begin:start].strip() and not self._lines.rest(stop):
            stop = self._lines.next_line(stop)
        else:
            begin = start
            stop += len(self._lines.text[stop:]) - len(self._lines.text[stop:].lstrip(" \t"))
        self._lines.splice(begin, stop, "")

    def _kept(self, before: int, start: int) -> str:
        """What stands between two members but for the comma and the blanks at its end: a comment may."""
        between = self._lines.text[before:start]
        comma = self._lines.code[before:start].find(",")
        return (between[:comma] + between[comma + 1 :]).rstrip() if comma >= 0 else ""

    def rename(self, path: Path, name: str) -> None:
        parent = self._find(path[:-1])
        pair = parent.entry(str(path[-1]))
        if pair is None:
            raise UneditableError(f"{spell(path)} comes from {self._place(parent)}; edit it by hand")
        key = pair[0]
        self._lines.splice(key.body, key.end, self._scalar(name, self._lines.text[key.body :]))

    # Where things stand

    def _child(self, span: Span, step: str | int, path: Path) -> Span | None:
        if span.kind == "alias":
            raise UneditableError(f"{spell(path)} comes from {self._place(span)}; edit it by hand")
        if isinstance(step, int):
            return span.items[step] if step < len(span.items) else None
        pair = span.entry(step)
        return None if pair is None else pair[1]

    def _find(self, path: Path) -> Span:
        span = self._root
        for depth, step in enumerate(path):
            span = None if span is None else self._child(span, step, path[: depth + 1])
            if span is None:
                raise UneditableError(f"{spell(path)} does not stand in the file itself; edit it by hand")
        if span is None:
            raise UneditableError("the file is empty")
        return span

    def _place(self, span: Span) -> str:
        what = f"the alias *{span.anchor}" if span.kind == "alias" else "a merge (<<)"
        return f"{what} at line {self._lines.text.count(chr(10), 0, span.start) + 1}"

    # Writing

    def _scalar(self, value: Any, over: str) -> str:
        """A scalar in the quotes of the one that stands there."""
        return scalar(value, '"' if self._lines.is_json else over[:1])

    def _inline(self, value: Any) -> str:
        return as_json(None, value, "", "") if self._lines.is_json else as_flow(value)

    def _add_to_end(self, path: Path, value: Any) -> None:
        """Into a file that says nothing."""
        for key in reversed(path[1:]):
            value = {key: value}
        if self._lines.is_json:
            self._lines.take(as_json(None, {path[0]: value}, "  ", "") + "\n")
            return
        self._lines.insert(len(self._lines.text), as_block(str(path[0]), value, ""))


def _hold_anchors(root: Span | None, text: str, start: int, end: int) -> None:
    """Refuse to take away what others refer to."""
    inside: set[str] = set()
    for span in root.walk() if root is not None else ():
        within = start <= span.start and span.end <= end
        if span.kind == "alias":
            if not within and span.anchor in inside:
                line = text.count("\n", 0, span.start) + 1
                raise UneditableError(
                    f"line {line} refers to its anchor &{span.anchor}; give that a value of its own first"
                )
        elif span.anchor:
            (inside.add if within else inside.discard)(span.anchor)
