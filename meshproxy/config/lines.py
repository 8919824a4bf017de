"""`Lines`: the text of a config file while it is changed, and where in it lines, indents, commas and comments are. Pure."""

from meshproxy.config.spans import Span, blanked

__all__ = ["Lines"]


class Lines:
    """A text, and what an edit has to know of its form. Positions are indices into `text`.

    Attributes:
        text: it.
        code: the same with blanks for the comments of JSON.
        newline: how its lines end.
    """

    def __init__(self, text: str, *, is_json: bool) -> None:
        self.is_json = is_json
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.take(text)

    def take(self, text: str) -> None:
        """Have this text."""
        self.text = text
        self.code = blanked(text, is_json=self.is_json)

    def line(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def next_line(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end + 1

    def rest(self, at: int) -> str:
        """What follows on the line, comments aside."""
        rest = self.code[at : self.next_line(at)].strip()
        return "" if rest.startswith("#") and not self.is_json else rest

    def indent(self, at: int) -> str:
        line = self.text[self.line(at) : at]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def dash(self, at: int) -> int:
        """Where the dash stands that introduces an item."""
        return self.text.rindex("-", 0, at)

    def comma(self, at: int) -> int | None:
        """Where the comma stands that follows, with nothing but blanks and comments before it."""
        while at < len(self.code):
            character = self.code[at]
            if character == ",":
                return at
            if character == "#" and not self.is_json:
                at = self.next_line(at)
            elif character.isspace():
                at += 1
            else:
                return None
        return None

    def end_of_entry(self, end: int, column: int) -> int:
        """Where the lines of an entry end: those of its value, and the comments behind it that are indented deeper than its key."""
        stop = at = self.next_line(end)
        while at < len(self.text):
            line = self.text[at : self.next_line(at)]
            content = line.lstrip(" ")
            if content.startswith("#") and len(line) - len(content) > column:
                stop = at + len(line)
            elif content.strip():
                break
            at += len(line)
        return stop

    def step(self, span: Span, column: int) -> str:
        """By how much the entries of a mapping indent theirs."""
        for _, value in span.entries:
            if value.kind == "mapping" and not value.flow and value.entries:
                first = value.entries[0][0].start
                return " " * max(1, first - self.line(first) - column)
        return "  "

    def json_step(self) -> str:
        lines = self.text.splitlines()
        step = next((line[: len(line) - len(line.lstrip(" \t"))] for line in lines if line[:1] in (" ", "\t")), "  ")
        return "\t" if step.startswith("\t") else step[:8]

    def splice(self, start: int, end: int, new: str) -> None:
        self.text = self.text[:start] + new + self.text[end:]
        if len(new) != end - start or self.code is not self.text:
            self.code = blanked(self.text, is_json=self.is_json)

    def insert(self, at: int, lines: list[str]) -> None:
        if at and self.text[at - 1] != "\n":
            self.text += self.newline
            at = len(self.text)
        self.splice(at, at, "".join(line + self.newline for line in lines))
