"""Completion in shells: what is offered of commands and names, by real shells where they are, and silence where nothing is to be had."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.light import light
from tests.kit.program import ENVIRONMENT
from tests.kit.waiting import DEADLINE

Run = Callable[..., Any]
PROGRAM = Path(sys.executable).parent / "meshproxy"
ASK = {
    # What a shell does when its user presses the key: it calls the function that was registered, and shows what that leaves.
    "bash": """
        eval "$(meshproxy completion bash)"
        COMP_WORDS=({words}) COMP_CWORD={at}
        $(complete -p meshproxy | sed 's/.*-F \\([^ ]*\\).*/\\1/') meshproxy
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "zsh": """
        compdef() {{ true }}
        _arguments() {{ print -r -- "$1" }}
        _files() {{ true }}
        eval "$(meshproxy completion zsh)"
        words=({words}) CURRENT=$(({at} + 1))
        _meshproxy_completion
    """,
    "fish": """
        meshproxy completion fish | source
        complete --do-complete {line} | string replace -r '\\t.*' ''
    """,
}


@pytest.fixture(params=["bash", "zsh", "fish"])
def completed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., list[str]]:
    """`completed("logs d")`: what a shell offers for a line that ends so."""
    shell: str = request.param
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")

    def ask(rest: str, state: Path = tmp_path, **environment: str) -> list[str]:
        words = ["meshproxy", *shlex.split(rest), *([""] if rest.endswith(" ") else [])]
        script = ASK[shell].format(
            words=" ".join(map(shlex.quote, words)), at=len(words) - 1, line=shlex.quote(f"meshproxy {rest}")
        )
        path = f"{PROGRAM.parent}:{ENVIRONMENT['PATH']}"
        ended = subprocess.run(
            [program, {"bash": "--norc", "zsh": "--no-rcs", "fish": "--no-config"}[shell], "-c", script],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            cwd=tmp_path,
            env={**ENVIRONMENT, "PATH": path, "XDG_STATE_HOME": str(state / ".state"), **environment},
        )
        assert ended.stderr == ""
        # Others than zsh are told the words alone; it is told what to do with them.
        lines = ended.stdout
        found = re.findall(r'(?<=[( ])"([^"]*)"', lines) if shell == "zsh" else lines.split("\n")
        return sorted(filter(None, found))

    return ask


def test_commands_and_options_are_completed(completed: Run) -> None:
    assert completed("re") == ["reload", "remove", "rename", "restart"]
    assert completed("plan --aga") == ["--against"]
    assert completed("serve --transport s") == ["stdio"]
    assert completed("completion ") == ["bash", "fish", "zsh"]


def test_upstreams_and_keys_of_the_file_are_completed(completed: Run, config: Run, tmp_path: Path) -> None:
    digest = f"sha256:{'0' * 64}"
    file = config(
        docs=light(),
        draft=light(enabled=False),
        **{"d; touch x": light(), "d'\"$(touch x)": light()},
        server={"auth": {"keys": [{"name": "ci", "hash": digest}, {"name": "me", "hash": digest}]}},
    )
    assert completed("logs d") == ["docs", "draft"]
    assert completed("enable dr") == ["draft"]
    assert completed("calls --upstream d") == ["docs", "draft"]
    assert completed("key revoke ") == ["ci", "me"]
    assert completed("pins list do") == ["docs"]
    assert not (tmp_path / "x").exists()
    (tmp_path / "mesh.yaml").rename(tmp_path / "other.yaml")
    assert completed("enable dr") == []
    (tmp_path / "mesh.yaml").write_text(json.dumps({"mcpServers": {"den": {"command": "x"}}}))
    assert completed("remove d") == ["den"]
    assert file.name == "mesh.yaml"


def test_tools_are_completed_from_what_the_mesh_remembers(
    completed: Run, config: Run, serving: Run, tmp_path: Path
) -> None:
    tools = {"include": ["*"], "exclude": ["hidden"], "rename": {"old": "new"}}
    file = config(
        docs=light("--tools", "search,hidden,old", "--prompts", "summary", tools=tools),
        plain=light("--tools", "bare", namespace=""),
        separator="__",
    )
    assert completed(f"call {file} doc") == []
    mesh = serving(file)
    mesh.await_settled()
    assert mesh.end() == 0
    assert completed(f"call {file} doc") == ["docs__new", "docs__search", "docs__summary"]
    assert completed(f"call {file} b") == ["bare"]
    assert completed("why anonymous docs__s") == ["docs__search", "docs__summary"]


@pytest.mark.parametrize("text", [None, "", "upstreams: [", "- a", "upstreams: 3", "\xff", "{"])
def test_what_cannot_be_read_offers_nothing_and_says_nothing(completed: Run, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "mesh.yaml").write_bytes(text.encode("latin-1"))
    assert completed("logs zzz") == []
    assert completed("call mesh.yaml zzz") == []
    assert completed("call http://127.0.0.1:9 zzz") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_what_it_asks_by_its_protocol(
    meshproxy: Run, config: Run, tmp_path: Path, shell: str
) -> None:
    config(docs=light())
    asked = {
        "bash": {"COMP_WORDS": "meshproxy\nlogs\nd", "COMP_CWORD": "2"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "meshproxy logs d"},
        "fish": {"_TYPER_COMPLETE_ARGS": "meshproxy logs d", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    environment = {**ENVIRONMENT, "_MESHPROXY_COMPLETE": f"complete_{shell}", **asked}
    ended = meshproxy(env=environment, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == {"zsh": "_arguments '*: :((\"docs\"))'\n"}.get(shell, "docs\n")
    assert f"complete_{shell}" in meshproxy("completion", shell).stdout


def test_nothing_heavy_is_imported_while_somebody_types(config: Run, tmp_path: Path) -> None:
    config(docs=light())
    script = "import sys, json\nfrom meshproxy.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    script += "json.dump(sorted(sys.modules), sys.stderr)"
    asked = {"_MESHPROXY_COMPLETE": "complete_bash", "COMP_WORDS": "meshproxy\ncall\nmesh.yaml\n", "COMP_CWORD": "3"}
    line = [sys.executable, "-c", script]
    ended = subprocess.run(
        line,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        cwd=tmp_path,
        env=ENVIRONMENT | asked | {"XDG_STATE_HOME": str(tmp_path)},
    )
    loaded = set(json.loads(ended.stderr.splitlines()[-1]))
    assert not loaded & {"meshproxy.config.models", "mcp", "pydantic", "structlog", "uvloop", "rich", "httptools"}
