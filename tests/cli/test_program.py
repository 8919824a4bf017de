"""The program itself: help, version, usage errors, the schema, and what it does not import."""

import json
import subprocess
import sys

import pytest
from tests.kit.places import ROOT
from tests.kit.program import ENVIRONMENT
from tests.kit.waiting import DEADLINE

COMMANDS = ["serve", "check", "list", "call", "schema"]


def test_the_version_is_one_line(meshproxy) -> None:
    assert meshproxy("--version").stdout == "meshproxy 0.1.0\n"


def test_help_names_every_command_with_examples_and_exit_statuses(meshproxy) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        ended = meshproxy(*arguments)
        assert ended.returncode == 0
        assert all(f"  {command} " in ended.stdout for command in COMMANDS)
        assert "Exit status:" in ended.stdout
    assert "  sample " not in ended.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(meshproxy, command) -> None:
    ended = meshproxy(command, "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"Usage: meshproxy {command}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["srve"],
        ["serve"],
        ["serve", "a", "b"],
        ["serve", "a", "--port", "x"],
        ["serve", "a", "--transport", "pigeon"],
        ["list", "a", "things"],
        ["--nope"],
        ["call", "a"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_told_in_one_line(meshproxy, arguments) -> None:
    ended = meshproxy(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.endswith("; see meshproxy --help\n")
    assert ended.stderr.count("\n") == 1


def test_the_schema_is_the_one_in_the_repository(meshproxy) -> None:
    assert meshproxy("schema").stdout == (ROOT / "schemas" / "mesh.schema.json").read_text()


def test_an_unexpected_error_is_one_line_and_a_traceback_only_for_those_who_ask() -> None:
    script = "import meshproxy.cli.entry as e, sys\ndef run(): return {}['none']\nsys.exit(e.guarded(run))"

    def ended(**environment: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-c", script]
        environment = ENVIRONMENT | environment
        return subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE, check=False, env=environment)

    assert ended().stderr == "error: unexpected KeyError: 'none' (set MESHPROXY_DEBUG=1 to see where)\n"
    assert "Traceback" in ended(MESHPROXY_DEBUG="1").stderr


def imported(*arguments: str) -> set[str]:
    """The packages that a command imports."""
    script = "import sys, json\nfrom meshproxy.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    script += "json.dump(sorted(sys.modules), sys.stderr)"
    line = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE, check=False, env=ENVIRONMENT)
    return {name.split(".")[0] for name in json.loads(ended.stderr.splitlines()[-1])}


def test_the_version_costs_no_server() -> None:
    assert not {"pydantic", "yaml", "structlog", "uvicorn", "rich", "asyncio", "mcp"} & imported("--version")


def test_serving_never_imports_the_sdk_or_rich(config) -> None:
    # A required upstream that fails ends it after everything was imported and started.
    found = imported("serve", str(config(a={"command": "nope", "required": True})), "--port", "0")
    assert {"uvloop", "httptools", "structlog"} <= found
    assert not {"mcp", "mcp_types", "rich", "pygments"} & found


def test_a_sample_is_served_and_an_unknown_one_refused(meshproxy) -> None:
    ended = meshproxy("sample", "poems")
    assert (ended.returncode, ended.stderr) == (2, "error: there is no sample 'poems'; choose one of clock, notes\n")
    assert meshproxy("sample", "notes", stdin=subprocess.DEVNULL).returncode == 0
