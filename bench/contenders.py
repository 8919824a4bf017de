"""Who takes part: how each is configured and started, what it calls the fixture's tools, and what it cannot do.

Peers run with the defaults that their packages and documentation give. nginx and the SDK's server are set up to be as cheap as they can be,
since they are what the project measures itself by: no access log, keep-alive on both sides, schemas told in advance.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.calls import KINDS
from bench.ground import COMPILED, ROOT, Ground

Upstreams = dict[str, dict]
"""An `mcpServers` mapping: a `url`, or a `command` with `args`, by name. The one that is called is named `bench`."""
Command = Callable[[Ground, Path, Upstreams, int], list[str]]
"""Write what configuration is needed into a directory, and give the command that serves it on a port."""


@dataclass(frozen=True)
class Contender:
    name: str
    label: str
    command: Command | None
    eras: dict[str, str] = field(default_factory=lambda: {"legacy": "legacy", "modern": "modern"})
    """How the load client speaks in each era that the contender serves."""
    prefix: str = "bench_"
    """Before the names of the tools of the upstream `bench`."""
    path: str = "/mcp"
    kinds: tuple[str, ...] = ("http", "stdio")
    """The upstreams that it can be before; none for what has no upstream."""
    slow: bool = False
    """Whether a call takes so long that few of them must do."""
    authority: str = ""
    """What is before the path of the URIs of the upstream `bench`."""
    serves_pipes: bool = False
    """Whether it serves the one client that starts it, and no port."""
    needs: str = ""
    """The program without which it does not take part, if that is not called as the contender is."""

    def named(self, call: str) -> str:
        """What it calls the tool, the resource or the prompt that a kind of call is about."""
        origin = KINDS[call][1]
        scheme, found, rest = origin.partition("://")
        return f"{scheme}://{self.authority}{rest}" if found else self.prefix + origin


def mcp_servers(directory: Path, upstreams: Upstreams) -> Path:
    path = directory / "servers.json"
    path.write_text(json.dumps({"mcpServers": upstreams}))
    return path


def nginx(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
    """A reverse proxy with keep-alive on both sides; `/listing-ERA.json` are files of the directory."""
    upstream = urlsplit(upstreams["bench"]["url"]).netloc
    endless = "keepalive_requests 1000000000; keepalive_timeout 1h;"
    config = f"""
        {"user root;" if os.geteuid() == 0 else ""} daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error;
        events {{ worker_connections 4096; }}
        http {{
          access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; default_type application/json; {endless}
          client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
          fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
          upstream bench {{ server {upstream}; keepalive 128; {endless} }}
          server {{
            listen 127.0.0.1:{port} backlog=4096; root {directory};
            location /listing- {{ open_file_cache max=10; }}
            location /mcp {{
              proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
              client_body_buffer_size 256k; proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;
            }}
          }}
        }}"""
    (directory / "nginx.conf").write_text(config)
    return [ground.programs["nginx"], "-p", str(directory), "-c", str(directory / "nginx.conf")]


def sdk_server(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
    return [ground.programs["python"], "-m", "bench.peers.sdk_server", str(port)]


def meshproxy(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
    return serve_mesh(mesh_config(directory, upstreams), port)


def meshproxy_source(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
    return [str(ROOT / ".venv" / "bin" / "meshproxy"), *serving(mesh_config(directory, upstreams), port)]


def meshproxy_pipes(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
    path = mesh_config(directory, upstreams)
    return [*mesh_program(), "serve", str(path), "--transport", "stdio"]


def mesh_config(directory: Path, upstreams: Upstreams) -> Path:
    path = directory / "mesh.yaml"
    # JSON is YAML. What the benchmark gives are upstreams; everything else stays at its default.
    path.write_text(json.dumps({"upstreams": upstreams}))
    return path


def serve_mesh(path: Path, port: int) -> list[str]:
    return [*mesh_program(), *serving(path, port)]


def mesh_program() -> list[str]:
    """As a wheel for this machine has it; as the clone has it where that could not be made."""
    # -P, or the clone that this stands in would come first.
    return (
        [str(COMPILED), "-P", "-m", "meshproxy"] if COMPILED.exists() else [str(ROOT / ".venv" / "bin" / "meshproxy")]
    )


def serving(path: Path, port: int) -> list[str]:
    return ["serve", str(path), "--port", str(port)]


def fastmcp(script: str) -> Command:
    def command(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
        config = mcp_servers(directory, upstreams)
        return [ground.programs["fastmcp"], str(ROOT / "bench" / "peers" / script), str(config), str(port)]

    return command


def mcp_hub(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
    return [ground.programs["mcp-hub"], "--port", str(port), "--config", str(mcp_servers(directory, upstreams))]


def mcp_combiner(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
    python = Path(ground.programs["mcp-combiner"])
    config = mcp_servers(directory, upstreams)
    return [str(python.parent / "mcp-combiner"), "--mcp", "--config", str(config), "--port", str(port)]


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("direct", "direct", None, prefix="", kinds=("http",)),
        Contender("nginx", "nginx hop", nginx, prefix="", kinds=("http",)),
        Contender("sdk", "SDK server, no hop", sdk_server, prefix="", kinds=("http",), needs="python"),
        Contender("meshproxy", "meshproxy", meshproxy, authority="bench/", needs="python"),
        Contender("meshproxy-source", "meshproxy, not compiled", meshproxy_source, authority="bench/"),
        Contender("mcp-hub", "mcp-hub", mcp_hub, {"legacy": "sse"}, prefix="bench__"),
        Contender("fastmcp", "FastMCP, connected", fastmcp("fastmcp_connected.py")),
        Contender("mcp-combiner", "mcp-combiner", mcp_combiner, {"legacy": "legacy"}),
        Contender(
            "fastmcp-documented", "FastMCP, documented", fastmcp("fastmcp_documented.py"), slow=True, needs="fastmcp"
        ),
    )
}
"""In the order of the table. What a contender is not listed for in an era, it does not speak."""
PIPES = Contender(
    "meshproxy-pipes", "meshproxy, a stdio client", meshproxy_pipes, authority="bench/", serves_pipes=True
)
"""The mesh as a program that its client starts: compared with itself only."""
