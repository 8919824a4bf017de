"""What a client can be made for: every shape reaches a server of its kind, and everything else is refused with what is accepted."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from meshproxy.errors import ConfigError
from meshproxy.kinds import Kind
from meshproxy.links.sse import SseEndpoint
from meshproxy.links.streamable import HttpEndpoint
from meshproxy.links.target import Command
from meshproxy.upstream.client import ProxyClient
from pydantic import AnyUrl
from tests.kit.light import LIGHT

pytestmark = pytest.mark.anyio


def greeter() -> MCPServer:
    server = MCPServer("greeter")

    @server.tool()
    def hello(name: str) -> str:
        return f"Hello, {name}!"

    return server


async def names(target: Any) -> list[str]:
    async with ProxyClient(target) as client:
        return [str(tool["name"]) for tool in await client.list(Kind.TOOL)]


async def test_a_server_in_this_process_is_reached() -> None:
    assert await names(greeter()) == ["hello"]
    assert ProxyClient(greeter()).name == "greeter"
    assert await names(greeter()._lowlevel_server) == ["hello"]
    assert ProxyClient(Server("bare")).name == "bare"


async def test_a_server_of_fastmcp_in_this_process_is_reached() -> None:
    fastmcp = pytest.importorskip("fastmcp")
    server = fastmcp.FastMCP("front")

    @server.tool
    def hello(name: str) -> str:
        return f"Hello, {name}!"

    assert await names(server) == ["hello"]
    assert ProxyClient(server).name == "front"


async def test_a_python_script_is_started(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(Path(LIGHT).read_text())
    assert await names(script) == ["echo"]
    assert ProxyClient(script).name == sys.executable


async def test_a_javascript_file_is_given_to_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{LIGHT}" --tools "$(basename "$1")"\n')
    node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{node.parent}{os.pathsep}{os.environ['PATH']}")
    script = tmp_path / "server.js"
    script.touch()
    assert await names(script) == ["server.js"]


@pytest.mark.parametrize("key", ["mcpServers", "upstreams"])
async def test_a_config_of_one_server_is_that_server(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL", "from-the-environment")
    entry = {"command": sys.executable, "args": ["-IS", LIGHT, "--tools", "${TOOL}"]}
    off = {"command": "no-such-program", "disabled": True}
    config = {key: {"one": entry, "off": off}}
    assert await names(config) == ["from-the-environment"]
    assert ProxyClient(config).name == "one"
    assert ProxyClient(config, name="mine").endpoint.name == "mine"


def test_a_url_is_a_text_or_one_of_pydantics() -> None:
    for url in ("http://127.0.0.1:9/mcp", AnyUrl("http://127.0.0.1:9/mcp")):
        client = ProxyClient(url, headers={"X-Key": "k"})
        assert type(client.endpoint) is HttpEndpoint
        assert client.name == "http://127.0.0.1:9/mcp"
    assert type(ProxyClient({"mcpServers": {"a": {"url": "http://127.0.0.1:9/mcp"}}}).endpoint) is HttpEndpoint


@pytest.mark.parametrize("path", ["/sse", "/sse/", "/a/sse?x=y", "/sse/b"])
def test_a_url_of_an_event_stream_is_of_the_transport_that_had_one(path: str) -> None:
    assert type(ProxyClient(f"http://127.0.0.1:9{path}").endpoint) is SseEndpoint
    assert type(ProxyClient(f"http://127.0.0.1:9{path.replace('sse', 'sseq')}").endpoint) is HttpEndpoint


@pytest.mark.parametrize("target", [12345, None, 1.5, b"http://x", [], object(), MCPServer, print, lambda: None])
def test_what_is_no_target_is_refused_with_what_is(target: Any) -> None:
    with pytest.raises(TypeError, match=r"type \w+: pass a URL .*, a Command, .*Path.*MCPServer.*mcpServers"):
        ProxyClient(target)


@pytest.mark.parametrize("target", ["", "server.py", "npx server", "ftp://x", "http://", "//x/mcp", "http:x"])
def test_a_text_that_is_no_url_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"must be a URL .*Path to a \.py"):
        ProxyClient(target)


def test_a_path_to_what_cannot_be_started_is_refused(tmp_path: Path) -> None:
    (tmp_path / "server.sh").touch()
    with pytest.raises(ValueError, match=r"server\.sh is no script.*Command starts any program"):
        ProxyClient(tmp_path / "server.sh")
    for missing in (tmp_path / "server.py", tmp_path / "no" / "server.js"):
        with pytest.raises(ValueError, match="is no file"):
            ProxyClient(missing)


def test_a_config_of_none_or_several_servers_is_refused_and_so_is_a_wrong_one() -> None:
    entry = {"command": "x"}
    # An entry that says neither how to start a server nor where one is stands in many clients' files, and is left out.
    for servers in ({}, {"a": {}}, {"a": {**entry, "disabled": True}}, {"a": entry, "b": entry}):
        with pytest.raises(ValueError, match=r"for one server, and the config has \d; FastMCPProxy merges several"):
            ProxyClient({"mcpServers": servers})
    with pytest.raises(ConfigError, match="unknown key"):
        ProxyClient({"upstreams": {"a": {"comand": "x"}}})
    with pytest.raises(ConfigError, match="needs command"):
        ProxyClient({"upstreams": {"a": {}}})
    with pytest.raises(ConfigError, match="exclude each other"):
        ProxyClient({"mcpServers": {"a": {**entry, "url": "http://x"}}})


def test_headers_are_refused_where_nothing_would_send_them() -> None:
    for target in (Command("x"), greeter(), {"mcpServers": {"a": {"command": "x"}}}):
        with pytest.raises(TypeError, match="headers are for a URL"):
            ProxyClient(target, headers={"A": "b"})


def test_a_command_can_be_kept_in_a_set() -> None:
    assert len({Command("x", ["a"], {"A": "b"}), Command("x", ["a"], {"A": "b"}), Command("x", ["b"])}) == 2
