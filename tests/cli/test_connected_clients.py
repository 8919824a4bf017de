"""What `meshproxy connect` writes is what each client reads: a real client goes by every file, with the mesh at an address that asks for a key, and as a program."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from meshproxy.access.keys import hash_of, new_key
from meshproxy.operate.clients import CLIENTS
from tests.kit.light import light
from tests.kit.program import ENVIRONMENT, Serving, serve
from tests.kit.written import HOMES, written

pytestmark = pytest.mark.anyio
Run = Callable[..., Any]
BEFORE = {
    ".json": '{\n\t// mine, and odd\n\t"theme": "dark",\n\t"KEY": {"far": {"URL": "https://far.example.com/mcp"}}\n}',
    ".toml": "# mine\r\nmodel = 'm'\r\n\r\n[mcp_servers.'far']\r\nurl = 'https://far.example.com/mcp'\r\n",
    ".yaml": "# mine\nKEY:\n    far: {URL: 'https://far.example.com/mcp'}   # odd\nlast: yes\n",
}
LISTED = "# mine\nname: Mine\nmcpServers:\n- name: far   # odd\n  url: https://far.example.com/mcp\n"


def had(client: str) -> bytes:
    """A file of this client's as somebody has made it by hand."""
    if client == "continue":
        return LISTED.encode()
    section = {"vscode": "servers", "zed": "context_servers", "goose": "extensions", "opencode": "mcp"}
    text = BEFORE[Path(HOMES[client]).suffix].replace("KEY", section.get(client, "mcpServers")).replace("URL", "url")
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() if client == "cursor" else text.encode()


@pytest.fixture(scope="module")
def key() -> str:
    return new_key()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, key: str) -> Any:
    """A mesh that asks for a key."""
    folder = tmp_path_factory.mktemp("mesh")
    file = folder / "mesh.yaml"
    keys = [{"name": "ada", "hash": hash_of(key)}]
    file.write_text(yaml.safe_dump({"server": {"auth": {"keys": keys}}, "upstreams": {"a": light("--tools", "echo")}}))
    with serve(file, folder / "log") as served:
        served.await_event("upstream.up")
        yield served


@pytest.fixture
def program(meshproxy: Run, tmp_path: Path) -> Run:
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("XDG_", "CODEX"))}
    environment |= {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}
    return lambda *arguments: meshproxy(*arguments, env=environment, cwd=tmp_path)


def test_each_client_that_is_known_is_held_here() -> None:
    assert HOMES.keys() == CLIENTS.keys()


async def called(home: Path, client: str) -> None:
    """A tool called by the real client that goes by what was written."""
    async with written(home, client, "my mesh").connected() as session:
        result = await session.call_tool("a_echo", {"tag": client})
        assert not result.is_error, client
        assert result.structured_content["tag"] == client


async def test_files_that_were_there_lead_to_the_address_with_its_key_and_are_to_the_byte_what_they_were(
    mesh: Serving, key: str, program: Run, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    clients = [name for name, client in CLIENTS.items() if not client.only_programs]
    for client in clients:
        file = home / HOMES[client]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(had(client))
    how = ("--url", mesh.url, "--header", f"Authorization: Bearer {key}", "--name", "my mesh")
    done = program("connect", *clients, *how)
    assert done.returncode == 0, done.stderr
    for client in clients:
        assert b"far.example.com" in (home / HOMES[client]).read_bytes(), client
        await called(home, client)
    undone = program("connect", "--undo")
    assert undone.returncode == 0, undone.stderr
    for client in clients:
        assert (home / HOMES[client]).read_bytes() == had(client), client


async def test_files_that_were_not_there_start_the_mesh_and_are_gone_again_with_their_folders(
    program: Run, tmp_path: Path
) -> None:
    (tmp_path / "mesh.yaml").write_text(json.dumps({"upstreams": {"a": light("--tools", "echo")}}))
    home = tmp_path / "home"
    home.mkdir()
    done = program("connect", *CLIENTS, "--stdio", "--file", "mesh.yaml", "--name", "my mesh")
    assert done.returncode == 0, done.stderr
    for client in CLIENTS:
        await called(home, client)
    undone = program("connect", "--undo")
    assert undone.returncode == 0, undone.stderr
    assert list(home.iterdir()) == []
