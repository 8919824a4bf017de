"""`meshproxy key` and `meshproxy why`: what they print, and what they do to the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meshproxy.access.keys import hash_of
from meshproxy.config.load import load
from tests.kit.light import light
from tests.kit.waiting import wait_for

Run = Callable[..., Any]

WRITTEN = """\
# Ours.
upstreams:        # the servers
  "a": {command: python3, args: ['-c', "pass"]}   # quoted

server:
  # Where.
  port: 0
"""


def test_a_key_is_printed_once_and_its_hash_goes_into_the_file(meshproxy: Run, config: Run) -> None:
    file = config(WRITTEN)
    made = meshproxy("key", "new", "ci", file, "--expires", "90d", "--group", "bots", "--rights", "use,view")
    assert made.returncode == 0
    secret = made.stdout.strip()
    assert secret.startswith("mesh_")
    assert secret not in made.stderr
    (key,) = load(file).server.auth.keys
    assert (key.name, key.hash, key.groups, key.rights) == ("ci", hash_of(secret), ("bots",), ("use", "view"))
    assert key.expires
    # Every other line is as it was.
    text = file.read_text()
    assert text.startswith(WRITTEN)
    assert secret not in text
    again = meshproxy("key", "new", "ci", file)
    assert (again.returncode, again.stdout) == (2, "")
    assert "there is a key 'ci' already" in again.stderr
    assert file.read_text() == text
    assert meshproxy("key", "new", "ada", file, "--expires", "2027-06-30").returncode == 0
    listed = json.loads(meshproxy("key", "list", file, "--json").stdout)
    assert [(one["name"], one["expires"], one["expired"]) for one in listed][1:] == [
        ("ada", "2027-07-01T00:00:00Z", False)
    ]
    assert "ci: rights use, view; groups bots; expires" in meshproxy("key", "list", file).stdout
    for name in ("ci", "ada"):
        assert meshproxy("key", "revoke", name, file).returncode == 0
    assert load(file).server.auth.keys == ()
    assert file.read_text().startswith(WRITTEN)
    gone = meshproxy("key", "revoke", "ci", file)
    assert (gone.returncode, "there is no key 'ci'" in gone.stderr) == (2, True)
    assert "no keys" in meshproxy("key", "list", file).stderr


def test_without_a_file_the_line_for_it_is_printed(meshproxy: Run) -> None:
    made = meshproxy("key", "new", "ci", "--profile", "p")
    assert f'{{name: ci, hash: "{hash_of(made.stdout.strip())}", profiles: [p]}}' in made.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rights", "use,fly"), "--rights: fly"),
        (("--expires", "soon"), "expires: must be a day"),
        (("--profile", "p"), "there is no profile 'p'"),
    ],
)
def test_a_key_that_would_not_load_is_not_written(
    meshproxy: Run, config: Run, arguments: tuple[str, ...], message: str
) -> None:
    file = config(WRITTEN)
    made = meshproxy("key", "new", "ci", file, *arguments)
    assert (made.returncode, made.stdout) == (2, "")
    assert message in made.stderr
    assert file.read_text() == WRITTEN


def test_a_file_of_json_is_edited_and_one_that_is_missing_is_not_made(
    meshproxy: Run, config: Run, tmp_path: Path
) -> None:
    file = config('{"upstreams": {}} // none\n', "mesh.json")
    assert meshproxy("key", "new", "ci", file).returncode == 0
    assert [key.name for key in load(file).server.auth.keys] == ["ci"]
    assert file.read_text().endswith("} // none\n")
    made = meshproxy("key", "new", "ci", tmp_path / "none.yaml")
    assert (made.returncode, made.stdout) == (2, "")
    assert "does not exist" in made.stderr


def test_a_link_to_the_file_stays_one(meshproxy: Run, config: Run, tmp_path: Path) -> None:
    file = config(WRITTEN)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    assert meshproxy("key", "new", "ci", link).returncode == 0
    assert link.is_symlink()
    assert "ci" in file.read_text()


RULES = """\
upstreams:
  a: %s
server: {auth: {keys: [{name: ada, groups: [dev], hash: "%s"}, {name: bob, profiles: [p], hash: "%s"}]}}
profiles:
  p: {tools: {include: [a_find]}}
access:
  - {who: {groups: [dev]}, allow: ["*_find", "r://a/*"]}
  - who: {keys: [bob]}
    allow: ["*"]
    confirm: destructive
"""


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("ada", "a_find"), 0, ["tool a_find for key:ada: allowed", "mesh.yaml:7"]),
        (("ada", "a_drop"), 1, ["forbidden", "no rule matches"]),
        (("bob", "a_find"), 1, ["forbidden", "rule 2, at", "mesh.yaml:8", "these profiles alone: p"]),
        (("bob", "a_find", "--profile", "p"), 0, ["allowed, if the caller agrees"]),
        (("bob", "a_drop", "--profile", "p"), 1, ["forbidden", "profile 'p' leaves it out"]),
        (("token:eve", "a_find", "--group", "dev"), 0, ["for token:eve: allowed"]),
        (("anonymous", "r://a/1"), 1, ["resource r://a/1 for anonymous: forbidden"]),
        (("ada", "r://a/unlisted"), 0, ["resource r://a/unlisted for key:ada: allowed"]),
    ],
)
def test_why_says_which_rule_decides(
    meshproxy: Run, config: Run, arguments: tuple[str, ...], status: int, told: list[str]
) -> None:
    offer = json.dumps(light("--tools", "find,drop", "--resources", "r://1"))
    file = config(RULES % (offer, hash_of("a"), hash_of("b")))
    who, name, *rest = arguments
    asked = meshproxy("why", who, name, file, *rest)
    assert asked.returncode == status, asked.stderr
    for words in told:
        assert words in asked.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("token:eve", "a_find", "--claim", "dept=a", "--claim", "level=3"), 0, ["allowed", "rule 1, at"]),
        (("token:eve", "a_find", "--claim", "dept=a"), 1, ["forbidden", "its condition cannot be decided"]),
        (("token:eve", "a_drop"), 0, ["allowed or forbidden by the arguments of each call", "rule 2, at"]),
    ],
)
def test_why_goes_by_conditions(
    meshproxy: Run, config: Run, arguments: tuple[str, ...], status: int, told: list[str]
) -> None:
    offer = json.dumps(light("--tools", "find,drop"))
    rules = [
        "{allow: [a_find], when: 'jwt.dept == mcp.tool.target && jwt.level > 2'}",
        "{when: mcp.tool.arguments.n < 3}",
    ]
    file = config("\n".join([f"upstreams: {{a: {offer}}}", "access:", *(f"  - {rule}" for rule in rules), ""]))
    who, name, *rest = arguments
    asked = meshproxy("why", who, name, file, *rest)
    assert asked.returncode == status, asked.stderr
    for words in told:
        assert words in asked.stdout
    if not rest:
        assert "'dept' is no claim" in meshproxy("why", who, name, file, "--claim", "dept").stderr


def test_why_says_of_a_mesh_that_runs_what_it_says_of_its_file(meshproxy: Run, config: Run, serving: Run) -> None:
    offer = json.dumps(light("--tools", "find,drop", "--resources", "r://1"))
    text = RULES % (offer, hash_of("a"), hash_of("b"))
    root = f'{{name: root, rights: [use, admin], hash: "{hash_of("root")}"}}, '
    file = config(f"{text.replace('keys: [', f'keys: [{root}', 1)}  - {{when: 'jwt.dept == mcp.tool.target'}}\n")
    mesh = serving(file)
    shown = ("--header", "Authorization: Bearer root")
    wait_for(lambda: meshproxy("why", "ada", "a_find", mesh.url, *shown).returncode == 0)
    asked = [
        ("ada", "a_find"),
        ("bob", "a_drop", "--profile", "p"),
        ("token:eve", "a_find", "--group", "dev", "--group", "ops", "--scope", "mcp"),
        ("token:eve", "a_drop", "--claim", "dept=a"),
        ("ada", "a_nothing"),
        ("eve", "a_find"),
        ("ada", "a_find", "--claim", "dept"),
    ]
    statuses = set()
    for who, name, *rest in asked:
        by_file = meshproxy("why", who, name, file, *rest)
        by_url = meshproxy("why", who, name, mesh.url, *shown, *rest)
        assert (by_url.returncode, by_url.stdout, by_url.stderr) == (by_file.returncode, by_file.stdout, by_file.stderr)
        statuses.add(by_url.returncode)
    assert statuses == {0, 1, 2}
    found = json.loads(meshproxy("why", "ada", "a_find", mesh.url, *shown, "--json").stdout)
    assert (found["principal"], found["allowed"], found["decisions"][0]["rule"]) == ("key:ada", True, 1)
    # It is for whoever runs the mesh.
    for key in ("a", "none"):
        refused = meshproxy("why", "ada", "a_find", mesh.url, "--header", f"Authorization: Bearer {key}")
        assert (refused.returncode, refused.stdout) == (1, "")
    assert meshproxy("why", "ada", "a_find", file, *shown).returncode == 2


def test_why_names_what_there_is_not(meshproxy: Run, config: Run) -> None:
    file = config(RULES % (json.dumps(light()), hash_of("a"), hash_of("b")))
    assert "there is no component 'a_nothing'" in meshproxy("why", "ada", "a_nothing", file).stderr
    assert "there is no key 'eve'" in meshproxy("why", "eve", "a_echo", file).stderr
    assert "there is no profile 'q'" in meshproxy("why", "ada", "a_echo", file, "--profile", "q").stderr
