"""What clients of both eras and all transports tell, and need no answer to. Place: serving, under the transports."""

from collections.abc import Callable

import structlog

from meshproxy.errors import RpcError
from meshproxy.relay.downstream import Downstream
from meshproxy.relay.handler import Handler
from meshproxy.wire.message import id_in
from meshproxy.wire.messages import Id, Notification, params_of

__all__ = ["take"]

log = structlog.get_logger(__name__)


def take(message: Notification, handler: Handler, client: Downstream | None, cancel: Callable[[Id], object]) -> None:
    """Do what a notification says: `cancel` what runs under an id, if anything does, or tell the handler, if there is a session of a `client`.

    A notification has no answer: what is wrong with it is said in the log, for there is nobody else to tell.
    """
    method = message.method
    try:
        params = params_of(message)
    except RpcError as error:
        log.debug("notification.malformed", method=method, reason=error.message)
        return
    if method == "notifications/cancelled":
        request_id = id_in(params.get("requestId"))
        if request_id is not None:
            cancel(request_id)
    elif client is not None:
        try:
            handler.on_notification(client, method, params)
        except Exception as error:
            log.error("notification.failed", method=method, exc_info=error)
