"""`meshproxy add`, `remove`, `enable`, `disable` and `rename`: what they do to the file, and what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshproxy.config.load import load

Run = Callable[..., Any]

WRITTEN = """\
# Ours.
upstreams:        # the servers
  "a": {command: python3, args: ['-c', "pass"]}   # quoted

  # the documentation
  docs:
    url: https://docs.example.com/mcp
    headers: {Authorization: "Bearer tok-9f8e7d6c5b4a3f2e1d0c"}

profiles: {research: {upstreams: [a, docs], tools: {include: ["docs_*"]}}}
"""


def test_an_upstream_comes_and_goes_and_the_file_is_as_it_was(meshproxy: Run, config: Run) -> None:
    file = config(WRITTEN)
    added = meshproxy("add", "--into", file, "--env", "A=${A}", "files", "npx", "-y", "--dir=x y", "--json")
    assert (added.returncode, added.stdout) == (0, "")
    spec = load(file, {"A": "1"}).upstreams["files"]
    assert (spec.command, spec.args, dict(spec.env)) == ("npx", ("-y", "--dir=x y", "--json"), {"A": "1"})
    # A variable that is not set here is said, and no reason not to write.
    assert "environment variable A is not set" in added.stderr
    assert (file.parent / "mesh.yaml.bak").read_text() == WRITTEN
    assert meshproxy("remove", "files", file).returncode == 0
    assert file.read_text() == WRITTEN
    again = meshproxy("add", "--into", file, "docs", "https://other.example.com/mcp")
    assert (again.returncode, "has an upstream 'docs' already" in again.stderr) == (2, True)
    wrong = meshproxy("add", "--into", file, "b", "ftp://x")
    assert file.read_text().startswith(WRITTEN[: WRITTEN.index("\nprofiles")])
    assert wrong.returncode == 0  # it is a program's name for all that is known
    refused = meshproxy("add", "--into", file, "--cwd", "/x", "c", "https://c.example.com/mcp")
    assert (refused.returncode, "cwd is for upstreams with command" in refused.stderr) == (2, True)


def test_a_dry_run_shows_the_diff_without_secrets_and_writes_nothing(meshproxy: Run, config: Run) -> None:
    file = config(WRITTEN)
    shown = meshproxy("disable", "docs", file, "--dry-run")
    assert shown.returncode == 0
    assert "+    enabled: false" in shown.stdout
    assert "tok-9f8e" not in shown.stdout + shown.stderr
    assert file.read_text() == WRITTEN
    told = json.loads(meshproxy("disable", "docs", file, "--dry-run", "--json").stdout)
    assert (told["changed"], told["written"]) == (True, False)
    assert "tok-9f8e" not in told["diff"]


def test_an_upstream_is_disabled_enabled_and_renamed_where_profiles_name_it_too(meshproxy: Run, config: Run) -> None:
    file = config(WRITTEN)
    assert meshproxy("disable", "a", file).returncode == 0
    assert not load(file).upstreams["a"].enabled
    assert meshproxy("enable", "a", file).returncode == 0
    assert load(file).upstreams["a"].enabled
    same = meshproxy("enable", "docs", file)
    assert (same.returncode, "nothing to change" in same.stderr) == (0, True)
    renamed = meshproxy("rename", "docs", "manual", file)
    assert renamed.returncode == 0
    assert load(file).profiles["research"].upstreams == ("a", "manual")
    assert "manual_... from now on" in renamed.stderr
    assert "profiles.research.tools.include[0] names 'docs_*'" in renamed.stderr
    assert meshproxy("remove", "manual", file).returncode == 0
    assert load(file).profiles["research"].upstreams == ("a",)
    gone = meshproxy("remove", "manual", file)
    assert (gone.returncode, "has no upstream 'manual'; it has a" in gone.stderr) == (2, True)


def test_the_first_upstream_makes_the_file(meshproxy: Run, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    assert meshproxy("add", "--into", file, "docs", "https://docs.example.com/mcp").returncode == 0
    assert file.read_text() == "upstreams:\n  docs:\n    url: https://docs.example.com/mcp\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_json_of_another_client_is_edited_in_its_own_words(meshproxy: Run, config: Run) -> None:
    file = config('{\n  // mine\n  "mcpServers": {\n    "a": {"command": "python3"}\n  }\n}\n', "mcp.json")
    assert meshproxy("disable", "a", file).returncode == 0
    assert file.read_text().replace(', "disabled": true', "").count('"a": {"command": "python3"}') == 1
    assert not load(file).upstreams["a"].enabled
    assert meshproxy("enable", "a", file).returncode == 0
    assert load(file).upstreams["a"].enabled
