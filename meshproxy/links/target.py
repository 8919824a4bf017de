"""What a `ProxyClient` can be made for, and the way in to it: the `Endpoint` of a target, or of one upstream of a config."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from meshproxy.links.endpoint import Endpoint

if TYPE_CHECKING:
    # A client of a URL or a program needs no config, and pydantic takes a while to import.
    from meshproxy.config.models import MeshConfig
    from meshproxy.config.upstream import UpstreamSpec

log = structlog.get_logger(__name__)

NEVER: Final = 1e9
"""Seconds for a shutdown without a limit."""
ACCEPTED: Final = (
    "a URL (http:// or https://), a Command, a pathlib.Path to a .py or .js file, a server in this process (the SDK's MCPServer or low-level Server, or FastMCP's), "
    '{"mcpServers": {...}} with one server, or an Endpoint'
)
_INTERPRETERS: Final = {".py": sys.executable, ".js": "node"}


@dataclass(frozen=True)
class Command:
    """A program that speaks MCP on its standard input and output."""

    command: str
    args: Sequence[str] = field(default=(), hash=False)
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    cwd: str | None = None


def endpoint_of(target: Any, name: str | None = None, headers: Mapping[str, str] | None = None) -> Endpoint:
    """Make the way in to a target; `headers` are for URLs. A transport is imported when a target needs it.

    Raises:
        TypeError: it is nothing that a client can be made for, or `headers` were given for what is no URL.
        ValueError: it is a text that is no URL, a path to no script, or a config of no server or several.
        ConfigError: it is a config in which something is wrong.
    """
    if isinstance(target, str) or _is_url(target):
        return _endpoint_of_url(str(target), name, dict(headers or {}))
    if headers:
        raise TypeError("headers are for a URL; a server in a config has its own, and other targets have none")
    if isinstance(target, Endpoint):
        return target
    if isinstance(target, Mapping):
        return _endpoint_of_config(target, name)
    if isinstance(target, Path):
        target = _script(target)
    if isinstance(target, Command):
        from meshproxy.links.stdio import StdioEndpoint  # noqa: PLC0415

        return StdioEndpoint(name or target.command, target.command, tuple(target.args), dict(target.env), target.cwd)
    server = _server_of(target)
    if server is not None:
        from meshproxy.links.memory import MemoryEndpoint  # noqa: PLC0415

        return MemoryEndpoint(name or getattr(target, "name", None) or "in-process", server)
    raise TypeError(f"a client cannot be made for an object of type {type(target).__name__}: pass {ACCEPTED}")


def endpoint_of_spec(spec: "UpstreamSpec", scrub: Callable[[str], str] = str) -> Endpoint:
    """Make the way in that one upstream of a config describes; `scrub` takes the secrets out of what it writes to its standard error."""
    if spec.command is not None:
        from meshproxy.links.stderr import LINES, Stderr  # noqa: PLC0415
        from meshproxy.links.stdio import StdioEndpoint  # noqa: PLC0415

        def tell(line: str) -> None:
            log.info("upstream.stderr", upstream=spec.name, line=scrub(line))

        def flooded() -> None:
            consequence = f"it writes more than {LINES} lines in a second; the rest of this second's is not logged"
            log.warning("upstream.stderr_flood", upstream=spec.name, consequence=consequence)

        return StdioEndpoint(
            spec.name,
            str(spec.command),
            spec.args,
            dict(spec.env),
            str(spec.cwd) if spec.cwd is not None else None,
            shutdown=NEVER if spec.timeouts.shutdown is None else spec.timeouts.shutdown,
            stderr=Stderr(tell, flooded, spec.stderr),
        )
    url, headers = str(spec.url), dict(spec.headers)
    if spec.transport == "sse":
        from meshproxy.links.sse import SseEndpoint  # noqa: PLC0415

        return SseEndpoint(spec.name, url, headers=headers)
    if spec.urls:
        from meshproxy.links.replicas import ReplicatedEndpoint  # noqa: PLC0415

        return ReplicatedEndpoint(spec.name, spec.urls, headers=headers)
    from meshproxy.links.streamable import HttpEndpoint  # noqa: PLC0415

    return HttpEndpoint(spec.name, url, headers=headers)


def config_of(target: Mapping[str, Any]) -> "MeshConfig":
    """Read `{"mcpServers": {...}}`, or what else may stand in a config file, as if it stood in one in the working directory.

    Raises:
        ConfigError: something is wrong with it.
    """
    from meshproxy.config.content import Content  # noqa: PLC0415
    from meshproxy.config.load import load  # noqa: PLC0415

    path = Path.cwd() / "mcpServers"
    return load(path.name, content=Content(path, "", (path,), json.dumps(target, default=str).encode()))


def _endpoint_of_url(url: str, name: str | None, headers: dict[str, str]) -> Endpoint:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a text must be a URL that starts with http:// or https://; otherwise pass {ACCEPTED}")
    if "/sse/" in f"{parts.path}/":
        from meshproxy.links.sse import SseEndpoint  # noqa: PLC0415

        return SseEndpoint(name or url, url, headers=headers)
    from meshproxy.links.streamable import HttpEndpoint  # noqa: PLC0415

    return HttpEndpoint(name or url, url, headers=headers)


def _endpoint_of_config(target: Mapping[str, Any], name: str | None) -> Endpoint:
    specs = config_of(target).enabled
    if len(specs) != 1:
        raise ValueError(f"a client is for one server, and the config has {len(specs)}; FastMCPProxy merges several")
    return endpoint_of_spec(specs[0].model_copy(update={"name": name or specs[0].name}))


def _script(path: Path) -> Command:
    interpreter = _INTERPRETERS.get(path.suffix)
    if interpreter is None:
        raise ValueError(
            f"{path} is no script that can be started: only .py and .js are, and Command starts any program"
        )
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    return Command(interpreter, [str(path)])


def _is_url(target: Any) -> bool:
    """Whether it is one of pydantic's URLs, which are no texts."""
    return type(target).__module__.startswith("pydantic") and type(target).__name__.endswith("Url")


def _server_of(target: Any) -> Any:
    """The SDK's low-level server that a target is or is made of; None if it is no server. Nobody who has none imports the SDK for that."""
    if isinstance(target, type):
        return None
    # Where the SDK's MCPServer and FastMCP's server keep it; the SDK's own in-memory client takes it from there too.
    inner = getattr(target, "_lowlevel_server", None) or getattr(target, "_mcp_server", None)
    server = target if inner is None else inner
    is_server = all(callable(getattr(server, method, None)) for method in ("run", "create_initialization_options"))
    return server if is_server else None
