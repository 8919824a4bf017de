"""What may be compiled: the modules that pyproject.toml names keep clear of what the compiler gets wrong (docs/decisions/compiled.md)."""

import ast
import tomllib
from pathlib import Path

# Not used: the classes below the bases that there are.
import meshproxy.cli.caller
import meshproxy.eras.parked
import meshproxy.eras.required_task
import meshproxy.links.listen_stream
import meshproxy.links.memory
import meshproxy.links.replicas
import meshproxy.links.sse
import meshproxy.links.stdio
import meshproxy.links.streamable
import meshproxy.serving.channel
import meshproxy.serving.http  # noqa: F401
import pytest
from meshproxy.links import call
from meshproxy.links.link import Link
from meshproxy.relay.downstream import Downstream, RequestContext

ROOT = Path(__file__).parent.parent
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPILED = CONFIG["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]["include"]
REFUSED = {"cached_property", "dataclass", "Struct"}
"""What makes a class that is not as it is written: a property that is never cached, a default that stands before what has none, a struct
whose annotations nobody finds."""
WORDS = {
    f"_{word}"
    for word in [
        "alignof",
        "asm",
        "attribute",
        "complex",
        "const",
        "extension",
        "imag",
        "inline",
        "label",
        "real",
        "restrict",
        "signed",
        "thread",
        "typeof",
        "volatile",
    ]
}


@pytest.mark.parametrize("module", COMPILED)
def test_a_compiled_module_waits_for_nothing(module: str) -> None:
    # A cancellation that reaches a compiled coroutine while it awaits one that awaits once more before it ends is a crash.
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = [node.lineno for node in ast.walk(ast.parse((ROOT / module).read_text())) if isinstance(node, waits)]
    assert found == [], f"{module}, lines {found}: what waits belongs into a module that is not compiled"


@pytest.mark.parametrize("module", COMPILED)
def test_no_attribute_is_a_word_of_the_c_compilers(module: str) -> None:
    # In C it has one underscore more: `_signed` is a member `__signed` of a struct, which says a type.
    attributes = [
        node.attr for node in ast.walk(ast.parse((ROOT / module).read_text())) if isinstance(node, ast.Attribute)
    ]
    assert WORDS.isdisjoint(attributes), WORDS.intersection(attributes)


@pytest.mark.parametrize("module", COMPILED)
def test_a_compiled_module_makes_classes_as_they_are_written(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text())
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    names += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert REFUSED.isdisjoint(names), f"{module}: {REFUSED.intersection(names)}"


def test_nothing_that_is_not_compiled_derives_from_a_protocol_that_is() -> None:
    def classes(module: str) -> list[tuple[str, set[str]]]:
        tree = ast.parse((ROOT / module).read_text())
        found = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        return [(kind.name, {base.id for base in kind.bases if isinstance(base, ast.Name)}) for kind in found]

    protocols = {name for module in COMPILED for name, bases in classes(module) if "Protocol" in bases}
    others = {str(path.relative_to(ROOT)) for path in (ROOT / "meshproxy").rglob("*.py")} - set(COMPILED)
    assert [(module, name) for module in sorted(others) for name, bases in classes(module) if bases & protocols] == []


def test_what_is_named_is_there_and_in_order() -> None:
    assert sorted(COMPILED) == COMPILED
    assert [module for module in COMPILED if not (ROOT / module).is_file()] == []


def test_no_class_below_has_an_attribute_in_the_place_of_one_that_a_compiled_base_reads() -> None:
    for base in (call.Call, Link, Downstream, RequestContext):
        read = set(base.__annotations__) if base is Link else set(base.__slots__)
        below = list(base.__subclasses__())
        for kind in below:
            below += kind.__subclasses__()
            assert read.isdisjoint(kind.__dict__.get("__slots__", ())), kind
            if f"{kind.__module__.replace('.', '/')}.py" not in COMPILED:
                # A property, too, is another place.
                assert read.isdisjoint(kind.__dict__), kind
