"""What `meshproxy import` makes of the servers of other programs' files, in whatever words they are written."""

import json
from pathlib import Path
from typing import Any

import pytest
from meshproxy.operate.importing import gather
from meshproxy.operate.servers import UnreadableError

Json = dict[str, Any]


def found(folder: Path, text: str, name: str = "mcp.json") -> dict[str, Json]:
    """The entries of a file by name, without those that are left out."""
    file = folder / name
    file.write_text(text)
    servers, _ = gather([str(file)], None, into=folder / "mesh.yaml")
    return {one.name: one.entry for one in servers if one.skipped is None}


@pytest.mark.parametrize(
    ("raw", "entry"),
    [
        ({"command": "npx -y it"}, {"command": "npx", "args": ["-y", "it"]}),
        ({"command": "npx", "args": "-y 'my it'"}, {"command": "npx", "args": ["-y", "my it"]}),
        ({"command": ["npx", "-y", "it"]}, {"command": "npx", "args": ["-y", "it"]}),
        ({"command": "C:\\Program Files\\it.exe"}, {"command": "C:\\Program Files\\it.exe"}),
        (
            {"command": "cmd", "args": ["/c", "npx", "it", "C:\\a b"]},
            {"command": "cmd", "args": ["/c", "npx", "it", "C:\\a b"]},
        ),
        (
            {"command": "x", "args": [1], "env": {"P": 8, "D": True, "N": None}},
            {"command": "x", "args": ["1"], "env": {"P": "8", "D": "true"}},
        ),
        ({"httpUrl": "https://a/mcp", "url": "https://a/sse"}, {"url": "https://a/mcp"}),
        ({"serverUrl": "https://a/mcp", "type": "HTTP"}, {"url": "https://a/mcp"}),
        ({"url": "https://a/sse", "transportType": "sse"}, {"url": "https://a/sse", "transport": "sse"}),
        (
            {"url": "https://a/", "bearerTokenEnvVar": "A"},
            {"url": "https://a/", "headers": {"Authorization": "Bearer ${A}"}},
        ),
        ({"url": "https://a/", "bearerToken": "t"}, {"url": "https://a/", "headers": {"Authorization": "Bearer t"}}),
        (
            {"url": "https://a/", "auth": {"CLIENT_ID": "c", "scopes": ["r"]}},
            {"url": "https://a/", "auth": {"type": "oauth", "client_id": "c", "scopes": ["r"]}},
        ),
        ({"type": "local", "command": "x", "tools": ["*"]}, {"command": "x"}),
        ({"command": "x", "tools": ["get"]}, {"command": "x", "tools": {"include": ["get"]}}),
    ],
)
def test_an_entry_is_taken_over_in_whatever_words_it_is_written(tmp_path: Path, raw: Json, entry: Json) -> None:
    assert found(tmp_path, json.dumps({"mcpServers": {"a": raw}})) == {"a": entry}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"command": "x"}}',
        '{"amp.mcpServers": {"a": {"command": "x"}}}',
        '{"editor.tabSize": 2, "mcp": {"servers": {"a": {"command": "x"}}}, }',
        '\ufeff// mine\n{"mcpServers": null, "servers": {"a": {"command": "x"}}}',
    ],
)
def test_servers_are_found_wherever_a_file_has_them(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text) == {"a": {"command": "x"}}


@pytest.mark.parametrize("text", ["", "{}", '{"mcpServers": null}'])
def test_a_file_that_has_none_is_said_to_be_empty(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnreadableError, match="is empty; there is nothing to import"):
        found(tmp_path, text)
