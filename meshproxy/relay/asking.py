"""What an upstream asks within a call, on its way to the client and back. Place: relay, under `call`."""

from collections.abc import Callable
from typing import Any, Protocol

from meshproxy.catalog.catalog import Mount
from meshproxy.catalog.rewrite import rewrite_answer, rewrite_question
from meshproxy.errors import METHOD_NOT_FOUND, RpcError
from meshproxy.relay.downstream import RequestContext
from meshproxy.relay.elicitations import Elicitations
from meshproxy.relay.handlers import Handlers

__all__ = ["ask"]


class Lent(Protocol):
    """The lease of the call."""

    @property
    def on_asked(self) -> Callable[[], None] | None: ...


class Asked(Protocol):
    """The call."""

    context: RequestContext
    mount: Mount
    handlers: Handlers
    elicitations: Elicitations | None

    @property
    def lease(self) -> Lent | None: ...


async def ask(call: Asked, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Ask a call's client, in the mesh's names; its answer comes in the upstream's.

    Raises:
        RpcError: there is no such question, or the client refuses or cannot be asked.
    """
    handler = {
        "sampling/createMessage": call.handlers.sampling,
        "elicitation/create": call.handlers.elicitation,
        "roots/list": call.handlers.roots,
    }.get(method)
    if handler is None:
        raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")
    if call.lease is not None and call.lease.on_asked is not None:
        call.lease.on_asked()
    if method == "elicitation/create" and call.elicitations is not None:
        call.elicitations.note(call.context.downstream, params)
    answer = await handler(call.context, rewrite_question(method, params, call.mount.public))
    return rewrite_answer(method, answer, call.mount.origin)
