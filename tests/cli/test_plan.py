"""`meshproxy plan`: what a reload would do, and the statuses that scripts go by."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit.light import light

Run = Callable[..., Any]


def test_the_plan_says_what_is_kept_started_changed_and_retired(meshproxy: Run, config: Run) -> None:
    old = config(a=light(), b=light(), c=light(), d=light(), name="old.yaml", state="none")
    new = config(
        a=light(),
        b={**light(), "env": {"X": "1"}},
        d={**light(), "namespace": "dd"},
        e=light(),
        name="new.yaml",
        state="none",
    )
    same = meshproxy("plan", old, "--against", old)
    assert (same.returncode, same.stdout) == (0, "kept: a, b, c, d\nnothing would change\n")
    ended = meshproxy("plan", new, "--against", old, "--json")
    assert ended.returncode == 10, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["keep"], found["start"], found["change"], found["retire"]) == (["a", "d"], ["e"], ["b"], ["c"])
    assert found["show"] == ["d"]
    assert meshproxy("plan", new).returncode == 10
    assert "started: e" in meshproxy("plan", new, "--against", old).stdout


def test_a_section_that_differs_is_said_with_when_it_is_in_force(meshproxy: Run, config: Run) -> None:
    old = config(a=light(), name="old.yaml", server={"port": 8000})
    new = config(a=light(), name="new.yaml", server={"port": 8001})
    ended = meshproxy("plan", new, "--against", old)
    assert ended.returncode == 10
    assert "in force at the next start: server" in ended.stdout


def test_names_are_known_where_the_mesh_remembers_them(
    meshproxy: Run, config: Run, serving: Any, tmp_path: Path
) -> None:
    file = config(a=light(), state=str(tmp_path / "state"))
    with_mesh = serving(file, "--port", "0")
    with_mesh.await_event("upstream.up")
    with_mesh.process.terminate()
    with_mesh.process.wait()
    renamed = config(a={**light(), "namespace": "z"}, name="new.yaml", state=str(tmp_path / "state"))
    found = json.loads(meshproxy("plan", renamed, "--against", file, "--json").stdout)
    names = found["names"]
    assert names["unknown"] == []
    assert {one["name"][:2] for one in names["appear"]} == {"z_"}
    assert {one["name"][:2] for one in names["vanish"]} == {"a_"}


def test_what_could_not_be_served_is_no_plan(meshproxy: Run, config: Run) -> None:
    ended = meshproxy("plan", config("upstreams: {a: {}}\n"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "needs command" in ended.stderr
