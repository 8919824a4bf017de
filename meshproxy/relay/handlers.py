"""What an upstream may say during a call, and what becomes of it: five plain functions, and the set of them.

Each takes the request whose call it belongs to. The question or notification is in the mesh's names already, and it goes on as it is.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshproxy.errors import METHOD_NOT_FOUND, RpcError
from meshproxy.relay.downstream import RequestContext
from meshproxy.wire.codec import mapping, opened
from meshproxy.wire.protocol import Era, admits

Params = dict[str, Any]
Ask = Callable[[RequestContext, Params], Awaitable[dict[str, Any]]]
Tell = Callable[[RequestContext, Params], None]


async def default_proxy_roots_handler(context: RequestContext, params: Params) -> dict[str, Any]:
    """`roots/list`: ask the client whose call it is."""
    require(context, "roots")
    return await context.send_raw_request("roots/list", params or None)


async def default_proxy_sampling_handler(context: RequestContext, params: Params) -> dict[str, Any]:
    """`sampling/createMessage`: ask the client whose call it is; model, content and stop reason are its own."""
    require(context, "sampling", *(["tools"] if "tools" in params or "toolChoice" in params else []))
    return await context.send_raw_request("sampling/createMessage", params)


async def default_proxy_elicitation_handler(context: RequestContext, params: Params) -> dict[str, Any]:
    """`elicitation/create`, form or URL: ask the client whose call it is. Never opens the URL, never turns it into a form."""
    require(context, "elicitation", *(["url"] if opened(params.get("mode")) == "url" else []))
    return await context.send_raw_request("elicitation/create", params)


def default_proxy_log_handler(context: RequestContext, params: Params) -> None:
    """`notifications/message`: tell the client whose call it is, if it wants to hear that level.

    A legacy client that never set a level hears what the server chose to send (server/utilities/logging, 2025-11-25); a modern one
    hears nothing that its request did not ask for.
    """
    level = context.downstream.log_level
    legacy_default = level is None and context.downstream.era is Era.LEGACY
    if legacy_default or admits(level, opened(params.get("level"))):
        context.notify("notifications/message", params)


def default_proxy_progress_handler(context: RequestContext, params: Params) -> None:
    """`notifications/progress`: tell the client whose call it is, under its own token."""
    if context.progress_token is not None:
        context.notify("notifications/progress", {**params, "progressToken": context.progress_token})


@dataclass(frozen=True, slots=True)
class Handlers:
    """What becomes of each kind of message; replace one to answer a question yourself."""

    roots: Ask = default_proxy_roots_handler
    sampling: Ask = default_proxy_sampling_handler
    elicitation: Ask = default_proxy_elicitation_handler
    log: Tell = default_proxy_log_handler
    progress: Tell = default_proxy_progress_handler


def require(context: RequestContext, capability: str, *features: str) -> None:
    """Refuse a question that the client did not say it can answer.

    Raises:
        RpcError: -32601, as a client answers a method that it does not have.
    """
    declared = mapping(context.downstream.capabilities.get(capability))
    if declared is None:
        raise RpcError(METHOD_NOT_FOUND, f"the client did not declare the capability {capability!r}")
    for feature in features:
        if not isinstance(declared.get(feature), Mapping):
            raise RpcError(METHOD_NOT_FOUND, f"the client did not declare the capability '{capability}.{feature}'")
