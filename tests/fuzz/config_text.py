"""The text of a config file: it is a config, or every problem has its place; nothing else, nothing that takes long, and both parsers say so."""

import tempfile
from pathlib import Path
from typing import Any, Self

import yaml
from hypothesis import strategies as st
from meshproxy.config import nodes
from meshproxy.config.load import load
from meshproxy.errors import ConfigError, Problem
from tests.fuzz.mutation import mutated

_SCALAR = st.sampled_from(
    [
        "1",
        "x",
        "true",
        "null",
        "10s",
        "4MiB",
        "[]",
        "{}",
        "~",
        "!!python/object:x y",
        "&a x",
        "*a",
        '"\\u0000"',
        "${HOME}",
        "${NOPE}",
        "${file:/x}",
        "0x1f",
        "1e999",
        "2001-01-01",
        "<<",
        "http://u:p@h/x",
    ]
)
_KEY = st.sampled_from(
    [
        "name",
        "server",
        "port",
        "host",
        "upstreams",
        "a",
        "url",
        "command",
        "args",
        "env",
        "timeouts",
        "tools",
        "include",
        "rename",
        "defaults",
        "reload",
        "limits",
        "access",
        "profiles",
        "mcpServers",
        "<<",
        "1",
        "session",
    ]
)


def _mapping(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.builds("{}: {}".format, _KEY, inner)
    return st.lists(pair, max_size=4).map(lambda pairs: "{" + ", ".join(pairs) + "}")


_TEXT = st.recursive(
    _SCALAR,
    lambda inner: st.one_of(
        _mapping(inner), st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
    ),
    max_leaves=12,
)


NOTHING_SAID = Problem("", None, None, "", "refused without a word")


class Target:
    """`load` gives a config or raises `ConfigError`, whose problems are of this file and show no value of the environment."""

    examples = 60

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def strategy(self) -> st.SearchStrategy[Any]:
        generated = _mapping(_TEXT).map(str.encode)
        return st.tuples(mutated("config-text", generated), st.sampled_from(["mesh.yaml", "mesh.json"]))

    def check(self, example: tuple[bytes, str]) -> None:
        text, name = example
        file = Path(self._folder.name) / name
        file.write_bytes(text)
        problems: tuple[Problem, ...] = ()
        try:
            load(file, {"HOME": "a-secret-value"})
        except ConfigError as error:
            problems = error.problems or (NOTHING_SAID,)
        assert all(problem.file for problem in problems), problems
        assert "Traceback" not in "".join(map(str, problems))
        readers_agree(text.decode("utf-8", "replace"))


def readers_agree(text: str) -> bool:
    """Whether both parsers were asked. What libyaml's is believed about the other one says, too, places included."""
    swift = nodes.compose_with_libyaml(text)
    if swift is not None:
        assert _told(swift) == _told(nodes.compose_in_python(text)), text
    return swift is not None


def _told(root: yaml.Node) -> list[Any]:
    """A graph in the order of its text, with all that is made of it."""
    told: list[Any] = []
    numbers: dict[int, int] = {}
    todo = [root]
    while todo:
        node = todo.pop()
        if id(node) in numbers:
            told.append(numbers[id(node)])
            continue
        numbers[id(node)] = len(numbers)
        is_scalar = isinstance(node, yaml.ScalarNode)
        written = (node.value, node.style or "") if is_scalar else (len(node.value), bool(node.flow_style))
        told.append((node.tag, *written, node.start_mark.line, node.start_mark.column))
        if not is_scalar:
            todo += [one for child in node.value for one in (child if isinstance(child, tuple) else (child,))]
    return told
