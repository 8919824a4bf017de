"""`meshproxy plan`: what a reload would do, and the statuses that scripts go by."""

import hashlib
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


def test_a_mesh_that_runs_is_compared_with_as_its_file_is(meshproxy: Run, config: Run, serving: Any) -> None:
    old = config(a=light("--tools", "one,two"), b=light(env={"TOKEN": "hunter22-hunter22"}), c=light(), name="old.yaml")
    mesh = serving(old)
    mesh.await_settled()
    # What the command line has overridden is not the file's, and no difference.
    same = meshproxy("plan", old, "--against", mesh.url)
    assert (same.returncode, same.stdout, same.stderr) == (0, "kept: a, b, c\nnothing would change\n", "")
    new = config(
        a=light("--tools", "one,two", tools={"rename": {"two": "three"}}),
        b=light(env={"TOKEN": "hunter33-hunter33"}),
        d=light(),
        name="new.yaml",
        state="none",
    )
    ended = meshproxy("plan", new, "--against", mesh.url, "--json")
    assert (ended.returncode, ended.stderr) == (10, "")
    found = json.loads(ended.stdout)
    assert (found["keep"], found["start"], found["change"], found["retire"]) == (["a"], ["d"], ["b"], ["c"])
    assert (found["show"], found["restart_required"]) == (["a"], ["state"])
    names = found["names"]
    # What is kept is known from the mesh, although nothing is remembered here.
    assert names["appear"] == [{"kind": "tool", "name": "a_three"}]
    assert {one["name"] for one in names["vanish"]} == {"a_two", "b_echo", "c_echo"}
    assert names["unknown"] == ["b", "d"]
    broken = config("upstreams: {a: {}}\n", name="broken.yaml")
    assert meshproxy("plan", broken, "--against", mesh.url).returncode == 2


def test_a_mesh_with_keys_is_asked_with_one_that_may_act(meshproxy: Run, config: Run, serving: Any) -> None:
    keys = [
        {
            "name": right,
            "hash": "sha256:" + hashlib.sha256(f"mesh_{right}-0123456789".encode()).hexdigest(),
            "rights": [right],
        }
        for right in ("view", "admin")
    ]
    file = config(a=light(), server={"auth": {"keys": keys}})
    mesh = serving(file)
    assert meshproxy("plan", file, "--against", mesh.url).returncode == 1
    for right, status in (("view", 1), ("admin", 0)):
        header = f"Authorization: Bearer mesh_{right}-0123456789"
        ended = meshproxy("plan", file, "--against", mesh.url, "--header", header)
        assert ended.returncode == status, ended.stderr
        assert "0123456789" not in ended.stdout + ended.stderr
    nobody = meshproxy("plan", file, "--against", "http://127.0.0.1:9")
    assert (nobody.returncode, nobody.stderr.startswith("error: no mesh answers")) == (1, True)
    assert meshproxy("plan", file, "--header", "A: b").returncode == 2
