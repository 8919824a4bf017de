"""Imports go down only and in no circle, and the pure rooms do no I/O: the table is `[tool.rooms]` in pyproject.toml."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["rooms"]
MODULES = sorted((ROOT / "meshproxy").rglob("*.py"))
# Modules through which Python waits, talks to the outside or asks the machine for anything.
IMPURE = {
    *(
        "anyio",
        "asyncio",
        "concurrent",
        "multiprocessing",
        "queue",
        "sched",
        "select",
        "selectors",
        "signal",
        "threading",
    ),
    *("ftplib", "http.client", "http.server", "httptools", "httpx2", "socket", "socketserver", "ssl", "urllib.request"),
    *("fileinput", "glob", "io", "mcp", "os", "pathlib", "pty", "shutil", "subprocess", "tempfile"),
    *("logging", "structlog", "random", "secrets", "time", "uvicorn", "uvloop", "watchfiles"),
}


def room(module: Path) -> str:
    """`meshproxy/links/link.py` is in `links`; the package's own `__init__` is in none and may import all."""
    return module.relative_to(ROOT / "meshproxy").parts[0].removesuffix(".py")


def imports(module: Path, *, at_once: bool = False) -> Iterator[str]:
    """The full names that a module imports: `from meshproxy import wire` gives `meshproxy.wire`.

    With `at_once`, only what is imported when the module is; else what its functions import as well.
    """
    tree = ast.parse(module.read_text())
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide the room that they come from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(ROOT).as_posix())
def test_a_module_imports_only_from_its_own_room_and_the_rooms_below_it(module: Path) -> None:
    own, order = room(module), ROOMS["order"]
    if own in {"__init__", "__main__", "samples"}:
        # The face of the package shows what the rooms hold; the sample servers are programs of their own.
        allowed = set() if own == "samples" else {*order} - {"cli"} if own == "__init__" else {"cli"}
    else:
        assert own in order, f"{own} is no room of [tool.rooms]"
        allowed = {*order[: order.index(own)]}
    used = {name.split(".")[1] for name in imports(module) if name.startswith("meshproxy.")}
    if own == "cli":
        allowed |= {"samples"}
    assert used - {own, "__version__"} <= allowed


def module_of(file: Path) -> str:
    """`meshproxy/links/link.py` is `meshproxy.links.link`, and a package's `__init__.py` is the package."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that can be reached from each other (strongly connected components, by Tarjan), and no single ones."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        path.append(node)
        for other in edges[node]:
            if other not in number:
                visit(other)
            if other in path:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == number[node]:
            group = path[path.index(node) :]
            del path[path.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in number:
            visit(node)
    return found


def test_no_file_imports_another_that_imports_it() -> None:
    """Nor by way of others, be it within a function or for its types alone: two files that need each other are one idea."""
    files = {module_of(file): file for file in MODULES}
    edges = {name: set() for name in files}
    for name, file in files.items():
        for imported in imports(file):
            # A name of a module, or a module of a package.
            target = imported if imported in files else imported.rpartition(".")[0]
            if target in files and target != name:
                edges[name].add(target)
    assert sum(map(len, edges.values())) > len(files)
    assert circles(edges) == []


def test_a_circle_is_found_wherever_it_is_entered() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": {"e"}, "e": {"c"}}) == [["c", "d", "e"]]
    assert circles({"a": {"b"}, "b": set(), "c": {"a"}}) == []


@pytest.mark.parametrize("pure", ROOMS["pure"])
def test_a_pure_room_imports_nothing_that_does_io(pure: str) -> None:
    inside = [
        m for m in MODULES if f"{m.relative_to(ROOT / 'meshproxy').with_suffix('').as_posix()}/".startswith(f"{pure}/")
    ]
    assert inside, f"{pure} holds no module"
    for module in inside:
        touched = {name for name in imports(module) if any(f"{name}.".startswith(f"{bad}.") for bad in IMPURE)}
        assert not touched, f"{module.relative_to(ROOT)} is pure and imports {', '.join(sorted(touched))}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.relative_to(ROOT).as_posix())
def test_nothing_but_the_samples_imports_the_sdk_before_it_is_needed(module: Path) -> None:
    """The SDK costs a second and 35 MB to import, which a mesh of commands and URLs never needs."""
    if room(module) != "samples":
        assert not {name for name in imports(module, at_once=True) if name.split(".")[0] in {"mcp", "mcp_types"}}


def test_files_and_classes_are_small_enough_to_be_read_at_once() -> None:
    files = {module: len(module.read_text().splitlines()) for module in MODULES}
    assert {module.name: lines for module, lines in files.items() if lines > 450} == {}
    classes = {
        f"{module.name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: lines for name, lines in classes.items() if lines > 300} == {}
    assert sum(lines for module, lines in files.items() if room(module) == "upstream") < 3000
