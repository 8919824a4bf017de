"""What grows in a listing because it came through this mesh, and what only looks like it."""

from typing import Any

import pytest
from meshproxy.catalog.catalog import Catalog, Mount
from meshproxy.errors import UpstreamUnavailable
from meshproxy.kinds import Kind
from meshproxy.links.trail import check_growth

SHOWN = Mount("loop", "loop").public_of


def tools(*names: str, **said: Any) -> Catalog:
    return Catalog({Kind.TOOL: tuple({"name": name, "inputSchema": {}, **said} for name in names)})


@pytest.mark.parametrize("image", ["loop_echo", "theirs_loop_echo"])
def test_what_this_mesh_has_made_of_what_was_there_is_found(image: str) -> None:
    with pytest.raises(UpstreamUnavailable, match=f"{image} is what this mesh calls its echo") as refused:
        check_growth("up", tools("echo", "drop"), tools("echo", "drop", image), SHOWN)
    assert refused.value.is_lasting


def test_resources_are_found_by_their_uris() -> None:
    before = ({"uri": "a://b", "name": "b"},)
    image = {"uri": SHOWN(Kind.RESOURCE, "a://b"), "name": "another", "_meta": {"x": 1}}
    with pytest.raises(UpstreamUnavailable, match="lists this mesh itself"):
        check_growth("up", Catalog({Kind.RESOURCE: before}), Catalog({Kind.RESOURCE: (*before, image)}), SHOWN)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (tools(), tools("echo", "loop_echo")),
        (tools("echo", "loop_echo"), tools("echo", "loop_echo", "drop")),
        (
            tools("echo"),
            Catalog({Kind.TOOL: (*tools("echo")[Kind.TOOL], *tools("loop_echo", title="x", a=1)[Kind.TOOL])}),
        ),
        (tools("echo"), tools("echo", "other_echo")),
    ],
    ids=["all at once", "from the beginning", "said differently", "of another namespace"],
)
def test_what_only_looks_like_it_is_taken(before: Catalog, now: Catalog) -> None:
    check_growth("up", before, now, SHOWN)


def test_without_a_namespace_nothing_grows() -> None:
    check_growth("up", tools("echo"), tools("echo", "an_echo"), Mount("loop").public_of)
