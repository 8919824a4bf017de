"""Files of other clients: served if they list `mcpServers` by name, and else answered with the command that takes them over."""

import json

import pytest
from meshproxy.config.load import load
from meshproxy.errors import ConfigError


def test_what_only_the_client_knows_is_ignored_with_one_warning_whatever_it_is_called(tmp_path) -> None:
    file = tmp_path / "claude_desktop_config.json"
    servers = {
        "a": {"command": "x"},
        "b": {"serverUrl": "https://b.example.com/mcp"},
        "c": {"type": "ws", "url": "wss://c"},
    }
    others = {"d": {"disabled": True}, "e": {}}
    file.write_text(json.dumps({"theme": 1, "server": "dark", "mcpServers": {**servers, **others}, "users": []}))
    config = load(file)
    assert [spec.name for spec in config.enabled] == ["a", "b"]
    told = {warning.key: warning.message for warning in config.source.warnings}
    assert told["theme"] == "keys of the client whose file this is are ignored: theme, server, users"
    assert "WebSocket" in told["mcpServers.c"]
    assert "neither command nor url" in told["mcpServers.e"]
    assert len(told) == 3


@pytest.mark.parametrize(
    ("name", "text", "owner"),
    [
        ("mcp.json", '{"servers": {"a": {"type": "stdio", "command": "x"}}, // mine\n "inputs": []}', "VS Code"),
        ("settings.json", '{"context_servers": {}}', "Zed"),
        ("config.toml", '[mcp_servers.a]\ncommand = "x"\n', "Codex"),
        ("config.yaml", "extensions: {a: {type: builtin}}\n", "Goose"),
        ("config.yaml", "mcpServers: [{name: a, command: x}]\n", "Continue"),
        ("opencode.json", '{"mcp": {"a": {"type": "local", "command": ["x"]}}}', "OpenCode"),
        ("server.json", '{"name": "io.github.a/b", "packages": []}', "an MCP registry"),
    ],
)
def test_a_file_that_cannot_be_served_is_answered_with_the_command_that_imports_it(tmp_path, name, text, owner) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    [problem] = caught.value.problems
    assert problem.message == f"is a file of {owner}"
    assert problem.hint == f"take its servers over with: meshproxy import {file} --into mesh.yaml"


@pytest.mark.parametrize("placeholder", ["${workspaceFolder}", "${input:token}", "{{USER_ID}}", "${{ secrets.X }}"])
def test_what_only_the_client_can_fill_in_is_said_once_by_name(tmp_path, placeholder) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"a": {"command": "x", "args": [placeholder, placeholder]}}}))
    with pytest.raises(ConfigError) as caught:
        load(file)
    [problem] = caught.value.problems
    assert problem.message.startswith(f"{placeholder} is filled in by the client whose file this is")
