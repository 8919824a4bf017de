"""`meshproxy import` and `meshproxy connect`: from the files of other programs into a mesh, and the mesh into theirs."""

import asyncio
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meshproxy.config.load import load
from tests.kit.program import ENVIRONMENT
from tests.kit.waiting import DEADLINE
from tests.kit.written import written

Run = Callable[..., Any]
CLOCK = {"command": sys.executable, "args": ["-m", "meshproxy", "sample", "clock"]}
SECRET = "tok-9f8e7d6c5b4a3f2e1d0c"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the files of five clients."""
    home = tmp_path / "home"
    files = {
        ".config/Claude/claude_desktop_config.json": json.dumps({"mcpServers": {"clock": CLOCK}, "globalShortcut": ""}),
        ".config/Code/User/mcp.json": '{\n  // mine\n  "inputs": [{"id": "docs-token", "type": "promptString"}],\n  "servers": {\n'
        f'    "time": {json.dumps({"type": "stdio", **CLOCK})},\n'
        '    "docs": {"type": "http", "url": "https://docs.example.com/mcp", "headers": {"X": "${input:docs-token}"}}\n  }\n}\n',
        ".cursor/mcp.json": json.dumps(
            {"mcpServers": {"notes": {**CLOCK, "args": [*CLOCK["args"][:-1], "notes"], "env": {"API_TOKEN": SECRET}}}}
        )
        + "\r\n",
        ".codex/config.toml": 'model = "m" # mine\n\n[mcp_servers.far]\nurl = "https://far.example.com/mcp"\n'
        "enabled = false\ntool_timeout_sec = 90\n",
        ".config/goose/config.yaml": "# goose\nextensions:\n  developer: {type: builtin, enabled: true}\n"
        "  web:   # odd\n    {type: streamable_http, uri: 'https://web.example.com/mcp', enabled: false}\n",
    }
    for name, text in files.items():
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    return home


@pytest.fixture
def program(meshproxy: Run, home: Path, tmp_path: Path) -> Run:
    """The program in that home, where nothing else is."""
    work = tmp_path / "work"
    work.mkdir()
    environment = {key: value for key, value in ENVIRONMENT.items() if not key.startswith(("XDG_", "CODEX"))}
    environment |= {"HOME": str(home), "XDG_STATE_HOME": str(tmp_path / "state")}
    return lambda *arguments: meshproxy(*arguments, env=environment, cwd=work)


@pytest.fixture
def before(home: Path) -> dict[str, bytes]:
    return {str(file.relative_to(home)): file.read_bytes() for file in home.rglob("*") if file.is_file()}


async def listed(session: Any, name: str) -> None:
    """Wait until a mesh that has just been started lists this tool; each listing waits for upstreams that start."""
    async with asyncio.timeout(DEADLINE):
        while name not in {tool.name for tool in (await session.list_tools()).tools}:
            pass


@pytest.mark.anyio
async def test_a_newcomer_brings_five_clients_servers_and_connects_them_all(
    program: Run, home: Path, tmp_path: Path, before: dict[str, bytes], serving: Any
) -> None:
    mesh = tmp_path / "work" / "mesh.yaml"
    dry = program("import", "--dry-run")
    assert (dry.returncode, mesh.exists()) == (0, False)
    assert SECRET not in dry.stdout + dry.stderr
    assert "would be imported" in dry.stderr
    assert not (mesh.parent / ".secrets").exists()
    done = program("import", "--json")
    assert done.returncode == 0
    outcomes = {line["name"]: line["outcome"] for line in json.loads(done.stdout)["servers"]}
    assert outcomes == {
        "clock": "imported",
        "time": "double",
        "docs": "imported",
        "notes": "imported",
        "far": "imported",
        "developer": "left out",
        "web": "imported",
    }
    assert SECRET not in mesh.read_text() + done.stdout
    config = load(mesh, {"HOME": str(home)})
    assert [spec.name for spec in config.enabled] == ["clock", "notes"]
    assert config.upstreams["notes"].env["API_TOKEN"] == SECRET
    assert (mesh.parent / ".secrets" / "notes.api_token").stat().st_mode & 0o777 == 0o600
    # Once more finds that everything is there.
    text = mesh.read_text()
    assert program("import").returncode == 0
    assert mesh.read_text() == text

    looked = program("doctor", mesh, "--json")
    assert looked.returncode in (0, 10), looked.stderr
    assert SECRET not in looked.stdout + looked.stderr

    running = serving(mesh, "--port", "0")
    running.await_event("upstream.up", 2)
    shown = program("connect", "--url", running.url, "--name", "mine")
    assert shown.returncode == 0, shown.stderr
    for client in ("claude-desktop", "vscode", "cursor", "codex", "goose"):
        async with written(home, client, "mine").connected() as session:
            await listed(session, "clock_now")
            result = await session.call_tool("clock_now", {"timezone": "UTC"})
            assert not result.is_error, client

    undone = program("connect", "--undo")
    assert undone.returncode == 0
    after = {str(file.relative_to(home)): file.read_bytes() for file in home.rglob("*") if file.is_file()}
    assert after == before


def test_nothing_is_made_where_there_is_nothing_to_import_and_it_is_said_why(program: Run, tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"a": {"type": "ws", "url": "wss://a"}}}')
    ended = program("import", file)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"a ({file}): left out: is reached by WebSocket")
    file.write_text('{"mcpServers": {}}')
    assert program("import", file).stderr == f"no MCP servers found in {file}\n"
    assert not (tmp_path / "work" / "mesh.yaml").exists()


def test_a_file_that_changed_meanwhile_loses_the_entry_alone(program: Run, home: Path) -> None:
    file = home / ".codex/config.toml"
    before = file.read_text()
    assert program("connect", "codex", "--url", "http://127.0.0.1:8000/mcp", "--name", "mine").returncode == 0
    file.write_text(file.read_text().replace('"m"', '"n"'))
    assert "has changed since" in program("connect", "--undo", "codex").stderr
    assert tomllib.loads(file.read_text()) == tomllib.loads(before.replace('"m"', '"n"'))


def test_what_the_mesh_has_taken_over_is_taken_out_if_asked_and_comes_back(
    program: Run, home: Path, before: dict[str, bytes]
) -> None:
    assert program("import").returncode == 0
    file = home / ".config/Code/User/mcp.json"
    dry = program("connect", "vscode", "--replace", "--dry-run")
    assert '-    "time"' in dry.stdout
    assert program("connect", "vscode", "--replace").returncode == 0
    assert '"time"' not in file.read_text()
    assert "// mine" in file.read_text()
    assert program("connect", "--undo").returncode == 0
    assert file.read_bytes() == before[".config/Code/User/mcp.json"]


def test_a_client_without_a_file_gets_one_and_undoing_takes_it_away_with_its_folders(program: Run, home: Path) -> None:
    assert program("connect", "lmstudio", "--url", "http://127.0.0.1:8000/mcp").returncode == 0
    file = home / ".lmstudio" / "mcp.json"
    assert json.loads(file.read_text()) == {"mcpServers": {"meshproxy": {"url": "http://127.0.0.1:8000/mcp"}}}
    assert program("connect", "--undo").returncode == 0
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "nobody"), "nobody: No such file or directory; name a file, or one of claude-desktop"),
        (("import", "zed"), "Zed has no file here"),
        (("connect", "nobody"), "nobody: there are claude-desktop"),
        (("connect", "cursor"), "mesh.yaml: does not exist"),
    ],
)
def test_what_is_not_there_is_said(program: Run, arguments: tuple[str, ...], message: str) -> None:
    ended = program(*arguments)
    assert ended.returncode == 2
    assert message in ended.stderr
