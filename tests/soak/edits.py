"""Random edits of a config file: valid ones from one document to the next, and every way of breaking it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.soak.documents import Components, Document, Upstream

NAMES = ("amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath")
"""Of the upstreams that edits touch."""
SEPARATORS = ("_", "__", "-", ".")


@dataclass(frozen=True)
class Broken:
    """A text that must be refused.

    Attributes:
        what: how it is broken.
        data: the file's content; None if there is no file.
        lines: the first and last line of which one must be named; None if no line is to blame.
        says: words of the message.
    """

    what: str
    data: bytes | None
    lines: tuple[int, int] | None
    says: str


class Editor:
    """Makes edits. `webs` are HTTP servers that upstreams may be connected to: where they are and what they offer."""

    def __init__(self, rng: random.Random, webs: list[tuple[str, Components]]) -> None:
        self.rng = rng
        self.webs = webs
        self._serial = 1000

    def valid(self, document: Document, *, faults: bool = True) -> tuple[str, Document]:
        """What is edited, and the outcome. `faults`: also upstreams that do not start."""
        while True:
            ways = [
                *[self.add] * 5,
                *[self.add_web] * 2,
                *[self.remove] * 5,
                *[self.change_offer] * 6,
                *[self.change_environment] * 3,
                *[self.change_namespace] * 3,
                *[self.change_filter] * 4,
                *[self.change_settings] * 3,
                *[self.switch] * 3,
                *[self.rename] * 2,
                *[self.reorder] * 2,
                *[self.instruct] * 2,
                *[self.comment] * 2,
                *([self.add_faulty, self.break_command] * 3 if faults else []),
                *[self.mend] * (8 if faults else 0),
                *([self.change_separator] if self.rng.random() < 0.4 else []),
            ]
            way = self.rng.choice(ways)
            edited = way(document)
            if edited is not None:
                return way.__name__, edited

    def broken(self, document: Document) -> Broken:
        way: Callable[[Document], Broken | None] = self.rng.choice(self.breakages)
        while (found := way(document)) is None:
            way = self.rng.choice(self.breakages)
        return found

    # Valid ones

    def add(self, document: Document) -> Document | None:
        name = self._free(document)
        return document.put(self._fresh(name)) if name else None

    def add_web(self, document: Document) -> Document | None:
        name = self._free(document)
        return document.put(self._at_web(name)) if name else None

    def add_faulty(self, document: Document) -> Document | None:
        name = self._free(document)
        if not name or any(one.fault for one in document.upstreams):
            return None
        return document.put(replace(self._fresh(name), fault=self._fault()))

    def break_command(self, document: Document) -> Document | None:
        one = self._any(document)
        if one is None or one.web or any(other.fault for other in document.upstreams):
            return None
        return document.put(replace(one, fault=self._fault(), enabled=True))

    def mend(self, document: Document) -> Document | None:
        faulty = [one for one in document.upstreams if one.fault]
        return document.put(replace(self.rng.choice(faulty), fault="")) if faulty else None

    def remove(self, document: Document) -> Document | None:
        one = self._any(document)
        return document.drop(one.name) if one else None

    def change_offer(self, document: Document) -> Document | None:
        one = self._any(document)
        if one is None:
            return None
        made = self._at_web(one.name) if one.web else self._fresh(one.name)
        return document.put(replace(made, namespace=one.namespace, fault=one.fault))

    def change_environment(self, document: Document) -> Document | None:
        one = self._any(document)
        return document.put(replace(one, env=str(self._number()))) if one and not one.web else None

    def change_namespace(self, document: Document) -> Document | None:
        one = self._any(document)
        return document.put(replace(one, namespace=self._namespace(one))) if one else None

    def change_filter(self, document: Document) -> Document | None:
        one = self._any(document)
        if one is None:
            return None
        names = [name for name, _ in one.offers["tools"]]
        exclude = tuple(name for name in names if self.rng.random() < 0.3)
        rename = tuple((name, f"renamed_{name}") for name in names if self.rng.random() < 0.3)
        return document.put(replace(one, exclude=exclude, rename=rename))

    def change_settings(self, document: Document) -> Document | None:
        one = self._any(document)
        if one is None:
            return None
        key, values = self.rng.choice(
            [
                ("call", ("1m", "5m", "90s")),
                ("session", ("auto", "shared", "isolated")),
                ("when_down", ("keep", "hide")),
            ]
        )
        return document.put(replace(one, **{key: self.rng.choice(values)}))

    def switch(self, document: Document) -> Document | None:
        one = self._any(document)
        return document.put(replace(one, enabled=not one.enabled)) if one else None

    def rename(self, document: Document) -> Document | None:
        one, name = self._any(document), self._free(document)
        if one is None or name is None:
            return None
        renamed = replace(one, name=name)
        return replace(document, upstreams=tuple(renamed if other is one else other for other in document.upstreams))

    def reorder(self, document: Document) -> Document | None:
        order = list(document.upstreams)
        self.rng.shuffle(order)
        return replace(document, upstreams=tuple(order))

    def instruct(self, document: Document) -> Document | None:
        return replace(document, instructions=f"Advice {self._number()}.")

    def comment(self, document: Document) -> Document | None:
        return replace(document, comment=f"remark {self._number()}")

    def change_separator(self, document: Document) -> Document | None:
        return replace(document, separator=self.rng.choice([one for one in SEPARATORS if one != document.separator]))

    # Broken ones: each from a valid document, so that one thing is wrong

    @property
    def breakages(self) -> tuple[Callable[[Document], Broken | None], ...]:
        return (
            self.tab,
            self.open_bracket,
            self.unknown_key,
            self.unknown_section,
            self.missing_variable,
            self.repeated_upstream,
            self.repeated_key,
            self.wrong_type,
            self.two_ways_in,
            self.same_names,
            self.same_renames,
            self.required_fails,
            self.changed_required_fails,
            self.not_text,
            self.empty,
            self.list_at_the_top,
            self.gone,
        )

    def tab(self, document: Document) -> Broken:
        lines, places = document.lines()
        at = self._place(places, 2)
        return _with_line(lines, at, "\tkey: 1", "a tab", "tab")

    def open_bracket(self, document: Document) -> Broken:
        lines, _ = document.lines()
        lines.append("  open: {command: [a, b")
        return Broken("an open bracket", _joined(lines), (len(lines), len(lines) + 2), "")

    def unknown_key(self, document: Document) -> Broken:
        lines, places = document.lines()
        return _with_line(lines, self._place(places, 1), "    comand: python", "an unknown key", "command")

    def unknown_section(self, document: Document) -> Broken:
        lines, _ = document.lines()
        return _with_line(lines, 2, "sever: {port: 1}", "an unknown section", "server")

    def missing_variable(self, document: Document) -> Broken:
        lines, _ = document.lines()
        lines.append("  variable:")
        line = '    command: "${SOAK_IS_NOT_SET}"'
        return _with_line(lines, len(lines), line, "a missing variable", "SOAK_IS_NOT_SET")

    def repeated_upstream(self, document: Document) -> Broken:
        lines, places = document.lines()
        name = self.rng.choice([place[0] for place in places if len(place) == 1])
        return _with_line(lines, len(lines), f"  {name}: {{command: python}}", "a repeated upstream", name)

    def repeated_key(self, document: Document) -> Broken:
        lines, places = document.lines()
        place = self.rng.choice([place for place in places if len(place) == 2])
        return _with_line(lines, places[place], lines[places[place] - 1], "a repeated key", place[1])

    def wrong_type(self, document: Document) -> Broken:
        lines, places = document.lines()
        place = self.rng.choice([place for place in places if place[1:] == ("enabled",)])
        lines[places[place] - 1] = "    enabled: [1]"
        return Broken("a wrong type", _joined(lines), (places[place],) * 2, "enabled")

    def two_ways_in(self, document: Document) -> Broken:
        lines, _ = document.lines()
        lines.append("  both:")
        lines.append("    command: python")
        return _with_line(lines, len(lines), "    url: http://127.0.0.1:1/mcp", "two ways in", "url")

    def same_names(self, document: Document) -> Broken | None:
        """Two upstreams in one namespace with the same tools: known only when they are up."""
        ours = [one for one in document.upstreams if one.enabled and not one.fault and not one.web and one.counts[0]]
        ours = [one for one in ours if len(one.exclude) < one.counts[0]]
        if not ours:
            return None
        clash = replace(self.rng.choice(ours), name="clash", required=False)
        lines, places = document.put(clash).lines()
        # Where one of the names was given by a rename, that is what the error points at.
        last = max(line for place, line in places.items() if place[0] == "clash")
        return Broken("the same names", _joined(lines), (places["clash",], last), "clash")

    def same_renames(self, document: Document) -> Broken:
        first, second = self._fresh("first"), self._fresh("second")
        clashing = [
            replace(one, namespace="twice", rename=((one.offers["tools"][0][0], "one"),)) for one in (first, second)
        ]
        for one in clashing:
            document = document.put(one)
        lines, places = document.lines()
        return Broken("the same renames", _joined(lines), (places["second", "tools"],) * 2, "twice")

    def required_fails(self, document: Document) -> Broken:
        needed = replace(self._fresh("needed"), fault=self.rng.choice(["missing", "dies"]), required=True)
        lines, places = document.put(needed).lines()
        return Broken("a required upstream that fails", _joined(lines), (places["needed",],) * 2, "needed")

    def changed_required_fails(self, document: Document) -> Broken | None:
        one = self._any(document)
        if one is None or one.web or one.fault or not one.enabled:
            return None
        lines, places = document.put(replace(one, fault="missing", required=True)).lines()
        return Broken("a required upstream that fails now", _joined(lines), (places[one.name,],) * 2, one.name)

    def not_text(self, document: Document) -> Broken:
        lines, _ = document.lines()
        data = _joined(lines).replace(b"instructions:", b"# \xff\ninstructions:")
        return Broken("not UTF-8", data, (3, 3), "UTF-8")

    def empty(self, document: Document) -> Broken:
        return Broken("empty", b"", None, "empty")

    def list_at_the_top(self, document: Document) -> Broken:
        return Broken("a list at the top", b"- upstreams\n", (1, 1), "list")

    def gone(self, document: Document) -> Broken:
        return Broken("no file", None, None, "does not exist")

    # Parts

    def _free(self, document: Document) -> str | None:
        taken = {one.name for one in document.upstreams}
        free = [name for name in NAMES if name not in taken]
        return self.rng.choice(free) if len(free) > 2 else None

    def _any(self, document: Document) -> Upstream | None:
        ours = [one for one in document.upstreams if one.name in NAMES]
        return self.rng.choice(ours) if ours else None

    def _number(self) -> int:
        self._serial += 1
        return self._serial

    def _fresh(self, name: str) -> Upstream:
        counts = (self.rng.randint(1, 3), *(self.rng.choice((0, 0, 1, 2)) for _ in range(3)))
        made = Upstream(name, self._number(), counts, era=self.rng.choice(("legacy", "modern")))
        return replace(made, namespace=self._namespace(made))

    def _at_web(self, name: str) -> Upstream:
        made = Upstream(name, self._number(), web=self.rng.choice(self.webs))
        return replace(made, namespace=self._namespace(made))

    def _namespace(self, one: Upstream) -> str:
        # Those over HTTP offer the same names.
        fresh = f"ns{self._number()}"
        return self.rng.choice((fresh, fresh, "")) if not one.web else fresh

    def _fault(self) -> str:
        return self.rng.choice(("missing", "missing", "missing", "dies", "dies", "silent"))

    def _place(self, places: dict[tuple[str, ...], int], depth: int) -> int:
        return self.rng.choice([line for place, line in places.items() if len(place) == depth])


def _joined(lines: list[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _with_line(lines: list[str], after: int, line: str, what: str, says: str) -> Broken:
    """Broken by one more line behind line `after`."""
    return Broken(what, _joined([*lines[:after], line, *lines[after:]]), (after + 1, after + 1), says)
