"""What an upstream says cannot command the terminal of who asks, nor pass for a line of the program's own, wherever it is shown."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.program import ENVIRONMENT, PROGRAM, serve
from tests.servers import forger

FORGER = {"command": sys.executable, "args": ["-IS", forger.__file__]}
COMMANDS = set("\x1b\x9b\x07\r\u202e\x85\u2028")


@pytest.fixture(scope="module")
def mesh_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mesh") / "mesh.json"
    file.write_text(json.dumps({"upstreams": {"f": FORGER}}))
    return file


def harmless(text: str, *, own: str = "") -> None:
    """It holds nothing that commands a terminal, and no line that begins as one of the program's own would."""
    assert not COMMANDS & set(text.replace("\r\n", "\n").replace(own, "")), text
    assert not [line for line in text.splitlines() if line.startswith(("error: forged", "12:00:00", "forged"))], text


def on_terminal(*arguments: object) -> str:
    """What a command shows where its output and its errors are a terminal."""
    ours, theirs = pty.openpty()
    line = [*PROGRAM, *map(str, arguments)]
    with subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**ENVIRONMENT, "NO_COLOR": "1", "TERM": "dumb"},
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        process.wait()
    os.close(ours)
    return shown.decode()


LINES: list[tuple[str, ...]] = [
    ("list", "{file}"),
    ("list", "{file}", "--json"),
    ("check", "--connect", "{file}"),
    ("call", "{file}", "f_says"),
    ("call", "{file}", "f_says", "--json"),
    ("call", "{file}", "f_fails"),
    ("call", "{file}", "f_refuses"),
    ("call", "{file}", "f_asks"),
    ("call", "{file}", "f_prompt"),
    ("call", "{file}", "forged://f/plain"),
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_nothing_that_an_upstream_says_commands_or_forges_what_a_command_shows(
    mesh_file: Path, meshproxy: Callable[..., Any], line: tuple[str, ...]
) -> None:
    arguments = [part.format(file=mesh_file) for part in line]
    ended = meshproxy(*arguments)
    harmless(ended.stderr)
    harmless(ended.stdout)
    if "--json" in line:
        assert "\u202e" in json.dumps(json.loads(ended.stdout), ensure_ascii=False)


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_nor_what_it_shows_on_a_terminal(mesh_file: Path, line: tuple[str, ...]) -> None:
    shown = on_terminal(*(part.format(file=mesh_file) for part in line))
    for style in ("\x1b[1m", "\x1b[0m"):
        shown = shown.replace(style, "")
    harmless(shown)


def test_nor_why_it_did_not_start(tmp_path: Path, meshproxy: Callable[..., Any]) -> None:
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps({"upstreams": {"f": {**FORGER, "args": [*FORGER["args"], "--dies"]}}}))
    for command in (("check", "--connect", file), ("list", file)):
        ended = meshproxy(*command)
        assert ended.returncode != 0
        harmless(ended.stderr)
        harmless(on_terminal(*command).replace("\x1b[1m", "").replace("\x1b[0m", ""))


@pytest.mark.parametrize("form", ["console", "json"])
def test_nor_the_log_and_the_health_of_a_mesh_that_serves_it(mesh_file: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / "mesh.json"
    dying = {**FORGER, "args": [*FORGER["args"], "--dies"]}
    file.write_text(json.dumps({"upstreams": {"f": FORGER, "g": dying}}))
    log = tmp_path / "log"
    with serve(file, log) as mesh:
        mesh.await_settled()
        for tool in ("says", "fails", "refuses"):
            subprocess.run([*PROGRAM, "call", mesh.url, f"f_{tool}"], capture_output=True, env=ENVIRONMENT, check=False)
        assert "harmless" in mesh.get("/readyz")[1]["upstreams"]["g"]["reason"]
        harmless(raw(mesh.url.removesuffix("/mcp") + "/readyz"))
    harmless(log.read_text())
    assert "harmless" in log.read_text()


def raw(url: str) -> str:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
