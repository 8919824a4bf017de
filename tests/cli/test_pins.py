"""`meshproxy pins`: what it prints, what it pins, and its exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit.light import light

Run = Callable[..., Any]


def test_pins_are_verified_shown_and_approved(meshproxy: Run, config: Run, tmp_path: Path) -> None:
    file = config(a=light("--tools", "echo,other", "--label", "one", pin="block"), b=light())
    lock = tmp_path / "mesh.lock"
    fresh = meshproxy("pins", "verify", file)
    assert (fresh.returncode, fresh.stderr) == (1, "")
    assert fresh.stdout.splitlines() == ["tool echo of a is not pinned yet", "tool other of a is not pinned yet"]
    assert not lock.exists()
    approved = meshproxy("pins", "approve", file)
    assert approved.returncode == 0
    assert "2 changes approved" in approved.stderr
    pinned = lock.read_bytes()
    ok = meshproxy("pins", "verify", file)
    assert (ok.returncode, ok.stdout) == (0, "")
    assert "ok: 2 components" in ok.stderr
    assert meshproxy("pins", "list", file).stdout.startswith("tool echo of a: sha256:")
    listed = json.loads(meshproxy("pins", "list", "a_other", file, "--json").stdout)
    assert [(one["upstream"], one["name"], one["public"]) for one in listed] == [("a", "other", "a_other")]

    config(a=light("--tools", "echo,more", "--label", "two", pin="block"), b=light())
    for command, status in (("diff", 0), ("verify", 1)):
        shown = meshproxy("pins", command, file)
        assert shown.returncode == status
        assert shown.stdout.splitlines() == [
            "tool echo of a changed",
            "  description:",
            "    - one",
            "    + two",
            "tool more of a is not pinned yet",
            "tool other of a is pinned, and not listed any more",
        ]
    assert lock.read_bytes() == pinned
    # What is not approved is not offered by other commands either.
    assert meshproxy("list", file, "tools").stdout.split() == ["2", "tools", "a_more", "two", "b_echo"]
    found = json.loads(meshproxy("pins", "diff", "a_echo", "mesh.yaml", "--json", cwd=tmp_path).stdout)
    assert [(one["name"], one["standing"], one["diff"]) for one in found] == [
        ("echo", "changed", ["description:", "  - one", "  + two"])
    ]
    # One at a time, and the config is mesh.yaml if none is named.
    assert meshproxy("pins", "approve", "a_echo", cwd=tmp_path).returncode == 0
    left = meshproxy("pins", "verify", "a", cwd=tmp_path)
    assert (left.returncode, left.stdout.count("\n")) == (1, 2)
    assert meshproxy("pins", "approve", cwd=tmp_path).returncode == 0
    assert meshproxy("pins", "verify", cwd=tmp_path).returncode == 0
    assert list(json.loads(lock.read_text())["upstreams"]["a"]["tools"]) == ["echo", "more"]


def test_instructions_are_shown_and_approved_by_a_name_of_their_own(
    meshproxy: Run, config: Run, tmp_path: Path
) -> None:
    file = config(a=light("--instructions", "Be kind.", "--label", "one", pin="block"))
    assert meshproxy("pins", "approve", file).returncode == 0
    config(a=light("--instructions", "Be quick.", "--label", "two", pin="block"))
    shown = meshproxy("pins", "diff", "a:instructions", file)
    assert shown.stdout.splitlines() == [
        "server instructions of a changed",
        "  text:",
        "    - Be kind.",
        "    + Be quick.",
    ]
    assert meshproxy("pins", "approve", "a:instructions", file).returncode == 0
    left = meshproxy("pins", "verify", file)
    assert (left.returncode, left.stdout.splitlines()[0]) == (1, "tool echo of a changed")
    assert "server instructions of a: sha256:" in meshproxy("pins", "list", file).stdout


def test_what_cannot_be_compared_is_said_and_keeps_its_pins(meshproxy: Run, config: Run, tmp_path: Path) -> None:
    file = config(a=light(pin="warn"), b=light("--label", "one", pin="warn"))
    assert meshproxy("pins", "approve", file).returncode == 0
    before = json.loads((tmp_path / "mesh.lock").read_text())["upstreams"]["a"]
    config(a=light("--dies", "no disk", pin="warn"), b=light("--label", "two", pin="warn"))
    for command in ("verify", "approve"):
        said = meshproxy("pins", command, file)
        assert said.returncode == 1
        assert "warning: a is down: " in said.stderr
        assert "it is not compared" in said.stderr
    assert json.loads((tmp_path / "mesh.lock").read_text())["upstreams"]["a"] == before
    assert meshproxy("pins", "verify", "b", file).returncode == 0


def test_a_wrong_name_file_or_lock_is_an_error(meshproxy: Run, config: Run, tmp_path: Path) -> None:
    file = config(a=light(pin="warn"))
    for arguments, message in (
        (("verify", "nobody", file), "there is no upstream and no component 'nobody'"),
        (("list", "nobody", file), "there is no upstream and no component 'nobody'"),
        (("verify", tmp_path / "none.yaml"), "does not exist"),
    ):
        said = meshproxy("pins", *arguments)
        assert (said.returncode, message in said.stderr) == (2, True), said.stderr
    assert "nothing is pinned" in meshproxy("pins", "list", file).stderr
    (tmp_path / "mesh.lock").write_text("{")
    for command in ("pins", "list"):
        said = meshproxy(*((command, "verify") if command == "pins" else (command,)), file)
        assert said.returncode == 2
        assert "mesh.lock:1:2: is no JSON" in said.stderr
    (tmp_path / "mesh.lock").unlink()
    unpinned = meshproxy("pins", "verify", config(a=light()))
    assert (unpinned.returncode, "no upstream is pinned" in unpinned.stderr) == (2, True)
