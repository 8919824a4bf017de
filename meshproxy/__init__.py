"""Many MCP servers behind one endpoint, edited live.

    from meshproxy import FastMCP, ProxyClient, ProxyProvider

    server = FastMCP("my-mesh")
    server.add_provider(ProxyProvider(ProxyClient("https://docs.example.com/mcp")), namespace="docs")
    server.run(transport="http", port=8000)

What is named here is the public interface; everything else may change. Each name is imported when it is first used, so that a command
line that only prints its version does not pay for a server.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from meshproxy.catalog.component import ProxyPrompt, ProxyResource, ProxyTemplate, ProxyTool
    from meshproxy.config.load import load
    from meshproxy.config.models import MeshConfig
    from meshproxy.errors import AnswerLost, ConfigError, MeshError, RpcError, UpstreamError, UpstreamUnavailable
    from meshproxy.kinds import Kind
    from meshproxy.links.target import Command
    from meshproxy.mesh.composite import CompositeProvider
    from meshproxy.mesh.mesh import Mesh
    from meshproxy.relay.downstream import Downstream, RequestContext
    from meshproxy.relay.handlers import (
        Handlers,
        default_proxy_elicitation_handler,
        default_proxy_log_handler,
        default_proxy_progress_handler,
        default_proxy_roots_handler,
        default_proxy_sampling_handler,
    )
    from meshproxy.serving.fastmcp import FastMCP, FastMCPProxy
    from meshproxy.upstream.client import ProxyClient, StatefulProxyClient
    from meshproxy.upstream.provider import ProxyProvider

__all__ = [
    "AnswerLost",
    "Command",
    "CompositeProvider",
    "ConfigError",
    "Downstream",
    "FastMCP",
    "FastMCPProxy",
    "Handlers",
    "Kind",
    "Mesh",
    "MeshConfig",
    "MeshError",
    "ProxyClient",
    "ProxyPrompt",
    "ProxyProvider",
    "ProxyResource",
    "ProxyTemplate",
    "ProxyTool",
    "RequestContext",
    "RpcError",
    "StatefulProxyClient",
    "UpstreamError",
    "UpstreamUnavailable",
    "default_proxy_elicitation_handler",
    "default_proxy_log_handler",
    "default_proxy_progress_handler",
    "default_proxy_roots_handler",
    "default_proxy_sampling_handler",
    "load",
]

_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "meshproxy.catalog.component": ("ProxyPrompt", "ProxyResource", "ProxyTemplate", "ProxyTool"),
    "meshproxy.config.load": ("load",),
    "meshproxy.config.models": ("MeshConfig",),
    "meshproxy.errors": ("AnswerLost", "ConfigError", "MeshError", "RpcError", "UpstreamError", "UpstreamUnavailable"),
    "meshproxy.kinds": ("Kind",),
    "meshproxy.mesh.composite": ("CompositeProvider",),
    "meshproxy.mesh.mesh": ("Mesh",),
    "meshproxy.relay.downstream": ("Downstream", "RequestContext"),
    "meshproxy.relay.handlers": (
        "Handlers",
        "default_proxy_elicitation_handler",
        "default_proxy_log_handler",
        "default_proxy_progress_handler",
        "default_proxy_roots_handler",
        "default_proxy_sampling_handler",
    ),
    "meshproxy.serving.fastmcp": ("FastMCP", "FastMCPProxy"),
    "meshproxy.upstream.client": ("ProxyClient", "StatefulProxyClient"),
    "meshproxy.upstream.provider": ("ProxyProvider",),
    "meshproxy.links.target": ("Command",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'meshproxy' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
