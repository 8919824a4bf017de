"""What the program imports before it does what it is asked for: whoever presses the key in a shell, or starts a mesh, waits for all of it."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kit.light import light
from tests.kit.program import ENVIRONMENT, PROGRAM
from tests.kit.waiting import DEADLINE

Run = Callable[..., Path]
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", re.MULTILINE)
SLOW = {
    "anyio",
    "asyncio",
    "httptools",
    "jsonschema",
    "mcp",
    "msgspec",
    "pydantic",
    "rich",
    "structlog",
    "uvicorn",
    "uvloop",
}
"""Any of these takes longer than all that is there to complete."""


def imported(*arguments: str, where: Path, **environment: str) -> tuple[set[str], str]:
    """What a command imports, without what is below it in a package, and what it prints."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *PROGRAM[1:], *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        cwd=where,
        env={**ENVIRONMENT, "XDG_STATE_HOME": str(where / ".state"), **environment},
    )
    assert ended.returncode == 0, ended.stderr
    return {name.partition(".")[0] for name in IMPORTED.findall(ended.stderr)}, ended.stdout


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("stat", "status"),
        ("key re", "revoke"),
        ("plan --aga", "--against"),
        ("serve mesh.yaml --transport s", "stdio"),
        ("logs d", "docs"),
        ("restart --header a:b d", "docs"),
    ],
)
def test_what_is_completed_by_name_waits_for_no_library_that_serves_or_checks(
    line: str, answer: str, config: Run, tmp_path: Path
) -> None:
    config(docs=light())
    words = f"meshproxy {line}"
    asked = {"_MESHPROXY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(line.split()))}
    names, printed = imported(where=tmp_path, **asked)
    assert printed.split() == [answer]
    assert not names & SLOW


@pytest.mark.parametrize("asked", [["--version"], ["--help"], ["serve", "--help"], ["key", "--help"]])
def test_help_and_the_version_wait_for_no_library_that_serves(asked: list[str], tmp_path: Path) -> None:
    names, printed = imported(*asked, where=tmp_path)
    assert "meshproxy" in printed
    assert not names & (SLOW - {"pydantic"})


def test_a_config_is_checked_without_the_sdk_and_without_what_only_other_commands_use(
    config: Run, tmp_path: Path
) -> None:
    names, _ = imported("check", str(config(docs=light())), where=tmp_path)
    assert not names & {"jsonschema", "mcp", "ruamel", "starlette", "uvicorn"}
