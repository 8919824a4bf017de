"""`Draft`: the text of a config file, changed where it is meant to be and nowhere else. Pure.

Every line that is not changed stays as it is, to the byte: comments, order, quotes, anchors, line ends and indentation. What a change comes to is then
read again, and compared with what it ought to be; an edit that would say anything else too is refused. Paths are of what stands in the text: what an
alias or a merge brings from elsewhere is refused, too, with the place where it stands.
"""

from collections.abc import Callable
from typing import Any

from meshproxy.config.document import Item, Path, parse
from meshproxy.config.lines import Lines
from meshproxy.config.surgery import Surgery, UneditableError

__all__ = ["Draft", "UneditableError", "plain"]


class _SaysMoreError(UneditableError):
    """A change that would change something else, too."""


class Draft:
    """A text on its way to another one.

    Attributes:
        text: it.
        tree: what it says, without places.
        is_json: whether it is JSON, with comments.

    Raises:
        UneditableError: by each of its methods; the text is then as it was.
    """

    def __init__(self, text: str, *, is_json: bool = False) -> None:
        self.is_json = is_json
        self.text = text
        self.tree = self._read(text)

    def _read(self, text: str) -> Any:
        item, flaws = parse(text, is_json=self.is_json)
        if flaws:
            flaw = flaws[0]
            raise UneditableError(f"line {flaw.line}, column {flaw.column}: {flaw.message}")
        return plain(item)

    def has(self, *path: str | int) -> bool:
        """Whether the file says anything there, be it by a merge or an alias."""
        value = self.tree
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return False
        return True

    def put(self, path: Path, value: Any) -> None:
        """Have `value` at `path`. Mappings on the way are made; a scalar that is there is replaced, and nothing larger is."""

        def meant(tree: Any) -> None:
            _put(tree, path, value)

        try:
            self._change(lambda surgery: surgery.put(path, value), meant)
        except _SaysMoreError:
            self._change(lambda surgery: surgery.put_apart(path, value), meant)

    def append(self, path: Path, value: Any) -> None:
        """Put `value` at the end of the list at `path`."""
        self._change(lambda surgery: surgery.append(path, value), lambda tree: _append(tree, path, value))

    def remove(self, path: Path) -> None:
        """Take out a key with its value, or an item of a list. Comments go with it that are indented below it."""
        self._change(lambda surgery: surgery.remove(path), lambda tree: _remove(tree, path))

    def rename(self, path: Path, name: str) -> None:
        """Give a key another name, in its quotes."""
        self._change(lambda surgery: surgery.rename(path, name), lambda tree: _rename(tree, path, name))

    def _change(self, change: Callable[[Surgery], None], meant: Callable[[Any], None]) -> None:
        """Change the text, and see that what it says then is what is meant."""
        expected = self._read(self.text)
        expected = {} if expected is None else expected
        meant(expected)
        lines = Lines(self.text, is_json=self.is_json)
        change(Surgery(lines))
        try:
            tree = self._read(lines.text)
        except UneditableError:
            tree = None
        if not _same(tree, expected):
            raise _SaysMoreError("this cannot be changed without changing something else in the file; edit it by hand")
        self.text, self.tree = lines.text, tree


def plain(item: Item | None) -> Any:
    """The values of a tree, without their places."""
    if item is None:
        return None
    if isinstance(item.value, dict):
        return {key: plain(child) for key, child in item.value.items()}
    if isinstance(item.value, list):
        return [plain(child) for child in item.value]
    return item.value


def _at(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def _put(tree: Any, path: Path, value: Any) -> None:
    for step in path[:-1]:
        if isinstance(tree, dict) and tree.get(str(step)) is None:
            tree[step] = {}
        tree = tree[step]
    tree[path[-1]] = value


def _append(tree: Any, path: Path, value: Any) -> None:
    if _at(tree, path) is None:
        _at(tree, path[:-1])[path[-1]] = []
    _at(tree, path).append(value)


def _remove(tree: Any, path: Path) -> None:
    parent = _at(tree, path[:-1])
    del parent[path[-1]]


def _rename(tree: Any, path: Path, name: str) -> None:
    mapping = _at(tree, path[:-1])
    pairs = [(name if key == path[-1] else key, value) for key, value in mapping.items()]
    mapping.clear()
    mapping.update(pairs)


def _same(one: Any, other: Any) -> bool:
    """Whether two trees say the same, in the same order of keys."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other and type(one) is type(other)
